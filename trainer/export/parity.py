"""Float against quantized, on validation windows, with the code that the device runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edge.bundle import Bundle
from edge.pipeline.classify import Classifier
from edge.types import Scores, Window
from trainer.data.base import Windows
from trainer.evaluate.subject import softmax
from trainer.models.wrap import AttackModel


@dataclass(frozen=True)
class Parity:
    """Accuracies (fractions) of the float twin and of the file on the same n windows, and how often they agree.

    ``residuals``, ``disagreements`` (n,) are the file's, empty where it has none; ``scores`` and ``right`` (n,) tell by
    target how probable each answer was called, and whether it is right.
    """

    n: int
    float_correct: int
    file_correct: int
    agreement: float
    residuals: np.ndarray
    disagreements: np.ndarray
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    right: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def drop(self) -> float:
        """Accuracy lost by the file; negative when it gained."""
        return (self.float_correct - self.file_correct) / self.n


def window_of(windows: Windows, i: int) -> Window:
    """One record's window as the agent's windower would hand it over."""
    padded = int((~windows.valid[i]).sum())
    return Window(
        stream="evaluation",
        epoch="0",
        first_index=0,
        t0=0.0,
        rate_hz=windows.spec.rate_hz,
        values=windows.x[i],
        valid=windows.valid[i],
        missing=0,
        padded=padded,
        crc_errors=0,
    )


def score_all(
    bundle: Bundle, windows: Windows, threads: int = 1, report: Callable[[int], None] = lambda _: None
) -> list[Scores]:
    """The file's scores of every window, one by one as on the device."""
    classifier, scores = Classifier(bundle, threads), []
    for i in range(len(windows)):
        scores.append(classifier.classify(window_of(windows, i)))
        report(i + 1)
    return scores


def compare(twin: AttackModel, bundle: Bundle, windows: Windows) -> Parity:
    """Run both on ``windows``."""
    probabilities = softmax(twin.predict(windows.x, windows.valid))
    by_float = probabilities.argmax(-1)
    scores = score_all(bundle, windows)
    file_probabilities = np.stack([s.probabilities for s in scores])
    by_file = file_probabilities.argmax(-1)
    return Parity(
        n=len(windows),
        float_correct=int((by_float == windows.y).sum()),
        file_correct=int((by_file == windows.y).sum()),
        agreement=float((by_float == by_file).mean()),
        residuals=np.array([s.residual for s in scores if s.residual is not None]),
        disagreements=np.array([s.disagreement for s in scores if s.disagreement is not None]),
        scores={"float": probabilities.max(-1), "file": file_probabilities.max(-1)},
        right={"float": by_float == windows.y, "file": by_file == windows.y},
    )
