"""The two things that answer: the float twin, and the bundle's file run by the very code of the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge.pipeline.classify import Classifier
from edge.pipeline.verdict import Judge
from edge.types import Window
from trainer.evaluate.subject import softmax

if TYPE_CHECKING:
    from trainer.foreign.answers import ForeignFile
    from trainer.models.wrap import AttackModel


class Target(Protocol):
    """Something with a name ("float", "int8", "file") that gives class probabilities to raw-unit windows.

    ``noticed`` (n,) tells of the last answers which came with a verdict that is not "ok"; None without a detector.
    """

    name: str
    noticed: np.ndarray | None

    def probabilities(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(n, class) for x (n, time, channel) float32 in raw units and valid (n, time) bool."""
        ...


class FloatTarget:
    """The float Keras twin behind its differentiable preprocessing."""

    name = "float"
    noticed = None

    def __init__(self, twin: AttackModel) -> None:
        self._twin = twin

    def probabilities(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return softmax(self._twin.predict(x, valid))


class DeviceTarget:
    """The bundle's TFLite file: windows go through ``edge.pipeline`` as on the device, verdict included.

    ``name``: "int8", or "file" for one that is stored otherwise.
    """

    def __init__(self, classifier: Classifier, name: str = "int8") -> None:
        self.name = name
        self.noticed: np.ndarray | None = None
        self._classifier = classifier
        self._judge = Judge(classifier.manifest)

    def probabilities(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        rate_hz = self._classifier.manifest.input.rate_hz
        rows, noticed = [], []
        for values, used in zip(x, valid, strict=True):
            padded = int(used.size - used.sum())
            window = Window("evaluate", "0", 0, 0.0, rate_hz, values, used, padded=padded)
            verdict = self._judge.push(window, self._classifier.classify(window))
            rows.append(list(verdict.probabilities.values()))
            noticed.append(verdict.status != "ok")
        self.noticed = np.asarray(noticed, bool)
        return np.asarray(rows, np.float32)


class ForeignTarget:
    """Somebody else's TFLite file as it is: no verdict, no detector."""

    noticed = None

    def __init__(self, file: ForeignFile, name: str) -> None:
        self.name, self._file = name, file

    def probabilities(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return self._file.probabilities(x, valid)
