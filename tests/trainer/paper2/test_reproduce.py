"""The target of paper 2: recipes, cells that survive, tables from answers, and one whole tiny run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from trainer.attacks.boundary import Walk
from trainer.cells import Cells
from trainer.cli import app
from trainer.data.base import Dataset, DataSpec
from trainer.defenses import registry
from trainer.errors import TrainingError
from trainer.models import registry as registry_of_models
from trainer.recipe import read_recipe
from trainer.reproduce import ecg, ecg_adaptive, ecg_tables
from trainer.reproduce.ecg import Target, reproduce
from trainer.reproduce.ecg_cells import BUDGETS, HONEST, PGD_SHOT, SAP_SHOT, SMOOTHING, Grid, Shot
from trainer.reproduce.ecg_nets import NETS, SCALES, TWICE, Scale, nets_for, recipe_text

pytestmark = pytest.mark.paper2
SPEC = DataSpec("toy", ("normal", "af", "other", "noise"), "uV", 300.0, 100, ("ecg",))
TINY = Scale("tiny", "compact", 2, {"stem": 4, "widths": [6], "input_scale": 100.0}, batch=8)


def records(n: int, tag: str, seed: int) -> Dataset:
    """Four frequencies, 100 uV high."""
    rng = np.random.default_rng(seed)
    y, t = np.arange(n) % 4, np.arange(100) / 100
    waves = [100 * np.sin(2 * np.pi * (2 + 4 * k) * t + rng.uniform(0, 6)) for k in y]
    signals = [wave[:, None].astype(np.float32) for wave in waves]
    return Dataset(signals, y, tuple(f"{tag}{i}" for i in range(n)), SPEC)


@pytest.mark.parametrize("scale", SCALES.values(), ids=str)
def test_recipes_are_the_papers_settings(scale: Scale, tmp_path: Path) -> None:
    seeds = set()
    for run in range(2):
        for net, what in NETS.items():
            path = tmp_path / "recipe.toml"
            path.write_text(recipe_text(net, scale, run))
            recipe = read_recipe(path)
            if scale.name == "paper":
                assert (recipe.training.batch, recipe.training.learning_rate) == (16, 0.001)
                assert recipe.training.schedule == "constant"
            assert recipe.data.oversample == {"af": 2, "noise": 5}
            assert (recipe.distillation is not None) == (what.teacher is not None)
            assert recipe.training.seed == recipe.model.arguments["seed"]
            seeds.add(recipe.training.seed)
            defense = registry.make(recipe.defense.name, **recipe.defense.arguments)
            if recipe.defense.name == "adt":
                assert recipe.defense.epsilons == [10.0]
                assert (defense.steps, defense.smooth_steps, defense.c) == (5, 5, 0.5)
                assert defense.step_share * 10.0 == pytest.approx(1.0)
            if recipe.defense.name in ("jacobian", "nsr"):
                assert defense.from_epoch == scale.epochs // 10 + 1
    assert len(seeds) == 2 * len(NETS)
    assert read_recipe(path).training.epochs == scale.epochs


def test_the_device_scale_is_small() -> None:
    scale = SCALES["device"]
    spec = replace(SPEC, window_samples=9000)
    assert registry_of_models.build(scale.model, spec, **scale.arguments).count_params() <= 200_000


def test_what_differentiates_twice_comes_last_and_nothing_is_done_for_a_table_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, written = [], []
    monkeypatch.setattr(ecg, "train_net", lambda net, *rest: trained.append(net))
    monkeypatch.setattr(ecg, "assemble", lambda target, grid, runs, nets, out: written.append((target.tables, nets)))
    monkeypatch.setattr(ecg.ecg_report, "write", lambda out: None)
    bare = Target(TINY, (2, 3), (), runs=1, figure1=False, adaptive=False)
    Cells(tmp_path, {}).get("run0/none/clean", lambda: cell(0))
    (tmp_path / "settings.json").unlink()
    reproduce(bare, toy_records(), "toy", tmp_path)
    assert sorted(trained) == sorted(NETS)
    assert set(trained[-len(TWICE) :]) == set(TWICE)
    for net, what in NETS.items():
        assert what.teacher is None or trained.index(what.teacher) < trained.index(net)
    assert len(written) == len(NETS)  # each network but the one that was attacked before, and all at the end
    assert written[0] == ((3,), ["none", "at"])
    assert written[-1] == ((2, 3), tuple(NETS))


def test_every_teacher_comes_before_its_pupils() -> None:
    order = list(NETS)
    for net, what in NETS.items():
        if what.teacher:
            assert order.index(what.teacher) < order.index(net)
    assert {NETS[net].teacher for net in ("dd", "dist_adt")} == {"none"}
    assert {NETS[net].teacher for net in ("init_adt", "adt")} == {"at"}
    assert nets_for(["adt", "jr"]) == ("none", "at", "jr", "adt")
    assert nets_for(["dd"]) == ("none", "dd")
    assert nets_for(tuple(NETS)) == tuple(NETS)


def test_attacks_are_the_papers() -> None:
    assert (SAP_SHOT.attack().pgd_steps, SAP_SHOT.attack().smooth_steps) == (20, 40)
    assert PGD_SHOT in SMOOTHING
    assert PGD_SHOT in BUDGETS
    for shot in (*SMOOTHING, *BUDGETS):
        assert shot.attack().describe()["step_size"] == pytest.approx(1.0)
    for shot in HONEST:
        assert shot.attack().describe()["step_size"] == pytest.approx(shot.epsilon / 10)
    assert len({shot.name for shot in (*SMOOTHING, *BUDGETS, *HONEST)}) == 5 + 5 + 5 - 2


def test_cells_are_computed_once_and_settings_held(tmp_path: Path) -> None:
    asked = []

    def compute() -> dict[str, int]:
        asked.append(1)
        return {"a": 1}

    cells = Cells(tmp_path, {"epochs": 2, "name": "device"})
    assert cells.get("run0/x", compute) == cells.get("run0/x", compute) == {"a": 1}
    assert Cells(tmp_path, {"epochs": 2, "name": "device"}).get("run0/x", compute) == {"a": 1}
    assert len(asked) == 1
    with pytest.raises(TrainingError, match="epochs 2, now asked for with 3"):
        Cells(tmp_path, {"epochs": 3, "name": "paper"})
    (tmp_path / "cells" / "run0" / "x.json").write_text("{")
    with pytest.raises(TrainingError, match=r"x\.json: cannot be read"):
        cells.get("run0/x", compute)


def grid_of(tmp_path: Path, cells: dict[str, object]) -> Grid:
    """A grid over eight records, two of each class, whose cells are given."""
    store = Cells(tmp_path, {})
    for name, value in cells.items():
        store.get(name, lambda value=value: value)
    return Grid(store, tmp_path, records(8, "t", 0).windows(), Walk(), 1, lambda line: None)


def cell(wrong: int, stuck: int = 0) -> dict[str, object]:
    """Answers to the eight records, the first ``wrong`` of them wrong."""
    y = np.arange(8) % 4
    y[:wrong] = (y[:wrong] + 1) % 4
    return {"predictions": y.tolist(), "stuck": stuck}


def test_the_worst_of_several_attacks_by_hand(tmp_path: Path) -> None:
    given: dict[str, object] = {}
    wrong = {"PGD, 5 starts": {0}, "larger steps": {0, 1}, "margin loss": {2}, "EOT over placement": set()}
    for label, (name, settings) in ecg_adaptive.ATTACKS.items():
        answers = np.arange(8) % 4
        for record in wrong[label]:
            answers[record] = 3
        for epsilon in ecg_adaptive.BUDGETS_UV:
            told = "-".join(f"{k}_{v}" for k, v in {"epsilon": epsilon, **settings}.items())
            stuck = int(label == "margin loss" and epsilon == 50)
            given[f"run0/adt/{name}-{told}-n8"] = {"predictions": answers.tolist(), "stuck": stuck}
    found = ecg_adaptive.table(grid_of(tmp_path, given), ("adt",))
    assert (found["n"], found["constant"]) == (8, 0.25)
    assert [row["epsilon_uv"] for row in found["rows"]] == [10, 25, 50]
    row = found["rows"][0]
    assert row["attacks"]["larger steps"] == 0.75
    assert row["worst"] == 5 / 8
    assert row["interval"][0] < 5 / 8 < row["interval"][1]
    assert row["f1"] == pytest.approx(np.mean([2 / 3, 2 / 3, 2 / 3, 4 / 7]))
    assert [row["warnings"] for row in found["rows"]] == [[], [], ["zero_gradient"]]
    header, rows = ecg_adaptive.cells_of(found)
    assert len(header) == len(rows[0])
    assert rows[2][0] == "ADT (zero gradients)"


def test_a_table_by_hand(tmp_path: Path) -> None:
    name = SAP_SHOT.name
    given: dict[str, object] = {}
    for run, (clean, attacked) in enumerate([(0, 2), (2, 4)]):
        given |= {f"run{run}/adt/clean": cell(clean), f"run{run}/adt/{name}": cell(attacked, stuck=run)}
        given |= {f"run{run}/none/clean": cell(0), f"run{run}/none/{name}": cell(8)}
    found = ecg_tables.table(grid_of(tmp_path, given), 3, range(2), ("none", "adt"))
    none, adt = found["rows"]
    assert (none["accuracy"]["mean"], none["accuracy_drop"]["mean"]) == (0.0, 1.0)
    assert adt["accuracy"]["values"] == [0.75, 0.5]
    assert adt["accuracy"]["deviation"] == pytest.approx(0.25 / np.sqrt(2))
    assert adt["accuracy_drop"]["values"] == pytest.approx([0.25, 1 / 3])
    assert adt["warnings"] == ["zero_gradient"]
    assert adt["paper"] == {"accuracy": 0.8270, "f1": 0.6845}
    assert adt["interval"][0] < 0.625 < adt["interval"][1]
    text = ecg_tables.markdown([found])
    assert "| ADT (zero gradients) | 0.6250 ± 0.1768 |" in text
    assert "0.8270 / 0.6845" in text


def test_situation_one_reads_the_shared_cell_and_table_6_leaves_out_its_maker(tmp_path: Path) -> None:
    name = PGD_SHOT.name
    given = {
        "run0/none/clean": cell(0),
        "run0/adt/clean": cell(0),
        f"run0/none/{name}": cell(6),
        f"run0/through/{name}": {"predictions": {"none": [0] * 8, "adt": cell(1)["predictions"]}, "stuck": 0},
        "run0/boundary": {
            "y": [0, 1, 2],
            "target": [1, 2, 3],
            "tried": 9,
            "predictions": {"none": [1, 2, 3], "adt": [0, 1, 3]},
        },
    }
    grid = grid_of(tmp_path, given)
    none, adt = ecg_tables.table(grid, 4, range(1), ("none", "adt"))["rows"]
    assert none["accuracy"]["mean"] == pytest.approx(0.25)
    assert adt["accuracy"]["mean"] == pytest.approx(0.875)
    assert adt["accuracy"]["deviation"] is None
    sixth = ecg_tables.table(grid, 6, range(1), ("none", "adt"))
    (only,) = sixth["rows"]
    assert sixth["n"] == [3]
    assert (only["net"], only["accuracy"]["mean"]) == ("adt", pytest.approx(2 / 3))
    assert "accuracy_drop" not in only


def test_a_figure_has_a_point_for_every_budget_and_is_drawn(tmp_path: Path) -> None:
    given = {}
    for i, shot in enumerate([*BUDGETS, *HONEST]):
        given[f"run0/adt/{shot.name}"] = cell(i % 5)
    found = ecg_tables.figure(grid_of(tmp_path, given), 6, range(1), ("adt",))
    assert [curve["sweep"] for curve in found["curves"]] == ["alpha 1 uV", "alpha epsilon/10"]
    assert found["curves"][0]["x"] == [5, 10, 15, 20, 25]
    assert found["curves"][0]["accuracy"] == [1.0, 0.875, 0.75, 0.625, 0.5]
    ecg_tables.draw(found, tmp_path / "figures" / "six.png")
    assert (tmp_path / "figures" / "six.png").read_bytes()[:4] == b"\x89PNG"


def test_the_paper_has_a_figure_for_every_method() -> None:
    for net in NETS:
        if not net.endswith("_mv"):
            assert set(ecg_tables.PAPER[net]) == set(range(2, 6 if net == "none" else 7))


@pytest.mark.slow
def test_a_whole_run_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    parts = toy_records()
    nets = nets_for(["adt"])
    target = Target(TINY, (2, 3, 6), (), runs=1, nets=nets, queries=25, per_pair=1)
    told: list[str] = []

    def stop_at_the_third_cell(line: str) -> None:
        told.append(line)
        if sum(text.startswith("cell") for text in told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(target, parts, "toy", tmp_path, stop_at_the_third_cell)
    (own,) = json.loads((tmp_path / "tables.json").read_text())  # of what was attacked so far
    assert (own["table"], [row["net"] for row in own["rows"]]) == (3, ["none"])
    again: list[str] = []
    result = reproduce(target, parts, "toy", tmp_path, again.append)
    trained = [line.split()[2] for line in again if "epoch" in line]
    assert set(trained) == {"adt"}  # no network is trained twice
    done = [line for line in told if line.startswith("cell")][:2]
    assert not set(done) & set(again)
    second, third, sixth = result["tables"]
    assert [row["net"] for row in second["rows"]] == ["none", "at", "adt"]
    assert [row["net"] for row in sixth["rows"]] in ([], ["at", "adt"])
    by_net = {row["net"]: row["accuracy"]["mean"] for row in third["rows"]}
    assert by_net["none"] == {row["net"]: row["accuracy"]["mean"] for row in second["rows"]}["none"]
    assert json.loads((tmp_path / "tables.json").read_text()) == result["tables"]
    page = (tmp_path / "report.html").read_text()
    assert "Table 6" in page
    assert "EOT over placement" in page
    assert len(json.loads((tmp_path / "adaptive.json").read_text())["rows"]) == 3 * 3
    shown = tmp_path / "figures" / "figure1.json"
    assert not shown.exists() or (tmp_path / "figures" / "figure1.svg").exists()
    more = reproduce(replace(target, tables=(), figures=(5,)), parts, "toy", tmp_path)
    assert len(more["figures"][0]["curves"]) == 2 * len(nets)
    other = (parts[0], parts[1], records(20, "d", 4))
    with pytest.raises(TrainingError, match="holds results with records"):
        reproduce(target, other, "toy", tmp_path)


def toy_records() -> tuple[Dataset, Dataset, Dataset]:
    return records(40, "a", 1), records(8, "b", 2), records(24, "c", 3)


def test_shots_have_names_of_their_own() -> None:
    assert Shot().name == "t20-s0-e10-a1"
    assert Shot(epsilon=5, step_size=0.5).name == "t20-s0-e5-a0.5"


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["--data", "none.zip", "--out", "x"], "none.zip: no such file", 1),
        (["--data", "x", "--out", "x", "--method", "mad"], "unknown method 'mad'", 1),
        (["--data", "x", "--out", "x", "--table", "1"], "table", 2),
        (["--data", "x", "--out", "x", "--figure", "2"], "Fig. 2 is a drawing", 2),
        (["--data", "x", "--out", "x", "--folds", "1"], "folds", 2),
        (["--data", "x", "--out", "x", "--folds", "2", "--table", "3"], "has a table of its own", 2),
        (["--out", "x"], "give the CinC 2017 zip", 2),
        (["--data", "x", "--out", "x", "--scale", "large"], "scale", 2),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], told: str, code: int) -> None:
    result = CliRunner().invoke(app, ["reproduce", "ecg", *arguments])
    assert result.exit_code == code
    assert told in result.stderr
