"""Cross-validation of a defence of paper 1 on TRAIN alone: what a change of its recipe brings, without a look at TEST.

``python -m benchmarks.iot_folds --data UCRArchive_2018 --dataset ArrowHead --change CHANGE.json``

prints clean accuracy, and that under FGSM and under Table 4's white-box suite with fewer restarts and queries, of the
series left out, pooled over the folds; for ``--net joint`` or ``two_stage`` clean accuracy and that on the paper's
path (FGSM on the classifier alone). ``CHANGE.json`` holds what differs from the recipe, section by section, ``null``
for what is left out: ``{"model": {"encode_decode": {"levels": 64}}, "defense": {"epsilons": [0.05, 0.1]}}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.errors import EvaluationError, TrainerError
from trainer.evaluate.intervals import share_of
from trainer.evaluate.subject import load_twin
from trainer.recipe import read_recipe
from trainer.reproduce.iot import recipes, suite
from trainer.reproduce.iot.archive import Prepared, prepare
from trainer.reproduce.iot.plan import SCALES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# random starts find what steps from the series itself miss, so that two runs are the least
ATTACKED = replace(SCALES["full"], restarts=2, queries=50, large_limit=1)

PAPER = ("clean", "paper's path")
MEASURED = {"best": ("clean", "fgsm", "white-box"), "joint": PAPER, "two_stage": PAPER}


def folds_of(y: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """(n,) the fold of each series, each class spread over all of them."""
    rng, found = np.random.default_rng(seed), np.empty(len(y), int)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        found[members] = (np.arange(len(members)) + rng.integers(folds)) % folds
    return found


def changed(recipe: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``recipe`` with ``change`` laid over it, table by table; ``None`` takes a key out."""
    merged = dict(recipe)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = changed(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return {key: value for key, value in merged.items() if value is not None}


def toml(recipe: Mapping[str, Mapping[str, Any]]) -> str:
    """A recipe's sections as TOML; tables inside them inline."""
    return "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {_inline(value)}" for key, value in section.items())
        for name, section in recipe.items()
    )


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def left_out(data: Prepared, change: Mapping[str, Any], net: str = "best") -> np.ndarray:
    """Which series of ``data.test`` stay right: (3, n) clean, under FGSM and under all of the suite for ``best``, else
    (2, n) clean and on the paper's path.
    """
    from trainer.run import train

    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "recipe.toml", Path(folder) / "run"
        file.write_text(toml(changed(tomllib.loads(recipes.text(net, data, SCALES["full"], 0)), change)))
        train(file, "", out, parts=(data.train, data.train.take(range(min(16, len(data.train))))))
        steps, w = tuple(read_recipe(file).data.preprocess), data.windows
        model = load_twin(out, data.name, steps, "twin.keras")
        model.precision = ATTACKED.precision
        if net != "best":
            part = load_twin(out, data.name, steps, "classifier.keras")
            paper = suite.flags(suite.grey(model, part, w, ATTACKED.epsilon))
            return np.stack([suite.right(model, w.x, w), paper])
        cell, _ = suite.white(model, w, ATTACKED, 0)
    return np.stack([suite.flags(cell[key]) for key in ("clean", "fgsm", "with_square")])


def cross_validate(
    data: Prepared, change: Mapping[str, Any], folds: int = 3, limit: int | None = None, net: str = "best"
) -> np.ndarray:
    """As :func:`left_out`, of the series of TRAIN that ``limit`` of the ``folds`` leave out, or all of them."""
    if not 2 <= folds <= len(data.train):
        raise EvaluationError(f"--folds is {folds}; it must be from 2 to the {len(data.train)} series of TRAIN")
    fold = folds_of(data.train.y, folds)
    return np.concatenate(
        [
            left_out(
                Prepared(data.name, *(data.train.take(np.flatnonzero(side)) for side in (fold != k, fold == k)), ()),
                change,
                net,
            )
            for k in range(folds if limit is None else min(limit, folds))
        ],
        axis=1,
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="the UCR archive")
    parser.add_argument("--dataset", action="append", required=True)
    parser.add_argument("--change", type=Path, help="JSON: what differs from the recipe")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="only so many of the folds")
    parser.add_argument("--net", choices=sorted(MEASURED), default="best")
    a = parser.parse_args(argv)
    from trainer.cli.common import load_keras

    load_keras()
    try:
        change = json.loads(a.change.read_text()) if a.change else {}
        for name in a.dataset:
            found = cross_validate(prepare(a.data, name), change, a.folds, a.limit, a.net)
            shares = (share_of(int(row.sum()), len(row)) for row in found)
            figures = (
                f"{what} {s.share:.3f} ({s.low:.3f} to {s.high:.3f})"
                for what, s in zip(MEASURED[a.net], shares, strict=True)
            )
            print(f"{name}, {found.shape[1]} series left out:", ", ".join(figures), flush=True)
    except (TrainerError, OSError, ValueError) as error:
        print(f"folds: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
