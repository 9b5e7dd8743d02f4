"""What a running agent has loaded and how much memory it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edge.zoo import names
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import signal
from tests.edge.tiny import RATE_HZ
from tests.integration.rig import Broker, agent, listener, wait_for

FORBIDDEN = {
    "tensorflow",
    "keras",
    "trainer",
    "scipy",
    "sklearn",
    "matplotlib",
    "pandas",
    "wfdb",
    "edfio",
    "rich",
}


def test_run_never_loads_the_trainer_or_anything_heavy(bundle: Path, tmp_path: Path):
    record = Recording("r1", RATE_HZ, (Channel("ecg", "uV"),), analog=signal(400)[:, None])
    write_recording(record, tmp_path / "r1.npz")
    words = ["edge-agent", "run", "--bundle", str(bundle), "--sink", "stdout"]
    words += ["--source", f"replay:{tmp_path / 'r1.npz'}"]
    code = (
        f"import sys; sys.argv = {words!r}\n"
        "from edge.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', *{name.split('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") > 10
    loaded = set(done.stderr.rsplit("LOADED ", 1)[1].split())
    assert "edge" in loaded
    assert loaded.isdisjoint(FORBIDDEN | {"paho", "serial"})  # neither is needed for this


@pytest.mark.parametrize("name", [n for n in names() if n.startswith("ecg")])
def test_memory_with_a_shipped_bundle_and_a_broker(broker: Broker, tmp_path: Path, name: str):
    broker.start()
    words = ["--bundle", name, "--mqtt-host", "127.0.0.1", "--mqtt-port", broker.port, "--node", "gw1"]
    with listener(broker.port) as client, agent(tmp_path, *words) as running:
        wait_for(lambda: client.of("state") == [b"online"], "state online")
        block = {"rate_hz": 300, "ch": {"ecg_uv": [float(v) for v in signal(300)]}}
        for at in range(40):
            message = json.dumps({**block, "t0": 1.8e9 + at})
            client.publish("wavewall/gw1/stream/s1/samples", message)
        client.wait_results(2)
        memory = psutil.Process(running.process.pid).memory_info().rss
    assert memory < 80e6, f"{memory / 1e6:.1f} MB"


def test_nothing_is_done_at_import(tmp_path: Path):
    """No threads, no files, no sockets: importing every module of the agent changes nothing."""
    code = (
        "import threading, os, pkgutil, importlib, edge\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "names = [m.name for m in pkgutil.walk_packages(edge.__path__, 'edge.')]\n"
        "skip = ('edge.demo', 'edge.cli.__main__')\n"
        "[importlib.import_module(n) for n in names if not n.startswith(skip)]\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert len(os.listdir('/proc/self/fd')) == before\n"
        "assert os.listdir('.') == [], os.listdir('.')\n"
        "print(len(names))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40
