"""What a subscriber receives is what `trainer evaluate` says: fifty test records through a real broker and agent."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.agent_process import Listener, agent, time_to_ready
from edge.bundle import read_bundle, resolve_bundle
from firmware_bridge import codec
from firmware_bridge.messages import Hello, Samples
from firmware_bridge.recordings import Recording, open_recordings
from trainer.data.splits import part_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RECORDS = 50
PIECE = 1700  # no divisor of window or hop


def as_json(recording: Recording) -> list[bytes]:
    values = recording.physical[:, 0].astype(int).tolist()
    out = []
    for first in range(0, len(values), PIECE):
        body = {"t0": 1.8e9 + first / 300, "rate_hz": 300, "ch": {"ecg_uv": values[first : first + PIECE]}}
        if first + PIECE >= len(values):
            body["end"] = True
        out.append(json.dumps(body).encode())
    return out


def as_frames(recording: Recording) -> list[bytes]:
    digital, channels, _ = recording.to_int16()
    # the device's name for its electrode is its own affair; the model's channel is "ecg"
    channels = tuple(
        type(channel)("ecg", channel.unit, channel.scale, channel.offset) for channel in channels
    )
    frames = [codec.encode(Hello("board", "1", 300.0, channels, 1))]
    for first in range(0, len(digital), 200):
        part = np.ascontiguousarray(digital[first : first + 200])
        last = first + 200 >= len(digital)
        frames.append(codec.encode(Samples(first, first * 3333 & 0xFFFFFFFF, part, end=last)))
    return [b"".join(frames[i : i + 5]) for i in range(0, len(frames), 5)]


def predictions(bundle: str, data: Path, names: list[str], folder: Path) -> dict[str, str]:
    """record -> label by `trainer evaluate --target int8`."""
    (folder / "records.txt").write_text("\n".join(names))
    command = [
        Path(sys.executable).with_name("trainer"), "evaluate", bundle, "--data", str(data), "--split", "test",
        "--records", str(folder / "records.txt"), "--attacks", "clean", "--target", "int8",
        "--predictions", str(folder / "predictions.csv"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["record"]: row["prediction"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("bundle", ["ecg-rhythm", "ecg-undefended"])
def test_first_window_of_fifty_records(bundle: str, cinc_zip: Path, mosquitto: int, tmp_path: Path):
    recordings = open_recordings(cinc_zip)
    names = [name for name in sorted(recordings.names) if part_of(name) == "test"][:RECORDS]
    assert len(names) == RECORDS
    listener = Listener(mosquitto)
    try:
        began = time.monotonic()
        with agent(mosquitto, bundle, tmp_path):
            time_to_ready(listener, read_bundle(resolve_bundle(bundle)).manifest.input, began)
            for number, name in enumerate(names):
                recording = recordings.read(name)
                for payload in as_json(recording) if number % 2 else as_frames(recording):
                    listener.send(name, payload)
            deadline = time.monotonic() + 120
            while not all(name in listener.results for name in names) and time.monotonic() < deadline:
                time.sleep(0.1)
    finally:
        listener.close()
    received = {
        name: min(listener.results[name], key=lambda r: r.seq) for name in names if name in listener.results
    }
    assert len(received) == RECORDS, f"no result for {sorted(set(names) - set(received))}"
    assert all(result.seq == 0 and result.window.missing == 0 for result in received.values())
    expected = predictions(bundle, cinc_zip, names, tmp_path)
    assert set(expected) == set(names)
    assert {name: result.label for name, result in received.items()} == expected
    assert len(set(expected.values())) > 1, "one label for all would prove nothing"
