"""A device on a serial port and a file that is replayed give the same answers, to the last digit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.demo.stage import DATA

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

BIN = Path(sys.executable).parent
SAME = ("label", "score", "probabilities", "status", "reason", "disagreement", "residual", "model")


def replayed(recording: Path, record: str | None, bundle: str) -> list[dict[str, Any]]:
    command = [BIN / "edge-agent", "replay", recording, "--bundle", bundle, "--json"]
    command += ["--record", record] if record else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def running(*command: object, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(10)


def from_device(
    recording: Path, record: str | None, bundle: str, count: int, folder: Path
) -> list[dict[str, Any]]:
    link, results = folder / "device", folder / "results.jsonl"
    simulate: list[object] = [BIN / "firmware-bridge", "simulate", recording, "--pty", link, "--speed", "0"]
    simulate += ["--record", record] if record else []
    with running(*simulate, log=folder / "device.log"):
        deadline = time.monotonic() + 20
        while not link.is_symlink() and time.monotonic() < deadline:
            time.sleep(0.02)
        command = [
            BIN / "edge-agent", "run", "--bundle", bundle, "--source", f"serial:{link}", "--sink", f"file:{results}"
        ]  # fmt: skip
        with running(*command, log=folder / "agent.log") as process:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and lines(results) < count:
                assert process.poll() is None, (folder / "agent.log").read_text()
                time.sleep(0.05)
        assert process.returncode == 0, (folder / "agent.log").read_text()
    return [json.loads(line) for line in results.read_text().splitlines()]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def compare(recording: Path, record: str | None, bundle: str, folder: Path) -> list[dict[str, Any]]:
    expected = replayed(recording, record, bundle)
    received = from_device(recording, record, bundle, len(expected), folder)
    assert [[r[key] for key in SAME] for r in received] == [[r[key] for key in SAME] for r in expected]
    assert all(r["window"]["missing"] == r["window"]["crc_errors"] == 0 for r in received)
    assert [r["seq"] for r in received] == list(range(len(expected)))
    return received


@pytest.mark.parametrize("bundle", ["ecg-rhythm", "ecg-undefended"])
def test_the_demos_recording(bundle: str, tmp_path: Path):
    received = compare(DATA / "recording.npz", None, bundle, tmp_path)
    assert len(received) == 13  # 150 s: a window of 30 s every 10 s
    assert {r["label"] for r in received} >= {"normal", "af", "noise"}


def test_a_real_record_from_the_archive(cinc_zip: Path, tmp_path: Path):
    received = compare(cinc_zip, "A00001", "ecg-rhythm", tmp_path)
    assert len(received) == 1
