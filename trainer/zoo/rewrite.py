"""A shipped bundle written anew with one part changed; every other member stays, byte by byte.

A signature would not, and shipped bundles have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.bundle import Bundle, read_bundle, write_bundle
from trainer.errors import ExportError


def rewrite(
    path: Path, *, card: Mapping[str, Any] | None = None, attacked: Mapping[str, npt.ArrayLike] | None = None
) -> Bundle:
    """The bundle at ``path`` with another card, or other attacked windows, in its place.

    Raises:
        ExportError: it is signed, and the key that signed it is not here.
    """
    bundle = read_bundle(path)
    if bundle.signed:
        raise ExportError(f"{path}: signed; export it again with --sign instead")
    vectors, kept = bundle.vectors, bundle.attacked
    if attacked is None and kept is not None:
        attacked = {
            "windows": kept.windows,
            "valid": kept.valid,
            "labels": kept.labels,
            "epsilon": np.float32(kept.epsilon),
        }
    return write_bundle(
        path,
        bundle.manifest,
        bundle.model,
        bundle.head,
        {
            "windows": vectors.windows,
            "valid": vectors.valid,
            **vectors.outputs,
            **{f"step_{output}": np.float32(step) for output, step in vectors.steps.items()},
        },
        bundle.card if card is None else card,
        attacked=attacked,
    )
