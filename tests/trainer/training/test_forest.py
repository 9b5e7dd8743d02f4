"""Growing a forest and setting it beside a trained classifier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from trainer import forest
from trainer.data.base import Dataset, DataSpec
from trainer.errors import TrainingError
from trainer.models.forest import Forest
from trainer.recipe import read_recipe

RECIPE = """\
[data]
kind = "cinc2017"
crop = 0.0
gain = 0.0
sign = 0.0
preprocess = [{ op = "remove_dc" }]

[model]
name = "compact"
arguments = { stem = 4, widths = [4], input_scale = 100.0 }

[defense]
name = "none"

[training]
epochs = 1
batch = 8

[export]
name = "toy"
"""


def labelled(n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] * x[:, 2] > 0)
    return x, y


def test_the_layer_answers_as_the_library_that_grew_it() -> None:
    x, y = labelled()
    weights = forest.grow(x, y, 40, 0)
    layer = Forest(40, 3)
    layer.build((None, 6))
    forest._fill(layer, weights)
    grown = HistGradientBoostingClassifier(max_iter=40, random_state=0, **forest.GROWTH).fit(x, y)
    raw = np.asarray(layer(x), np.float64)
    own = np.exp(raw - raw.max(1, keepdims=True))
    np.testing.assert_allclose(own / own.sum(1, keepdims=True), grown.predict_proba(x), atol=1e-5)
    assert np.mean(raw.argmax(1) == y) > 0.8


def test_a_missing_class_is_named() -> None:
    x, y = labelled()
    with pytest.raises(TrainingError, match=r"classes \[0, 2\]"):
        forest.grow(x, np.where(y == 1, 0, y), 2, 0)


@pytest.mark.parametrize("line", ['name = "compact"\n', 'name = "compact"\narguments = { stem = 4 }\n'])
def test_the_recipe_says_how_many_trees(line: str, tmp_path: Path) -> None:
    text = RECIPE.split("[model]", maxsplit=1)[0] + "[model]\n" + line + "\n[defense]" + RECIPE.split("[defense]")[1]
    path = tmp_path / "recipe.toml"
    path.write_text(forest.with_trees(text, 7))
    assert read_recipe(path).model.arguments["trees"] == 7
    assert read_recipe(path).training.epochs == 1


def hearts(n: int, seed: int) -> Dataset:
    """Two classes that the rhythm alone tells apart."""
    rng, signals, y = np.random.default_rng(seed), [], []
    t = np.arange(3000) / 300.0
    for i in range(n):
        uneven = i % 2
        steps = 0.8 + (0.25 if uneven else 0.01) * rng.uniform(-1, 1, 14)
        x = sum(700.0 * np.exp(-0.5 * ((t - at) / 0.012) ** 2) for at in np.cumsum(steps))
        signals.append((x + rng.normal(0, 5, 3000))[:, None].astype(np.float32))
        y.append(uneven)
    spec = DataSpec("hearts", ("even", "uneven"), "uV", 300.0, 3000)
    return Dataset(signals, np.array(y), tuple(f"h{seed}-{i}" for i in range(n)), spec)


def test_a_forest_beside_a_net_reads_the_rhythm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.evaluate.subject import open_subject
    from trainer.run import train

    parts = hearts(120, 0), hearts(40, 1)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    run = train(tmp_path / "recipe.toml", "", tmp_path / "run", parts=parts)
    monkeypatch.setattr("trainer.run.load_parts", lambda recipe, path: parts)
    told = forest.set_beside(run, tmp_path, tmp_path / "both", 4, None, 0)
    assert told["together"]["log_loss"] <= told["classifier_alone"]["log_loss"]
    assert told == json.loads((tmp_path / "both" / "run.json").read_text())["forest"]
    unseen = hearts(40, 2)
    w = unseen.windows()
    answers = open_subject(str(tmp_path / "both")).twin.predict(w.x, w.valid).argmax(-1)
    assert np.mean(answers == unseen.y) > 0.9
    with pytest.raises(TrainingError, match="is there already"):
        forest.set_beside(run, tmp_path, tmp_path / "both", 4, None, 0)
    with pytest.raises(TrainingError, match="has none"):
        forest.set_beside(tmp_path / "both", tmp_path, tmp_path / "more", 4, None, 0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of hearts; what loads its records again is given the same."""
    from trainer.run import train

    parts = hearts(40, 0), hearts(20, 1)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    monkeypatch.setattr("trainer.run.load_parts", lambda recipe, path: parts)
    return train(tmp_path / "recipe.toml", "", tmp_path / "run", parts=parts)


def test_a_killed_call_leaves_nothing_in_the_way(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run.with_name("both")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            forest.set_beside(run, run, out, 2, None, 0)
    assert not out.exists()
    forest.set_beside(run, run, out, 2, None, 0)
    assert {p.name for p in out.iterdir()} >= {"run.json", "recipe.toml", "twin.keras", "classifier.keras"}
    assert [p.name for p in run.parent.glob(".both*")] == []


def test_mistakes_are_told_before_the_work(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "both"
    for more, match in (
        (["--trees", "0"], "--trees is 0"),
        (["--like", str(run)], "no run that a forest was set beside"),
        (["--like", str(tmp_path / "none")], "no run that a forest was set beside"),
    ):
        assert forest.main([str(run), "--data", str(tmp_path), "--out", str(out), *more]) == 1
        assert match in capsys.readouterr().err
        assert not out.exists()
    facts = json.loads((run / "run.json").read_text())
    for key, value, match in (
        ("units", "mV", "are looked for in microvolts"),
        ("rate_hz", 250.0, "does not divide 250 Hz"),
        ("window_samples", 300, "one channel and 2 s at least"),
    ):
        wrong = {**facts, "spec": {**facts["spec"], key: value}}
        (run / "run.json").write_text(json.dumps(wrong))
        assert forest.main([str(run), "--data", str(tmp_path), "--out", str(out)]) == 1
        assert match in capsys.readouterr().err


def test_without_data_the_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert forest.main([str(tmp_path / "none"), "--data", str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
