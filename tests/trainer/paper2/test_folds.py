"""Cross-validation of paper 2's methods: who learns from what, and rows over all records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.paper2.test_reproduce import TINY, toy_records
from trainer.reproduce.ecg import Target, reproduce
from trainer.reproduce.ecg_evidence import Evidence
from trainer.reproduce.ecg_folds import cross_validate, parts_of

pytestmark = pytest.mark.paper2


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_no_fold_learns_from_its_own_records_and_the_test_part_stays_out(folds: int) -> None:
    training, validation, _ = toy_records()
    signal = dict(zip(training.names + validation.names, [*training.signals, *validation.signals], strict=True))
    label = dict(zip(training.names + validation.names, [*training.y, *validation.y], strict=True))
    seen: list[str] = []
    for fold in range(folds):
        learnt, watched, held = parts_of(toy_records(), folds, fold)
        assert watched is held
        assert not set(learnt.names) & set(held.names)
        assert {*learnt.names, *held.names} == set(signal)
        for part in (learnt, held):
            for name, x, y in zip(part.names, part.signals, part.y, strict=True):
                assert np.array_equal(x, signal[name])
                assert y == label[name]
        seen += held.names
    assert sorted(seen) == sorted(signal)


@pytest.mark.slow
def test_folds_attack_every_record_once_by_nets_without_it(tmp_path: Path) -> None:
    target = Target(TINY, nets=("none",), ablation=True)
    alone = replace(target, tables=(3,), figures=(), ablation=False, figure1=False, runs=1)
    reproduce(alone, toy_records(), "toy", tmp_path)
    assert "2 folds over training" not in (tmp_path / "report.html").read_text()
    rows = cross_validate(target, toy_records(), "toy", tmp_path, 2, lambda line: None)
    out = tmp_path / "folds"
    held = [set(Evidence(out / f"fold{k}").names) for k in range(2)]
    training, validation, _test = toy_records()
    assert held[0] | held[1] == {*training.names, *validation.names}
    assert not held[0] & held[1]
    for fold in range(2):
        learnt = np.bincount(parts_of(toy_records(), 2, fold)[0].y)
        facts = json.loads((out / f"fold{fold}/nets/run0/none/run.json").read_text())
        assert facts["train_records"] == learnt @ [1, 2, 1, 5]  # AF twice, noise five times
    assert [row["attack"] for row in rows] == ["clean", "SAP", "PGD"]
    sizes = [len(names) for names in held]
    for row in rows:
        assert row["n"] == 48
        assert row["accuracy"] == pytest.approx(np.average(row["by_fold"], weights=sizes))
        assert row["interval"][0] < row["accuracy"] < row["interval"][1] or row["accuracy"] in (0.0, 1.0)
    assert "| none | SAP |" in (out / "folds.md").read_text()
    assert "2 folds over training" in (tmp_path / "report.html").read_text()
