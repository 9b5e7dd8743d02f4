"""A refit learns from the validation records, and takes over what they decided before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.training.test_run import RECIPE, parts
from trainer.cli.evaluate import Split, _tell_refit
from trainer.errors import ExportError, RecipeError
from trainer.evaluate.subject import Subject
from trainer.export.before import LIMIT, SECTIONS
from trainer.export.pack import Exported, export_run, read_run
from trainer.recipe import read_recipe
from trainer.run import build_models, train

PRETRAINED = "epochs = 4\npretrain_epochs = 2"


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with validation records of its own."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "recipe.toml").write_text(RECIPE + "max_drop = 0.5\n")
    return train(folder / "recipe.toml", "", folder / "run", parts=parts())


@pytest.fixture(scope="module")
def before(first: Path) -> Exported:
    return export_run(first, first / "toy.bundle", parts=parts())


@pytest.fixture(scope="module")
def refit(first: Path) -> Path:
    recipe = first.parent / "refit.toml"
    text = (first / "recipe.toml").read_text().replace("[model]", "refit = true\n[model]")
    recipe.write_text(text.replace(PRETRAINED, "epochs = 2"))
    return train(recipe, "", first.parent / "refit", start=first, parts=parts())


def test_a_refit_learns_from_all_but_the_test_records_and_has_nothing_to_validate_on(refit: Path) -> None:
    facts = read_run(refit).facts
    assert (facts["train_records"], facts["validation_records"]) == (44, 0)
    history = (refit / "history.csv").read_text().splitlines()
    columns = dict(zip(history[0].split(","), history[-1].split(","), strict=True))
    assert (columns["phase"], columns["epoch"]) == ("joint", "2")  # no pretraining: it starts from the run before
    assert columns["val_clean"] == columns["val_robust"] == "nan"


def test_it_starts_from_both_parts_of_the_run_before(first: Path, refit: Path, tmp_path: Path) -> None:
    classifier, front = build_models(read_recipe(refit / "recipe.toml"), parts()[0], first)
    run = read_run(first)
    assert front is not None
    assert run.front is not None
    for mine, theirs in ((classifier, run.classifier), (front, run.front)):
        for one, other in zip(mine.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_temperature_thresholds_and_validation_figures_are_those_before(
    refit: Path, before: Exported, tmp_path: Path
) -> None:
    made = export_run(refit, tmp_path / "refit.bundle", parts=parts(), before=before.path).bundle
    old = before.bundle
    assert made.manifest.decision == old.manifest.decision
    assert made.manifest.decision.suspect_residual is not None
    assert {name: made.card[name] for name in SECTIONS} == {name: old.card[name] for name in SECTIONS}
    assert made.card["data"]["train_records"] == 44
    assert made.card["data"]["validation_balance"] == old.card["data"]["validation_balance"]
    assert made.card["limits"].endswith(LIMIT)
    assert LIMIT not in old.card["limits"]
    assert made.model != old.model


def test_export_wants_the_bundle_before_of_a_refit_and_of_nothing_else(
    first: Path, refit: Path, before: Exported, tmp_path: Path
) -> None:
    out = tmp_path / "x.bundle"
    with pytest.raises(ExportError, match="with --before"):
        export_run(refit, out, parts=parts())
    with pytest.raises(ExportError, match="drop --before"):
        export_run(first, out, parts=parts(), before=before.path)
    with pytest.raises(ExportError, match="not the bundle of the run before"):
        export_run(refit, out, parts=parts(), before="ecg-undefended")
    assert not out.exists()


def test_a_refit_of_a_refit_takes_what_that_one_took(refit: Path, before: Exported, tmp_path: Path) -> None:
    first = export_run(refit, tmp_path / "first.bundle", parts=parts(), before=before.path)
    second = export_run(refit, tmp_path / "second.bundle", parts=parts(), before=first.path)
    for section in SECTIONS:
        assert second.bundle.card[section] == before.bundle.card[section]


def test_figures_on_records_that_it_learnt_from_are_said_to_be_too_good(
    refit: Path, before: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = export_run(refit, tmp_path / "refit.bundle", parts=parts(), before=before.path)
    for bundle, split, told in (
        (made.bundle, Split.VAL, True), (made.bundle, Split.TEST, False), (before.bundle, Split.VAL, False),
    ):  # fmt: skip
        _tell_refit(Subject(bundle.manifest.name, parts()[0].spec, (), bundle, None, None), split)
        assert ("take --split test" in capsys.readouterr().err) == told


def test_a_refit_cannot_leave_a_fold_out(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("[model]", "refit = true\nfolds = 3\nleave_out = 1\n[model]"))
    with pytest.raises(RecipeError, match="refit learns from all but the test records"):
        read_recipe(path)
