"""Fig. 6 and section 3.4: what noise is taken for, and how much of it is refused at the cost of which clean series.

Thresholds are found on four fifths of the clean TEST series and one half of the noise, and counted on the rest, five
times (cross-fitted): no label is used, and no network was trained on any of them. Pooled over datasets, every number
is first put in units of its dataset's own clean series among the four fifths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.evaluate.intervals import share_of
from trainer.evaluate.rejection import KINDS, Traits, noise, operating_point, relative_residual, standardised
from trainer.evaluate.subject import softmax
from trainer.models.wrap import AttackModel
from trainer.reproduce.iot.examples import reconstructed
from trainer.reproduce.iot.grid import Grid, MissingCellError

PER_KIND = 200
FOREIGN = 20  # series of each other dataset
SHARE = 0.02  # of clean series that may be refused
CONFIDENT = 0.9
SURE = 5  # what a confident answer to noise weighs, as against another: a fifth as many of them are allowed
FOLDS = 5


def traits(whole: AttackModel, classifier: AttackModel, x: np.ndarray, valid: np.ndarray) -> Traits:
    """The three numbers for windows (n, time, 1); the residual in what the network's own front sees."""
    from keras import ops

    from trainer.models.wrap import preprocess

    inner = np.asarray(preprocess(ops.convert_to_tensor(x), valid[..., None].astype(np.float32), whole.steps))
    residual = relative_residual(x, inner, reconstructed(whole, inner), valid)
    answer = softmax(whole.predict(x, valid))
    raw = softmax(classifier.predict(x, valid))
    return Traits(residual, 0.5 * np.abs(answer - raw).sum(-1), answer.max(-1))


def measured(grid: Grid, name: str, foreign: Sequence[str]) -> dict[str, Any]:
    """Of one dataset's best network: the numbers of clean series, of every kind of noise, of foreign series; and the
    undefended ResNet's confidence in noise.
    """

    def compute() -> dict[str, Any]:
        data, w = grid.data(name), grid.data(name).windows
        whole, part = grid.nets.whole("best", data, 0), grid.nets.classifier("best", data, 0)
        resnet = grid.nets.whole("resnet", data, 0)
        time = w.x.shape[1]
        rng = np.random.default_rng(0)
        groups = {kind: noise(kind, PER_KIND, time, rng) for kind in KINDS}
        others = [_fitted(grid.data(other).windows.x[:FOREIGN, :, 0], time) for other in foreign if other != name]
        if others:
            groups["foreign"] = np.concatenate(others)
        cell: dict[str, Any] = {"clean": _plain(traits(whole, part, w.x, w.valid)), "resnet_confidence": {}}
        for kind, x in groups.items():
            cell[kind] = _plain(traits(whole, part, x, np.ones(x.shape[:2], bool)))
            confident = softmax(resnet.predict(x)).max(-1)
            cell["resnet_confidence"][kind] = confident.round(4).tolist()
        cell["examples"] = {kind: groups[kind][0, :, 0].round(4).tolist() for kind in KINDS}
        return cell

    found: dict[str, Any] = grid.get(f"{name}/figure6", name, compute, ("best", "resnet"))
    return found


def operating(grid: Grid, names: Sequence[str]) -> dict[str, Any]:
    """Refusal of clean series and acceptance of noise: for each dataset alone, and pooled over all."""
    cells = {}
    for name in names:
        try:
            cells[name] = measured(grid, name, names)
        except MissingCellError:
            continue
    alone = {name: _cross_fitted([cell]) for name, cell in cells.items()}
    return {"share": SHARE, "datasets": alone, "pooled": _cross_fitted(list(cells.values())) if cells else None}


def _cross_fitted(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts over the folds; each fold's thresholds, found without it, judge it and the noise not used to find them."""
    refused = clean = 0
    taken: dict[str, list[tuple[float, float]]] = {}
    for fold in range(FOLDS):
        fit, against, worth, judged, others = [], [], [], [], {}
        for cell in cells:
            columns = _traits(cell["clean"]).columns()
            # neighbours in the file may be alike: folds alternate by a fixed random order
            out = np.random.default_rng(0).permutation(len(columns)) % FOLDS == fold
            own = columns[~out]
            fit.append(standardised(own, own))
            judged.append(standardised(columns[out], own))
            for kind in (*KINDS, "foreign"):
                if kind not in cell:
                    continue
                noisy = _traits(cell[kind])
                apart, counted = standardised(noisy.columns(), own), noisy.confidence
                if kind in KINDS:
                    against.append(apart[::2])
                    worth.append(np.where(counted[::2] > CONFIDENT, SURE, 1))
                    apart, counted = apart[1::2], counted[1::2]
                others.setdefault(kind, []).append((apart, counted))
        point = operating_point(np.concatenate(fit), SHARE, np.concatenate(against), np.concatenate(worth))
        answers = point.refuses(np.concatenate(judged))
        refused, clean = refused + int(answers.sum()), clean + len(answers)
        for kind, parts in others.items():
            accepted = ~point.refuses(np.concatenate([c for c, _ in parts]))
            confident = np.concatenate([p for _, p in parts]) > CONFIDENT
            taken.setdefault(kind, []).append((float(accepted.mean()), float((accepted & confident).mean())))
    share = share_of(refused, clean)
    return {
        "clean_series": clean,
        "clean_refused": share.share,
        "clean_refused_interval": [share.low, share.high],
        "accepted": {kind: float(np.mean([a for a, _ in folds])) for kind, folds in taken.items()},
        "accepted_confident": {kind: float(np.mean([c for _, c in folds])) for kind, folds in taken.items()},
    }


def _fitted(x: np.ndarray, time: int) -> np.ndarray:
    """(n, t) series drawn out or pressed together to (n, time, 1)."""
    at = np.linspace(0, x.shape[1] - 1, time)
    return np.stack([np.interp(at, np.arange(x.shape[1]), row) for row in x])[..., None].astype(np.float32)


def _plain(found: Traits) -> dict[str, list[float]]:
    return {key: getattr(found, key).round(5).tolist() for key in ("residual", "disagreement", "confidence")}


def _traits(plain: dict[str, list[float]]) -> Traits:
    return Traits(*(np.array(plain[key]) for key in ("residual", "disagreement", "confidence")))
