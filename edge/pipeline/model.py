"""A bundle ready to use: what edge.load returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, Manifest, resolve_bundle
from edge.errors import BundleError
from edge.types import Scores, Window

from .answer import Answer
from .classify import Classifier
from .golden import load_verified
from .verdict import Judge

__all__ = ["Model", "load_model"]


@dataclass(frozen=True, slots=True, repr=False)
class Model:
    """A checked bundle with its classifier and judge. Not to be shared between threads."""

    bundle: Bundle
    classifier: Classifier
    judge: Judge

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest: labels, rate, window and so on."""
        return self.bundle.manifest

    def classify(self, window: Window | npt.ArrayLike) -> Answer:
        """The verdict on a window, or on an array of raw values (n,) or (n, channel) at the bundle's rate.

        The Answer is a Verdict that also holds the window and the scores.

        An array shorter than the window is padded as a short record is; NaN and infinity count as missing.
        Raises BundleError when the array does not fit the bundle.
        """
        made = window if isinstance(window, Window) else self.window(window)
        scores = self.classifier.classify(made)
        verdict = self.judge.push(made, scores)
        return Answer(
            label=verdict.label,
            score=verdict.score,
            probabilities=verdict.probabilities,
            status=verdict.status,
            reason=verdict.reason,
            residual=verdict.residual,
            disagreement=verdict.disagreement,
            window=made,
            scores=scores,
            manifest=self.manifest,
        )

    def scores(self, window: Window | npt.ArrayLike, *, explain: bool = False) -> Scores:
        """The model's own answers, with embedding and features where `explain`."""
        made = window if isinstance(window, Window) else self.window(window)
        return self.classifier.classify(made, explain=explain)

    def window(self, values: npt.ArrayLike) -> Window:
        """An array of raw values (n,) or (n, channel) as a window, padded in the middle when it is short."""
        spec = self.manifest.input
        length, channels = self.manifest.window_shape
        given = np.asarray(values, np.float32)
        given = given[:, None] if given.ndim == 1 else given
        if given.ndim != 2 or given.shape[1] != channels or not 1 <= given.shape[0] <= length:
            raise BundleError(
                f"array of shape {np.shape(values)} does not fit {self.manifest.ref}: give 1 to {length} samples "
                f"of {channels} channel(s) in {spec.units} at {spec.rate_hz:g} Hz"
            )
        count = given.shape[0]
        left = (length - count) // 2
        good = np.isfinite(given).all(axis=1)
        padded, valid = np.zeros((length, channels), np.float32), np.zeros(length, np.bool_)
        padded[left : left + count][good] = given[good]
        valid[left : left + count] = good
        return Window(
            stream="",
            epoch="",
            first_index=0,
            t0=0.0,
            rate_hz=spec.rate_hz,
            values=padded,
            valid=valid,
            missing=count - int(good.sum()),
            padded=length - count,
        )

    def __repr__(self) -> str:
        spec = self.manifest.input
        return f"<{self.manifest.ref}: {spec.window_samples / spec.rate_hz:g} s of {', '.join(spec.channels)}>"

    def _repr_html_(self) -> str:
        from edge.notebook import card_html

        return card_html(self.bundle)


def load_model(name: str | Path, *, trusted_key: bytes | None = None, threads: int = 1) -> Model:
    """Resolve a name or path, check the bundle in every way, make it ready. Raises BundleError."""
    bundle, classifier = load_verified(resolve_bundle(name), trusted_key, threads)
    return Model(bundle, classifier, Judge(bundle.manifest))
