"""``trainer reproduce iot`` from an archive to its report: whole, interrupted, asked again, and asked wrongly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from trainer.cli import app
from trainer.errors import TrainingError
from trainer.reproduce.iot import plan, recipes, table4
from trainer.reproduce.iot.archive import datasets, prepare

COLUMNS = {*table4.COLUMNS, "n_test", "seeds", "warnings"}
TINY = replace(
    plan.SCALES["quick"], width=4, fcn_width=4, momentum=0.7, epochs=8, fcn_epochs=8, best_width=4, best_front=4,
    best_steps=12, best_epochs=3, queries=6, large_limit=4, pgd_steps=4,
)  # fmt: skip


def write_set(archive: Path, name: str, *, train: int = 18, test: int = 9, samples: int = 40) -> None:
    """Three frequencies, labels that are words, lengths that differ, a hole, and a level far from zero."""
    rng = np.random.default_rng(0)
    labels = ("hum", "7", "-1.5")
    (archive / name).mkdir(parents=True)
    for part, n in (("TRAIN", train), ("TEST", test)):
        lines = []
        for i in range(n):
            length = samples - int(rng.integers(0, 9))
            t = np.arange(length) / samples
            x = 20 + 3 * np.sin(2 * np.pi * (2 + 3 * (i % 3)) * t + rng.uniform(0, 1)) + rng.normal(0, 0.3, length)
            x[5] = np.nan
            cells = [f"{v:.5f}" for v in x] + ["NaN"] * (samples - length)
            lines.append("\t".join([labels[i % 3], *cells]))
        (archive / name / f"{name}_{part}.tsv").write_text("\n".join(lines) + "\n")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["reproduce", "iot", *map(str, arguments)])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plan.SCALES, "quick", TINY)


@pytest.mark.slow
def test_every_table_and_figure_and_a_second_call(tmp_path: Path, tiny: None) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"
    write_set(archive, "Odd")
    call = ("--data", archive, "--out", out, "--cache", tmp_path / "cache")
    done = run(*call)
    assert done.exit_code == 0, done.output
    table = json.loads((out / "table4.json").read_text())
    assert set(table) == {"datasets", "means", "intervals"}
    row = table["datasets"]["Odd"]
    assert set(row) == COLUMNS
    assert set(table["means"]) == set(table4.COLUMNS)
    for key, (low, high) in table["intervals"]["datasets"]["Odd"].items():
        assert 0 <= low <= row[key] <= high <= 1
        assert table["intervals"]["means"][key] == pytest.approx([low, high])
    assert all(0 <= row[key] <= 1 for key in table4.COLUMNS)
    assert row["best_adaptive"] <= row["best_fgsm"] <= row["best_clean"]
    assert row["encdec_adaptive"] <= row["encdec_clean"]
    assert (row["n_test"], row["seeds"]) == (9, {"resnet": [0], "encdec": [0], "best": [0]})
    for number in plan.FIGURES:
        assert (out / "figures" / f"figure{number}.png").stat().st_size > 2000
        assert "<svg" in (out / "figures" / f"figure{number}.svg").read_text()[:2000]
    page = (out / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png") == len(plan.FIGURES)
    assert "narrower nets" in page and "1/128" in page and "Not there yet" not in page
    results = json.loads((out / "results.json").read_text())
    assert 0 <= results["more"]["datasets"]["Odd"]["int8_clean"] <= 1
    assert set(results["refusal"]["pooled"]["accepted"]) == {"white", "coloured", "constant", "zeros"}

    refused = run(*call)
    assert refused.exit_code == 1
    assert "--resume" in refused.output
    # a cell that was lost is made again, alone, to the same result
    cell = out / "cells" / "Odd" / "seed0" / "best-white.json"
    before, others = cell.read_text(), (out / "cells" / "Odd" / "facts.json").stat().st_mtime_ns
    cell.unlink()
    missing = run(*call, "--report-only")
    assert missing.exit_code == 0
    assert json.loads((out / "table4.json").read_text())["datasets"]["Odd"]["best_clean"] is None
    assert run(*call, "--resume").exit_code == 0
    assert cell.read_text() == before
    assert json.loads((out / "table4.json").read_text()) == table
    assert (out / "cells" / "Odd" / "facts.json").stat().st_mtime_ns == others
    other = run(*call, "--resume", "--epsilon", 0.2)
    assert other.exit_code == 1
    assert "epsilon" in other.output


@pytest.mark.slow
def test_datasets_side_by_side(tmp_path: Path) -> None:
    from trainer.reproduce.iot.run import Call, reproduce

    archive = tmp_path / "archive"
    for name, samples in (("One", 24), ("Two", 30)):
        write_set(archive, name, samples=samples)
    wanted = plan.wanted((2,), (6,), ("One", "Two"), datasets(archive), 1)
    told: list[str] = []
    call = Call(wanted, TINY, archive, tmp_path / "out", tmp_path / "cache", workers=2)
    results = reproduce(call, told.append)
    assert results["missing"] == []
    assert set(results["refusal"]["datasets"]) == {"One", "Two"}
    assert "foreign" in results["refusal"]["pooled"]["accepted"]
    assert told[-1].startswith("[100 %]")
    spoilt = plan.wanted((4,), (), ("One", "Two"), datasets(archive), 1)
    facts = tmp_path / "out" / "cells" / "One"
    (facts / "facts.json").write_text(json.dumps({"networks": [], "cell": {"digest": "another"}}))
    with pytest.raises(TrainingError, match="other data than"):
        reproduce(replace(call, wanted=spoilt, resume=True, workers=1), told.append)


def test_a_cell_of_another_recipe_is_made_again(tmp_path: Path) -> None:
    from trainer.cells import Cells
    from trainer.reproduce.iot.grid import Grid
    from trainer.reproduce.iot.nets import Nets

    write_set(tmp_path / "archive", "Odd")

    def grid(scale: plan.Scale) -> Grid:
        nets = Nets(tmp_path / "cache", scale, lambda line: None)
        return Grid(Cells(tmp_path / "out", {}), nets, scale, tmp_path / "archive", lambda line: None)

    wider = replace(TINY, width=5)
    assert grid(TINY).get("x", "Odd", lambda: 1, ("resnet",)) == 1
    assert grid(TINY).get("x", "Odd", lambda: 2, ("resnet",)) == 1
    assert grid(wider).get("x", "Odd", lambda: 3, ("resnet",)) == 3
    assert grid(wider).get("y", "Odd", lambda: 4, ("fcn",)) == 4
    assert grid(TINY).get("y", "Odd", lambda: 5, ("fcn",)) == 4


def test_recipes_are_recipes(tmp_path: Path) -> None:
    from trainer.recipe import read_recipe

    write_set(tmp_path, "Odd")
    data = prepare(tmp_path, "Odd")
    assert data.notes[-1] == "Odd: every series was z-normalised"
    assert abs(float(data.train.signals[0].std()) - 1) < 1e-4
    for scale in plan.SCALES.values():
        for net in recipes.NETS:
            (tmp_path / "r.toml").write_text(recipes.text(net, data, scale, 3))
            recipe = read_recipe(tmp_path / "r.toml")
            assert recipe.training.seed == 3
            assert (recipe.model.encode_decode is None) == (net in recipes.UNDEFENDED)
    assert (recipes.batch_of(390, 2), recipes.batch_of(20, 2), recipes.batch_of(9000, 2)) == (39, 2, 64)
    assert datasets(tmp_path) == datasets(tmp_path / "Odd") == ["Odd"]


@pytest.mark.parametrize(
    ("spoil", "arguments", "match"),
    [
        (lambda f: (f / "Odd_TRAIN.tsv").unlink(), (), "no *_TRAIN.tsv"),
        (lambda f: (f / "Odd_TEST.tsv").unlink(), (), "no *_TEST.tsv"),
        (lambda f: (f / "Odd_TRAIN.tsv").write_text("1\t0.1\t0.2\n" * 4), (), "two classes are needed"),
        (lambda f: (f / "Odd_TRAIN.tsv").write_text("1\t0.1\t0.2\n2\t1\t2\n"), (), "at least 3"),
        (lambda f: (f / "Odd_TRAIN.tsv").write_text("1\t1\t2\n2\tNaN\tNaN\n1\t2\t3\n"), (), "row 2: no value at all"),
        (None, ("--epsilon", "-0.1"), "--epsilon must be a number of at least 0"),
        (None, ("--epsilon", "nan"), "--epsilon must be a number of at least 0"),
        (None, ("--table", 3), "unknown table 3; known are 1, 2, 4"),
        (None, ("--figure", 13), "unknown figure 13; known are"),
        (None, ("--datasets", "Even"), "unknown dataset 'Even'; known here are Odd"),
        (None, ("--report-only",), "holds no run to report on"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, spoil: Any, arguments: tuple[object, ...], match: str) -> None:
    write_set(tmp_path / "archive", "Odd")
    if spoil:
        spoil(tmp_path / "archive" / "Odd")
    done = run("--data", tmp_path / "archive", "--out", tmp_path / "out", "--cache", tmp_path / "cache", *arguments)
    assert done.exit_code == 1
    assert match in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_the_paper_s_figures() -> None:
    assert [round(m, 1) for m in table4.paper_means()] == [86.9, 34.2, 56.3]
