"""`edge-agent init`: what it writes runs, what does not answer is said before anything is written."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.mosquitto import free_port
from edge.settings import load_settings

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "edge.cli", "init"]


def init(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_writes_what_the_flags_say_after_trying_it(tmp_path: Path, mosquitto: int):
    done = init(tmp_path, "--yes", "--broker", f"127.0.0.1:{mosquitto}", "--node", "attic", "--port", "mqtt")
    assert done.returncode == 0, done.stderr
    assert "ok    broker" in done.stdout
    settings = load_settings(tmp_path / "agent.toml")
    assert (settings.node.id, settings.mqtt.port, settings.source[0].kind) == ("attic", mosquitto, "mqtt")


def test_nothing_is_written_where_something_does_not_answer(tmp_path: Path):
    flags = ["--yes", "--port", "/dev/ttyNOPE", "--broker", f"127.0.0.1:{free_port()}", "--stream", "chest"]
    done = init(tmp_path, *flags)
    assert done.returncode == 1
    assert "FAIL  source.0" in done.stdout
    assert "/dev/ttyNOPE" in done.stdout
    assert not (tmp_path / "agent.toml").exists()
    assert init(tmp_path, *flags, "--anyway").returncode == 0
    source = load_settings(tmp_path / "agent.toml").source[0]
    assert (source.kind, source.port, source.stream) == ("serial", "/dev/ttyNOPE", "chest")  # type: ignore[union-attr]


def test_a_file_that_exists_stays(tmp_path: Path):
    (tmp_path / "agent.toml").write_text("# mine\n")
    done = init(tmp_path, "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "agent.toml exists" in done.stderr
    assert (tmp_path / "agent.toml").read_text() == "# mine\n"


def test_without_a_terminal_it_says_what_to_do(tmp_path: Path):
    done = init(tmp_path)
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_the_unit_starts_this_installation(tmp_path: Path, mosquitto: int, repository: Path):
    program = Path(sys.executable).with_name("edge-agent")
    done = subprocess.run(
        [program, "init", str(tmp_path / "my.toml"), "--yes", "--port", "mqtt", "--broker", f"127.0.0.1:{mosquitto}",
         "--unit", str(tmp_path / "my.service")], capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    unit = (tmp_path / "my.service").read_text()
    assert f"ExecStart={program} run {tmp_path / 'my.toml'}" in unit
    assert "Type=notify" in unit
    assert "User=wavewall" not in unit
    shipped = repository / "edge" / "units" / "wavewall-agent.service"
    assert shipped.read_bytes() == (repository / "deploy" / "systemd" / "wavewall-agent.service").read_bytes()


def test_on_a_terminal_it_asks(tmp_path: Path, mosquitto: int):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "asked.toml", "--unit", "a.service"], cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    said = b""
    answers = {b"Name of this gateway": b"cellar", b"Serial port": b"mqtt", b"MQTT broker": b"127.0.0.1:%d" % mosquitto,
               b"Name of the stream": b"", b"Model (": b"appliances"}  # fmt: skip
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            said += os.read(master, 1024)
        except OSError:
            break
        for question in [q for q in answers if q in said]:
            time.sleep(0.2)
            os.write(master, answers.pop(question) + b"\n")
    assert process.wait(20) == 0, said.decode()
    settings = load_settings(tmp_path / "asked.toml")
    assert (settings.node.id, settings.bundle.name) == ("cellar", "appliances")
    os.close(master)
