"""Why a window got its verdict: reconstruction, residual and class activation map, made when somebody looks.

The agent's own classifier is the pipeline's alone; this is a second one of the same bundle, in one worker thread
that exists only once a stream's page was opened.
"""

from __future__ import annotations

import base64
from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, preprocess
from edge.pipeline.classify import Classifier
from edge.types import FloatArray, Result, Scores, Window

_KEEP = 32  # explanations, by result; several pages may show one stream


class Explainer:
    """Explains windows. Used by one thread."""

    def __init__(self) -> None:
        self._bundle: Bundle | None = None
        self._classifier: Classifier | None = None
        self._made: OrderedDict[str, dict[str, object]] = OrderedDict()

    def explain(self, bundle: Bundle, window: Window, result: Result) -> dict[str, object]:
        """Plain facts for the page about one window and its result."""
        found = self._made.get(result.id)
        if found is None:
            found = self._made[result.id] = self._explain(bundle, window, result)
            if len(self._made) > _KEEP:
                self._made.popitem(last=False)
        return found

    def classifier(self, bundle: Bundle) -> Classifier:
        """This bundle's, made anew when the agent has taken another."""
        if self._classifier is None or self._bundle is not bundle:
            self._bundle, self._classifier = bundle, Classifier(bundle)
            self._made.clear()
        return self._classifier

    def _explain(self, bundle: Bundle, window: Window, result: Result) -> dict[str, object]:
        scores = self.classifier(bundle).classify(window, explain=True)
        x = preprocess.apply(bundle.manifest.preprocess, window.values, window.valid)
        raw = scores.probabilities_raw
        facts: dict[str, object] = {
            "id": result.id,
            "seq": result.seq,
            "epoch": window.epoch,
            "first": window.first_index,
            "t0": window.t0,
            "n": len(window.values),
            "rate_hz": window.rate_hz,
            "label": result.label,
            "status": result.status,
            "reason": result.reason,
            "model": result.model,
            "p": _numbers(scores.probabilities),
            "p_raw": None if raw is None else _numbers(raw),
            "residual": result.residual,
            "disagreement": result.disagreement,
            "cam": activation_map(bundle, scores, result.label),
            "missing": window.missing,
        }
        if scores.reconstruction is not None:
            facts |= _overlay(scores.reconstruction, x, window)
        return facts


def activation_map(bundle: Bundle, scores: Scores, label: str) -> list[float] | None:
    """How much each stretch of the window spoke for `label`, its parts adding up to the logit without its bias
    (Zhou and others, "Learning deep features for discriminative localization", 2016; here with max pooling, too).
    Rows of the head beyond the pooled features are a forest's votes, one a label, which have no place in the window.

    None where the bundle carries no head, or one that does not fit its features.
    """
    head, features = bundle.head, scores.features
    labels = bundle.manifest.labels
    if head is None or features is None or "kernel" not in head or label not in labels:
        return None
    length, width = features.shape
    weights = np.asarray(head["kernel"], np.float32)
    if weights.ndim != 2 or weights.shape[1] != len(labels):
        return None
    poolings, votes = divmod(weights.shape[0], width)
    if poolings not in (1, 2) or votes not in (0, len(labels)):
        return None
    column = weights[:, labels.index(label)]
    found = (features @ column[:width]) / length
    if poolings == 2:  # mean and max pooling together
        np.add.at(found, features.argmax(axis=0), features.max(axis=0) * column[width : 2 * width])
    return [round(float(v), 5) for v in found]


def _overlay(reconstruction: FloatArray, x: FloatArray, window: Window) -> dict[str, object]:
    """The reconstruction where the signal is: the steps before the model are undone where they are a shift and a
    scale; else it is left out, since any other place would be a lie."""
    valid = window.valid
    if not valid.any():
        return {}
    out: dict[str, object] = {"residual_values": pack(np.where(valid, (reconstruction - x)[:, 0], np.nan))}
    given, seen = window.values[valid, 0].astype(float), x[valid, 0].astype(float)
    spread = seen.var()
    if spread <= 0:
        return out
    factor = float(((seen - seen.mean()) * (given - given.mean())).mean() / spread)
    shift = given.mean() - factor * seen.mean()
    error = float(np.abs(factor * seen + shift - given).max())
    if error <= 1e-3 * max(float(np.abs(given).max()), 1e-9):
        back = np.where(valid, factor * reconstruction[:, 0] + shift, np.nan)
        out["reconstruction"] = pack(back)
        out["residual_values"] = pack(np.where(valid, factor * (reconstruction - x)[:, 0], np.nan))
    return out


def pack(values: npt.ArrayLike) -> str:
    """float32, little-endian, in base64: a tenth of the time and a third of the size of JSON numbers."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def _numbers(values: FloatArray) -> list[float]:
    return [round(float(v), 5) for v in values]
