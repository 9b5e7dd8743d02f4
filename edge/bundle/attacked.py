"""Attacked golden windows: windows that an attacker with the float twin has altered, stored with the bundle.

A gateway that is about to change its model runs them: a bundle that is easily turned is refused before it answers
anything. They are synthetic, as the golden windows are, so they say whether a file still holds as its trainer saw
it, not how good the model is (that is on the card).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError
from edge.types import BoolArray, FloatArray

from .manifest import Manifest

__all__ = ["ATTACKED_MEMBER", "Attacked", "parse_attacked"]

ATTACKED_MEMBER: Final = "attacked.npz"
# More would only make the check at activation slower: each is one run of the model.
MAX_WINDOWS: Final = 64


@dataclass(frozen=True, slots=True)
class Attacked:
    """`windows` float32 (m, n, channel) raw units, attacked; `valid` bool (m, n); `labels` int64 (m,), what the bundle
    says of the same windows unharmed; `epsilon` the attacker's budget, the largest change of a sample, in raw units.
    """

    windows: FloatArray
    valid: BoolArray
    labels: npt.NDArray[np.int64]
    epsilon: float


def parse_attacked(arrays: Mapping[str, npt.NDArray[Any]], manifest: Manifest) -> Attacked:
    """Check the arrays against the manifest. Raises BundleError that names the array."""
    if set(arrays) != {"windows", "valid", "labels", "epsilon"}:
        raise _wrong(", ".join(sorted(arrays))[:80], "are there; windows, valid, labels and epsilon are expected")
    windows, valid, labels = arrays["windows"], arrays["valid"], arrays["labels"]
    count = labels.shape[0] if labels.ndim == 1 else 0
    if not 1 <= count <= MAX_WINDOWS:
        raise _wrong("labels", f"holds {count} windows; store 1 to {MAX_WINDOWS}")
    shape = (count, *manifest.window_shape)
    if windows.dtype != np.float32 or windows.shape != shape or not bool(np.isfinite(windows).all()):
        raise _wrong("windows", f"is {windows.dtype} {windows.shape}; store finite float32 {shape}")
    if valid.dtype != np.bool_ or valid.shape != shape[:2]:
        raise _wrong("valid", f"is {valid.dtype} {valid.shape}; store bool {shape[:2]}")
    if labels.dtype != np.int64 or not bool(((labels >= 0) & (labels < len(manifest.labels))).all()):
        raise _wrong("labels", f"must be int64 numbers of labels, 0 to {len(manifest.labels) - 1}")
    epsilon = arrays["epsilon"]
    if epsilon.size != 1 or epsilon.dtype.kind not in "fiu" or not 0.0 < float(epsilon.reshape(())) < float("inf"):
        raise _wrong("epsilon", "is not one number above 0; store the attack's budget")
    return Attacked(windows, valid, labels, float(epsilon.reshape(())))


def _wrong(name: str, what: str) -> BundleError:
    return BundleError(f"{ATTACKED_MEMBER}: {name!r} {what}; export the bundle again", member=ATTACKED_MEMBER)
