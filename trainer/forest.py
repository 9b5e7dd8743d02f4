"""Sets a forest that looks at heart beats beside a trained ECG classifier.

``python -m trainer.forest RUN --data ZIP --out RUN2``

The forest sees what ``models.rhythm`` counts in each training record as the run's encode-decode gives it back: of the
record itself, of a crop of it with noise, and of that crop attacked through the run. Classifier and forest answer
together, ``logits = own * classifier + share * forest``; how much each counts is chosen by log loss on validation
windows, half of them attacked through the run, or taken from another such run (``--like``) where a refit has no
validation records. It raises clean accuracy and costs robustness (``docs/experiments.md``): no shipped bundle has it.

RUN2 is a run like any other for ``trainer evaluate``. ``trainer export`` takes it with ``--quantize float16``; int8 it
refuses, since a step of the int8 reconstruction turns trees over (ADR 0018).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.augment import Augment, draw
from trainer.data.base import Dataset
from trainer.errors import TrainerError, TrainingError

EPSILON_UV = 10.0
NOISE_UV = 8.0
GROWTH = {
    "learning_rate": 0.1,
    "max_depth": 3,
    "max_leaf_nodes": 8,
    "l2_regularization": 5.0,
    "min_samples_leaf": 40,
    "max_features": 0.15,
    "early_stopping": False,
}
SPACING = 0.1  # of a comparison's surrogate, in standard deviations of its number
OWN, TREES = (0.4, 0.6, 0.8, 1.0, 1.2), (0.0, 0.2, 0.4, 0.6, 0.8)


def grow(numbers: np.ndarray, y: np.ndarray, trees: int, seed: int) -> dict[str, np.ndarray]:
    """Weights of a :class:`trainer.models.forest.Forest` grown on numbers (n, number) and labels (n,).

    Raises:
        TrainingError: a class is missing, or scikit-learn keeps its trees in another way than this reads.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    from trainer.models.forest import LEAVES, NODES

    found = HistGradientBoostingClassifier(max_iter=trees, random_state=seed, **GROWTH).fit(numbers, y)
    classes, there = len(found.classes_), [int(label) for label in found.classes_]
    if there != list(range(classes)):
        raise TrainingError(f"the training records have the classes {there}; every class up to the last is needed")
    weights = {
        "feature": np.zeros((trees, classes, NODES), np.float32),
        "threshold": np.full((trees, classes, NODES), np.float32(3e38)),  # beyond: left
        "leaf": np.zeros((trees, classes, LEAVES), np.float32),
        "bias": np.zeros(classes, np.float32),
    }
    # of two classes scikit-learn scores the second alone
    labels = [1] if classes == 2 else list(range(classes))
    weights["bias"][labels] = np.asarray(found._baseline_prediction, np.float32).reshape(-1)
    for i, row in enumerate(found._predictors):
        for k, tree in zip(labels, row, strict=True):
            _place(tree.nodes, 0, 0, [w[i, k] for w in (weights["feature"], weights["threshold"], weights["leaf"])])
    spread = numbers.std(0) + 1e-3
    weights["spacing"] = (SPACING * spread)[weights["feature"].astype(int)].astype(np.float32)
    return weights


def _place(nodes: Any, at: int, place: int, into: list[np.ndarray]) -> None:
    """One node and those below it, from scikit-learn's list to heap order; a leaf that ends early fills all below."""
    from trainer.models.forest import LEAVES, NODES

    feature, threshold, leaf = into
    node = nodes[at]
    if node["is_leaf"]:
        first = last = place
        while first < NODES:
            first, last = 2 * first + 1, 2 * last + 2
        leaf[first - NODES : last - NODES + 1] = node["value"]
        return
    if place >= NODES or len(leaf) != LEAVES:
        raise TrainingError("a tree is deeper than the layer's")
    exact = node["num_threshold"]
    nearest = np.float32(exact)
    # scikit-learn goes left at x <= threshold in float64; rounded down, a float32 x goes the same way
    feature[place] = node["feature_idx"]
    threshold[place] = nearest if nearest <= exact else np.nextafter(nearest, np.float32(-np.inf))
    _place(nodes, node["left"], 2 * place + 1, into)
    _place(nodes, node["right"], 2 * place + 2, into)


