"""Cross-validation of paper 1's best defence: folds, changes of a recipe, and one tiny run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import iot_folds

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_every_fold_has_every_class() -> None:
    y = np.repeat([0, 1, 2], [9, 7, 5])
    fold = iot_folds.folds_of(y, 3)
    for label in range(3):
        counts = np.bincount(fold[y == label], minlength=3)
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1


def test_a_change_is_laid_over_table_by_table() -> None:
    recipe = {"defense": {"name": "trades", "arguments": {"beta": 2.0, "steps": 4}}, "data": {"kind": "ucr"}}
    change = {"defense": {"arguments": {"steps": 2}}, "training": {"epochs": 3}}
    merged = iot_folds.changed(recipe, change)
    assert merged["defense"] == {"name": "trades", "arguments": {"beta": 2.0, "steps": 2}}
    assert tomllib.loads(iot_folds.toml(merged)) == merged
    assert recipe["defense"]["arguments"] == {"beta": 2.0, "steps": 4}
    assert iot_folds.changed(recipe, {"defense": {"arguments": {"beta": None}}})["defense"]["arguments"] == {"steps": 4}


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert iot_folds.main(["--data", str(tmp_path), "--dataset", "Nothing"]) == 1
    assert "Nothing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("net", "last"), [("best", "white-box"), ("joint", "paper's path")])
def test_series_left_out_are_counted(
    net: str, last: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "Toy"
    folder.mkdir()
    for part in ("TRAIN", "TEST"):
        rows = [
            "\t".join(map(str, [k % 2, *(np.sin(np.arange(24) * (0.3 + 0.5 * (k % 2))) + rng.normal(0, 0.1, 24))]))
            for k in range(12)
        ]
        (folder / f"Toy_{part}.tsv").write_text("\n".join(rows) + "\n")
    change = tmp_path / "change.json"
    change.write_text('{"training": {"epochs": 2, "settle_steps": 2}, "model": {"arguments": {"width": 4}}}')
    assert iot_folds.main(
        ["--data", str(tmp_path), "--dataset", "Toy", "--folds", "2", "--limit", "1", "--change", str(change),
         "--net", net]
    ) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "Toy, 6 series left out: clean" in told
    assert last in told
