"""When the model fails on a window: a new interpreter, the window once more, and if it fails again it is set aside.

Such a window is answered all the same, as `abstain` for the reason `failed`: who waits for it learns that it came.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np

from edge.bundle import Bundle
from edge.clock import SYSTEM_CLOCK, Clock
from edge.metrics import Metrics
from edge.pipeline.classify import Classifier
from edge.quarantine import Quarantine
from edge.types import Scores, Window

log = logging.getLogger("edge.rescue")

# However many windows fail, the interpreter is made anew at most so often: that costs more than a window.
RENEW_EVERY_S = 10.0


class Rescue:
    """Used by the pipeline's thread. `make` builds a classifier for a bundle."""

    def __init__(
        self,
        quarantine: Quarantine,
        metrics: Metrics,
        make: Callable[[Bundle], Classifier],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._quarantine, self._metrics, self._make, self._clock = quarantine, metrics, make, clock
        self._renew_at = clock.monotonic()

    def again(
        self, bundle: Bundle, classifier: Classifier, window: Window, error: Exception
    ) -> tuple[Classifier, Scores]:
        """The classifier to go on with, and scores for the window. Raises nothing."""
        log.warning("stream %s: the model failed on a window (%r)", window.stream, error)
        now, began = self._clock.monotonic(), time.perf_counter()
        if now >= self._renew_at:
            self._renew_at = now + RENEW_EVERY_S
            try:
                classifier = self._make(bundle)
                self._metrics.add_by("restarts", "interpreter")
                return classifier, classifier.classify(window)
            except Exception as second:
                error = second
        self._metrics.add("poison_windows")
        kept = self._quarantine.put(window, error, bundle.manifest.ref, self._clock.utc())
        if kept is not None:
            log.error("stream %s: a window that the model cannot take is kept in %s", window.stream, kept)
        nothing = np.full(len(bundle.manifest.labels), np.nan, np.float32)
        return classifier, Scores(nothing, latency_ms=(time.perf_counter() - began) * 1e3, failed="failed")
