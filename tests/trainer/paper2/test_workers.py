"""Paper 2's networks side by side: waves, the same results, a mistake that is told, and the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.trainer.paper2.test_reproduce import TINY, toy_records
from trainer import grid
from trainer.cli import app, reproduce_ecg
from trainer.data.base import Dataset
from trainer.errors import TrainingError
from trainer.grid import Here, Processes
from trainer.reproduce import ecg_nets
from trainer.reproduce.ecg import Target, reproduce
from trainer.reproduce.ecg_nets import ABLATION, NETS, nets_for
from trainer.reproduce.ecg_workers import Share, spread, waves

pytestmark = pytest.mark.paper2


def unreadable() -> tuple[Dataset, Dataset, Dataset]:
    raise TrainingError("records.zip: gone")


def test_waves_hold_every_task_once_and_teachers_first() -> None:
    target = Target(TINY, runs=2, ablation=True)
    first, second, last = waves(target)
    nets = [*NETS, *ABLATION]
    assert sorted((run, net) for run, net, _ in [*first, *second]) == sorted((r, n) for r in range(2) for n in nets)
    for _, net, _ in second:
        assert (0, {**NETS, **ABLATION}[net].teacher, None) in first
    shots = [shot for run, what, shot in last if (run, what) == (1, "through")]
    assert len(shots) == len(set(shots)) > 2
    assert [task for task in last if task[1] == "boundary"] == [(0, "boundary", None), (1, "boundary", None)]
    assert list(waves(Target(TINY, (3,), (), 1, ("none", "at")))) == [[(0, "none", None), (0, "at", None)], [], []]


@pytest.mark.slow
def test_side_by_side_gives_the_same_results(tmp_path: Path) -> None:
    tables = replace(Target(TINY, (2, 3, 6), (), runs=1), figure1=False, adaptive=False)
    target = replace(tables, nets=nets_for(["dd"]), queries=25, per_pair=1)
    share = Share(target, toy_records, "toy", tmp_path / "both")
    told: list[str] = []
    with Processes(2) as pool:
        spread(share, pool, told.append)
        assert len(pool.workers()) == 2
    assert len(told) == 4  # two networks, SAP in situation I, the boundary attack
    lines: list[str] = []
    shared = reproduce(target, toy_records(), "toy", share.out, lines.append)
    assert lines == []  # nothing is left to train or to attack
    # a float's last bits follow the number of threads, so answers are compared, not weights
    assert shared == reproduce(target, toy_records(), "toy", tmp_path / "alone")


def test_a_workers_mistake_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"records\.zip: gone"), Here() as pool:
        spread(Share(Target(TINY, runs=1), unreadable, "toy", tmp_path), pool, lambda line: None)


@pytest.mark.slow
def test_the_command_shares_what_it_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str | None]] = []

    def pool(jobs: int, address: str | None = None) -> Here:
        asked.append((jobs, address))
        return Here()

    monkeypatch.setattr(grid, "pool", pool)
    monkeypatch.setattr(reproduce_ecg, "_load", lambda data: toy_records())
    monkeypatch.setitem(ecg_nets.SCALES, "device", replace(TINY, epochs=1))
    words = ["reproduce", "ecg", "--data", "x.zip", "--method", "dd", "--runs", "1", "--jobs", "2"]
    done = CliRunner().invoke(app, [*words, "--table", "3", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    assert "run 1/1: dd done" in done.stderr
    assert "| DD | " in done.stdout
    done = CliRunner().invoke(app, [*words, "--folds", "2", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.stderr
    assert asked == [(2, None)] * 3  # the run, and each fold
    assert "2 folds, situation II" in done.stdout
    assert "2 folds over training" in (tmp_path / "report.html").read_text()
