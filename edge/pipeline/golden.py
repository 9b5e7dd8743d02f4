"""The checks of a bundle that need its model: shapes by the interpreter, golden vectors by its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.bundle import Bundle, preprocess, read_bundle
from edge.errors import BundleError

from .classify import Classifier

__all__ = ["check_vectors", "load_verified", "robust_accuracy"]

# Runtimes sum in different orders; a float output may differ by this share of its largest value (at least 1).
FLOAT_TOLERANCE = 1e-4
# Room for float32 rounding of a difference of exactly one step.
_STEP_SLACK = 1.001
# What only explains a verdict comes from deep int8 tensors, where runtimes' kernels round differently at every
# layer: up to 20 steps between ai-edge-litert and tflite-runtime were measured. What decides gets one step.
EXPLAIN_STEPS = {"embedding": 32, "features": 32}


def check_vectors(bundle: Bundle, classifier: Classifier) -> None:
    """Run the golden windows; raise BundleError where an output is off by more than one int8 step.

    Outputs that only explain (``EXPLAIN_STEPS``) have more room.
    """
    vectors = bundle.vectors
    for at in range(vectors.windows.shape[0]):
        x = preprocess.apply(bundle.manifest.preprocess, vectors.windows[at], vectors.valid[at])
        got = classifier.run(x[None])
        for name, expected in vectors.outputs.items():
            want = expected[at]
            step = max(vectors.steps[name], classifier.steps[name]) * EXPLAIN_STEPS.get(name, 1)
            tolerance = max(
                step * _STEP_SLACK, FLOAT_TOLERANCE * max(1.0, float(np.abs(want).max(initial=0.0)))
            )
            error = float(np.abs(got[name][0] - want).max(initial=0.0))
            if not error <= tolerance:  # NaN is an error too
                raise BundleError(
                    f"vectors.npz: golden window {at} gives {name!r} off by {error:.6g}, {_allowed(name)} "
                    f"{tolerance:.6g}; the model computes something else here, do not use it on this machine",
                    member="vectors.npz",
                )


def _allowed(name: str) -> str:
    steps = EXPLAIN_STEPS.get(name, 1)
    return "one int8 step is" if steps == 1 else f"{steps} int8 steps are"


def robust_accuracy(bundle: Bundle, classifier: Classifier) -> float | None:
    """Share of the bundle's own attacked golden windows on which it keeps its answer; None where it has none."""
    attacked = bundle.attacked
    if attacked is None:
        return None
    kept = 0
    for values, valid, label in zip(attacked.windows, attacked.valid, attacked.labels, strict=True):
        x = preprocess.apply(bundle.manifest.preprocess, values, valid)
        kept += int(classifier.run(x[None])["probabilities"][0].argmax()) == int(label)
    return kept / len(attacked.labels)


def load_verified(
    path: str | Path, trusted_key: bytes | None = None, threads: int = 1
) -> tuple[Bundle, Classifier]:
    """Read a bundle file and pass every check there is; a classifier comes with it. Raises BundleError."""
    made: list[Classifier] = []

    def check(bundle: Bundle) -> None:
        classifier = Classifier(bundle, threads)
        check_vectors(bundle, classifier)
        made.append(classifier)

    bundle = read_bundle(path, trusted_key=trusted_key, check_vectors=check)
    return bundle, made[0]
