"""What the demo plays: the same samples twice, and the attacker over the second time only."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.demo.stage import DATA, DemoError, Stage, set_stage

RATE = 300
HOP_S = 10.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The committed recording with a perturbation of this test's own: +3 and -5 uV in turn."""
    shutil.copy(DATA / "recording.npz", tmp_path)
    with np.load(DATA / "recording.npz") as arrays:
        digital = arrays["digital"]
    delta = np.where(np.arange(len(digital)) % 2 == 0, 3, -5).astype(np.int16)[:, None]
    digest = hashlib.sha256(digital.astype("<i2").tobytes()).hexdigest()
    np.savez(tmp_path / "perturbation.npz", delta_uv=delta, recording=digest)
    return tmp_path


def played(stage: Stage, block: int = 37) -> np.ndarray:
    """What a listener on the wire receives, cut into blocks as a device cuts it."""
    digital = stage.recording.to_int16()[0]
    return np.concatenate([stage.tap(digital[i : i + block], i) for i in range(0, len(digital), block)])


def test_second_half_is_the_first_with_the_perturbation_added(data: Path):
    stage = set_stage(30, 10, HOP_S, data)
    wire, clean = played(stage), stage.recording.to_int16()[0]
    half = stage.attack_from
    assert len(wire) == 2 * half == 30 * 10 * RATE
    assert np.array_equal(wire[:half], clean[:half])
    assert np.array_equal(clean[half:], clean[:half])
    difference = (wire[half:].astype(int) - wire[:half])[:, 0]
    assert difference[:4].tolist() == [3, -5, 3, -5]
    assert set(difference.tolist()) == {3, -5}


def test_a_short_and_a_long_show_repeat_the_recording_in_step(data: Path):
    short, long = set_stage(14, 10, HOP_S, data), set_stage(80, 10, HOP_S, data)
    assert short.attack_from == 70 * RATE
    assert long.attack_from == 400 * RATE
    one_round = long.round_samples
    clean = long.recording.to_int16()[0]
    assert np.array_equal(clean[:one_round], clean[one_round : 2 * one_round])
    wire = played(long)[long.attack_from :].astype(int) - clean[long.attack_from :]
    assert np.array_equal(wire[:one_round], wire[one_round : 2 * one_round])


def test_windows_are_told_apart_and_find_their_clean_twin(data: Path):
    stage = set_stage(30, 10, HOP_S, data)
    half, window = stage.attack_from, 30 * RATE
    assert stage.part(0, window) == stage.part(half - window, window) == "clean"
    assert stage.part(half - window + 1, window) == stage.part(half - 1, window) == "mixed"
    assert stage.part(half, window) == "attacked"
    assert stage.twin(half + 3000) == 3000
    assert stage.rhythm(0, window) == "normal"
    assert stage.rhythm(50 * RATE, window) == "normal>af"
    assert stage.rhythm(half + 70 * RATE, window) == "af"
    assert stage.rhythm(120 * RATE, window) == "noise"


def test_the_attacker_cannot_leave_the_converters_range(data: Path):
    stage = set_stage(30, 10, HOP_S, data)
    top = np.full((4, 1), 32767, np.int16)
    bottom = np.full((4, 1), -32768, np.int16)
    assert stage.tap(top, stage.attack_from)[:, 0].tolist() == [32767, 32762, 32767, 32762]
    assert stage.tap(bottom, stage.attack_from)[:, 0].tolist() == [-32765, -32768, -32765, -32768]


def test_too_short_a_show_is_refused(data: Path):
    with pytest.raises(DemoError, match="give at least 2"):
        set_stage(1, 10, HOP_S, data)


def test_a_perturbation_of_another_recording_is_refused(data: Path):
    np.savez(data / "perturbation.npz", delta_uv=np.zeros((45000, 1), np.int16), recording="0" * 64)
    with pytest.raises(DemoError, match="made for another recording"):
        set_stage(30, 10, HOP_S, data)


@pytest.mark.parametrize("name", ["recording.npz", "perturbation.npz"])
def test_damaged_and_absent_files_are_named(data: Path, name: str):
    (data / name).write_bytes(b"not an archive")
    with pytest.raises(DemoError, match="install wavewall again"):
        set_stage(30, 10, HOP_S, data)
    (data / name).unlink()
    with pytest.raises(DemoError, match=name.removesuffix(".npz")):
        set_stage(30, 10, HOP_S, data)
