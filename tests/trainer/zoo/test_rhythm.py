"""Growing a forest and setting it beside a trained classifier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from trainer.data.base import Dataset, DataSpec
from trainer.errors import TrainingError
from trainer.models.forest import Forest
from trainer.recipe import read_recipe
from trainer.zoo import rhythm

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
    weights = rhythm.grow(x, y, 40, 0)
    layer = Forest(40, 3)
    layer.build((None, 6))
    rhythm._fill(layer, weights)
    grown = HistGradientBoostingClassifier(max_iter=40, random_state=0, **rhythm.GROWTH).fit(x, y)
    raw = np.asarray(layer(x), np.float64)
    own = np.exp(raw - raw.max(1, keepdims=True))
    np.testing.assert_allclose(own / own.sum(1, keepdims=True), grown.predict_proba(x), atol=1e-5)
    assert np.mean(raw.argmax(1) == y) > 0.8


def test_a_missing_class_is_named() -> None:
    x, y = labelled()
    with pytest.raises(TrainingError, match=r"classes \[0, 2\]"):
        rhythm.grow(x, np.where(y == 1, 0, y), 2, 0)


@pytest.mark.parametrize("line", ['name = "compact"\n', 'name = "compact"\narguments = { stem = 4 }\n'])
def test_the_recipe_says_how_many_trees(line: str, tmp_path: Path) -> None:
    text = RECIPE.split("[model]", maxsplit=1)[0] + "[model]\n" + line + "\n[defense]" + RECIPE.split("[defense]")[1]
    path = tmp_path / "recipe.toml"
    path.write_text(rhythm.with_trees(text, 7))
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
    told = rhythm.set_beside(run, tmp_path, tmp_path / "both", 4, None, 0)
    assert told["together"]["log_loss"] <= told["classifier_alone"]["log_loss"]
    assert told == json.loads((tmp_path / "both" / "run.json").read_text())["forest"]
    unseen = hearts(40, 2)
    w = unseen.windows()
    answers = open_subject(str(tmp_path / "both")).twin.predict(w.x, w.valid).argmax(-1)
    assert np.mean(answers == unseen.y) > 0.9
    with pytest.raises(TrainingError, match="is there already"):
        rhythm.set_beside(run, tmp_path, tmp_path / "both", 4, None, 0)
    with pytest.raises(TrainingError, match="has none"):
        rhythm.set_beside(tmp_path / "both", tmp_path, tmp_path / "more", 4, None, 0)


def test_without_data_the_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rhythm.main([str(tmp_path / "none"), "--data", str(tmp_path), "--out", str(tmp_path / "o")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