def set_beside(run: Path, data_path: Path, out: Path, trees: int, like: Path | None, seed: int) -> dict[str, Any]:
    """Fill ``out`` with the run ``run`` and a forest; gives what ``run.json`` says of it.

    Raises:
        TrainingError: the run is no finished one of a compact classifier without trees; ``out`` is there; neither
            validation records nor a usable ``like``; windows in which no beats can be looked for.
    """
    from trainer.export.pack import read_run
    from trainer.models import encode_decode, registry
    from trainer.models.wrap import AttackModel
    from trainer.run import enlarge, load_parts

    if trees < 1:
        raise TrainingError(f"--trees is {trees}; it must be at least 1")
    base = read_run(run)
    if base.recipe.model.name != "compact" or base.recipe.model.arguments.get("trees"):
        raise TrainingError(f"{run}: a forest is set beside a compact classifier that has none")
    if out.exists():
        raise TrainingError(f"{out}: is there already; give another --out")
    if base.spec.units != "uV":
        raise TrainingError(f"{run}: its windows are in {base.spec.units!r}; heart beats are looked for in microvolts")
    # built first, so that windows without room for beats are told before minutes of work
    classifier = registry.build("compact", base.spec, **{**base.recipe.model.arguments, "trees": trees})
    given = _taken_over(like) if like is not None else None
    training, validation = enlarge(base.recipe, *load_parts(base.recipe, data_path))
    if not len(validation) and given is None:
        raise TrainingError(f"{run}: a refit has no validation records; give --like the run before it")
    counted = _counter(base.front, base.spec.rate_hz)
    model = AttackModel(base.twin, base.recipe.data.preprocess, name=base.recipe.export.name)
    weights = grow(*_numbers(training, base, model, counted, seed), trees, seed)
    facts = given or _weigh(validation, base, model, counted, weights, seed)
    _take(classifier, base.classifier, weights, facts["own"], facts["share"])
    twin = classifier if base.front is None else encode_decode.join(base.front, classifier)

    told = {**base.facts, "forest": {"trees": trees, "seed": seed, **facts}}
    # whole or not at all: what a killed call leaves is in nobody's way
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        text = (run / "recipe.toml").read_text(encoding="utf-8")
        (part / "recipe.toml").write_text(with_trees(text, trees), encoding="utf-8")
        for name in ("history.csv", "history.png"):
            if (run / name).exists():
                shutil.copyfile(run / name, part / name)
        twin.save(part / "twin.keras")
        classifier.save(part / "classifier.keras")
        if base.front is not None:
            base.front.save(part / "encode_decode.keras")
        (part / "run.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        part.rename(out)
    except OSError as error:
        raise TrainingError(f"{out}: cannot be written: {error.strerror or error}; choose a folder you own") from error
    found: dict[str, Any] = told["forest"]
    return found


def _taken_over(like: Path) -> dict[str, Any]:
    try:
        facts = json.loads((like / "run.json").read_text(encoding="utf-8"))["forest"]
        return {"own": float(facts["own"]), "share": float(facts["share"]), "like": str(like)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{like}: no run that a forest was set beside; give the --out of such a call") from error


def with_trees(recipe: str, trees: int) -> str:
    """The recipe's text with ``trees`` among its model's arguments."""
    head, model, rest = recipe.partition("[model]\n")
    section, cut, after = rest.partition("\n[")
    if "arguments" in section:
        section = re.sub(r"(arguments\s*=\s*\{)", rf"\1 trees = {trees},", section, count=1)
    else:
        section = re.sub(r"(name\s*=.*\n)", rf"\1arguments = {{ trees = {trees} }}\n", section, count=1)
    return head + model + section + cut + after


def _counter(front: Any, rate_hz: float) -> Any:
    """preprocessed windows (n, time, 1) -> numbers (n, number), through the encode-decode."""
    from trainer import gradients
    from trainer.models.rhythm import Rhythm

    rhythm = Rhythm(rate_hz=rate_hz)
    step = gradients.compiled(lambda x: rhythm(x if front is None else front(x, training=False)))

    def count(x: np.ndarray) -> np.ndarray:
        size, out = 64, []
        for begin in range(0, len(x), size):
            part = np.resize(np.arange(begin, min(len(x), begin + size)), size)
            out.append(np.asarray(step(gradients.tensor(x[part])))[: len(x) - begin])
        return np.concatenate(out)

    return count


def _numbers(data: Dataset, base: Any, model: Any, counted: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(numbers, labels) of every record three times: as it is, a noisy crop, and the crop attacked."""
    from edge.bundle import preprocess
    from trainer.training import prepare

    d, rng = base.recipe.data, np.random.default_rng([seed, 1])
    steps = preprocess.parse_steps(d.preprocess)
    augment = Augment(d.place, d.crop, d.crop_min, d.gain, d.sign, NOISE_UV, d.warp)
    found = []
    for begin in range(0, len(data), 512):
        part = data.take(np.arange(begin, min(len(data), begin + 512)))
        plain = part.windows()
        crop, valid = draw(part, np.arange(len(part)), augment, rng)
        bad = _attacked(model, crop, part.y, valid, [seed, begin])
        seen = (plain.x, plain.valid), (crop, valid), (bad, valid)
        found.append([counted(prepare(x, v, steps)) for x, v in seen])
    return np.concatenate([np.concatenate([f[k] for f in found]) for k in range(3)]), np.tile(data.y, 3)


def _attacked(model: Any, x: np.ndarray, y: np.ndarray, valid: np.ndarray, seed: list[int]) -> np.ndarray:
    from trainer.attacks.pgd import PGD
    from trainer.evaluate.answers import attacked

    return attacked(PGD(epsilon=EPSILON_UV, steps=5, step_share=0.4), model, x, y, valid, seed)[0]


def _weigh(
    data: Dataset, base: Any, model: Any, counted: Any, weights: dict[str, np.ndarray], seed: int
) -> dict[str, Any]:
    """How much classifier and forest count: the least log loss on validation windows, clean and attacked."""
    from edge.bundle import preprocess
    from trainer.evaluate.metrics import measure
    from trainer.evaluate.subject import softmax
    from trainer.models.forest import Forest
    from trainer.training import prepare

    w, steps = data.windows(), preprocess.parse_steps(base.recipe.data.preprocess)
    windows = [w.x, _attacked(model, w.x, w.y, w.valid, [seed, 2])]
    logits = np.concatenate([model.predict(x, w.valid) for x in windows])
    numbers = np.concatenate([counted(prepare(x, w.valid, steps)) for x in windows])
    trees, classes = weights["feature"].shape[:2]
    forest = Forest(trees, classes)
    forest(numbers[:1])
    _fill(forest, weights)
    votes = np.concatenate([np.asarray(forest(numbers[i : i + 64])) for i in range(0, len(numbers), 64)])
    y, n = np.tile(w.y, 2), len(w.y)

    def of(own: float, share: float) -> dict[str, float]:
        p = softmax(own * logits + share * votes)
        right = p.argmax(1) == y
        loss = -np.log(p[np.arange(len(y)), y] + 1e-9)
        f1 = measure(w.y, p[:n].argmax(1), classes).macro_f1
        shares = {"clean": float(right[:n].mean()), "attacked": float(right[n:].mean())}
        return {"log_loss": float(loss.mean()), **shares, "clean_f1": f1}

    grid = [(own, share) for own in OWN for share in TREES]
    own, share = min(grid, key=lambda pair: of(*pair)["log_loss"])
    alone = min(((own, 0.0) for own in OWN), key=lambda pair: of(*pair)["log_loss"])
    found = {"together": of(own, share), "classifier_alone": of(*alone), "forest_alone": of(0.0, 1.0)}
    return {"own": own, "share": share, "validation_windows": n, **found}


def _fill(forest: Any, weights: dict[str, np.ndarray]) -> None:
    for name, value in weights.items():
        getattr(forest, name).assign(value)


def _take(
    classifier: Any, source: Any, weights: dict[str, np.ndarray] | None, own: float = 1.0, share: float = 1.0
) -> None:
    """The source's weights by layer, its logits times ``own`` and the forest's scores times ``share``; no votes where
    there is no forest yet.
    """
    for layer in source.layers:
        if layer.name != "logits" and layer.weights:
            classifier.get_layer(layer.name).set_weights(layer.get_weights())
    if weights is not None:
        _fill(classifier.get_layer("forest"), weights)
    kernel, bias = source.get_layer("logits").get_weights()
    votes = share * np.eye(len(bias), dtype=np.float32)
    classifier.get_layer("logits").set_weights([np.concatenate([own * kernel, votes]), own * bias])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.forest", description=__doc__)
    parser.add_argument("run", type=Path, help="a finished run of a compact classifier")
    parser.add_argument("--data", type=Path, required=True, help="the CinC 2017 zip or folder")
    parser.add_argument("--out", type=Path, required=True, help="the new run's folder")
    parser.add_argument("--trees", type=int, default=96, help="a class")
    parser.add_argument("--like", type=Path, help="a run of this command whose weights are taken over")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        told = set_beside(given.run, given.data, given.out, given.trees, given.like, given.seed)
    except TrainerError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
