"""What runs on ARM runs under qemu-user: the container image for 64 bit, the Debian package for 32 bit.

Golden windows, a real record, frames, MQTT.

Correctness only: emulation is hundreds of times slower than a board, and says nothing of a board's speed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.deb import DEBIAN_PACKAGES
from edge import zoo
from firmware_bridge import codec
from firmware_bridge.messages import Hello, Samples
from firmware_bridge.pty_line import PtyLine
from firmware_bridge.recordings import Recording, open_recordings, write_recording
from tests.deploy.roots import Images, debian, remove
from tests.integration.rig import Broker, listener

pytestmark = [pytest.mark.arm, pytest.mark.slow, pytest.mark.timeout(900)]

BOARD = Path(__file__).with_name("board.py")
RECORD = "A00001"
# LiteRT's CPU detection crashes under the emulator without a processor that it knows: a Raspberry Pi 4's.
PI_4 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
EMULATORS = {
    "arm64": ("qemu-aarch64-static", "cortex-a72", "aarch64"),
    "armhf": ("qemu-arm-static", "cortex-a7", "armv7l"),
}


@dataclass(frozen=True)
class Outcome:
    """What the emulated board said (by step), its replay's results, and what came to the broker."""

    steps: dict[str, dict[str, Any]]
    golden: list[dict[str, Any]]
    results: list[dict[str, Any]]
    published: list[str]


@pytest.fixture(scope="module")
def record(cinc_zip: Path) -> Recording:
    """A real ECG record."""
    return open_recordings(cinc_zip).read(RECORD)


@pytest.fixture(scope="module")
def arm64(images: Images) -> Iterator[Path]:
    """The container image's file system, with the Debian package's files in it."""
    with images.root("arm64") as root:
        yield root


@pytest.fixture(scope="module")
def armhf(debs: dict[str, Path], kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the package needs of Debian, unpacked and nothing more (nothing runs there by itself), and the package."""
    root = debian(kept / "armhf", ["python3", "libstdc++6", *DEBIAN_PACKAGES.values()], "armhf", "extract")
    # what update-alternatives does where packages are configured
    libraries = root / "usr" / "lib" / "arm-linux-gnueabihf"
    for name in ("blas", "lapack"):
        link = libraries / f"lib{name}.so.3"
        if not link.is_symlink():
            link.symlink_to(f"{name}/lib{name}.so.3")
    package = tmp_path_factory.mktemp("package")
    subprocess.run(["dpkg-deb", "-x", str(debs["armhf"]), str(package)], check=True)
    remove(root / "opt")
    shutil.move(package / "opt", root / "opt")
    # as the package's own script does: the emulator takes long for it
    if python := shutil.which("python3.11"):
        subprocess.run([python, "-m", "compileall", "-q", str(root / "opt")], check=True)
    return root


@pytest.fixture(scope="module", params=sorted(EMULATORS))
def outcome(
    request: pytest.FixtureRequest, record: Recording, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    arch = str(request.param)
    root = request.getfixturevalue(arch)
    folder = tmp_path_factory.mktemp(arch)
    write_recording(record, folder / "record.npz")
    broker = Broker(folder)
    broker.start()
    try:
        yield emulate(arch, root, folder, broker, record)
    finally:
        broker.stop()


def emulate(arch: str, root: Path, folder: Path, broker: Broker, record: Recording) -> Outcome:
    emulator, cpu, _ = EMULATORS[arch]
    assert shutil.which(emulator), f"{emulator} is not installed; run: make deps"
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text(PI_4)
    line, stop = PtyLine(), threading.Event()
    device = threading.Thread(target=send, args=(line, stop, record), daemon=True)
    device.start()
    with listener(broker.port) as subscriber:
        done = subprocess.run(
            [emulator, "-cpu", cpu, "-L", str(root), str(root / "usr" / "bin" / "python3.11"), "-Es", str(BOARD),
             str(root / "opt" / "wavewall" / "lib"), str(folder), str(broker.port), line.port],
            capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"},
        )  # fmt: skip
        stop.set()
        device.join(5)
        line.close()
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        found = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
        results = [item for item in found if item.get("schema")]
        published = [result.label for result in subscriber.wait_results(len(results))]
    steps = {item["step"]: item for item in found if "step" in item}
    print(f"\n{arch}: {json.dumps(steps['import'])} {json.dumps(steps['end'])}")
    return Outcome(steps, [item for item in found if item.get("step") == "golden"], results, published)


def send(line: PtyLine, stop: threading.Event, record: Recording) -> None:
    """The record as frames, once somebody has the port open."""
    if not line.wait_for_open(stop):
        return
    digital, channels, _ = record.to_int16()
    line.write(codec.encode(Hello("board", "1", record.rate_hz, channels, 1)), stop)
    for first in range(0, len(digital), 100):
        part = np.ascontiguousarray(digital[first : first + 100])
        last = first + 100 >= len(digital)
        line.write(codec.encode(Samples(first, first * 3333 & 0xFFFFFFFF, part, end=last)), stop)


def test_it_runs_what_the_package_holds(outcome: Outcome):
    at = outcome.steps["import"]
    runtime = {"aarch64": "ai_edge_litert", "armv7l": "tflite_runtime"}
    assert at["runtime"] == runtime[at["machine"]]
    assert at["python"].startswith("3.11")
    assert at["numpy"].startswith("1." if at["machine"] == "armv7l" else "2.")
    assert 10 < at["memory_mb"] < 400


def test_golden_windows_of_every_shipped_bundle(outcome: Outcome):
    assert {item["bundle"] for item in outcome.golden} == set(zoo.names())
    for item in outcome.golden:
        print(item)
        assert item["windows"] >= 1
        assert item["steps"]["probabilities"] <= 1.001, item


def test_a_real_record_gets_the_labels_of_x86(outcome: Outcome, record: Recording, tmp_path: Path):
    write_recording(record, tmp_path / "record.npz")
    program = Path(sys.executable).with_name("edge-agent")
    done = subprocess.run(
        [program, "replay", str(tmp_path / "record.npz"), "--bundle", "ecg-rhythm", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    here = [json.loads(line) for line in done.stdout.splitlines()]
    assert here
    assert [(r["label"], r["status"]) for r in outcome.results] == [(r["label"], r["status"]) for r in here]


def test_serial_frames_decode(outcome: Outcome, record: Recording):
    assert outcome.steps["frames"] == {"step": "frames", "samples": len(record), "bad": 0}


def test_results_reach_the_broker(outcome: Outcome):
    assert outcome.steps["run"]["code"] == 0
    assert outcome.published == [r["label"] for r in outcome.results]
