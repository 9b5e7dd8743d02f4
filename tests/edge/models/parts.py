"""Bundles and agents for the tests of live updates, made of the tiny bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import write_bundle
from edge.pipeline.golden import load_verified
from tests.edge.tiny import WINDOW, tiny_bundle, tiny_parts

LABELS = ("normal", "other", "noise")


def attacked(kind: str = "tiny-int8", *, turned: int = 0, count: int = 4) -> dict[str, np.ndarray]:
    """Attacked windows of the tiny bundle on which it keeps its answer, but for the first `turned` ones."""
    import tempfile

    windows = np.random.default_rng(11).normal(0, 90, (count, WINDOW, 1)).astype(np.float32)
    valid = np.ones((count, WINDOW), bool)
    with tempfile.TemporaryDirectory() as folder:
        _, classifier = load_verified(tiny_bundle(Path(folder) / "t.bundle", kind))
    from edge.bundle import preprocess

    steps = classifier.manifest.preprocess
    labels = np.array(
        [
            classifier.run(preprocess.apply(steps, x, v)[None])["probabilities"][0].argmax()
            for x, v in zip(windows, valid, strict=True)
        ],
        np.int64,
    )
    labels[:turned] = (labels[:turned] + 1) % 3
    return {"windows": windows, "valid": valid, "labels": labels, "epsilon": np.float32(10)}


def bundle(
    path: Path,
    version: str = "2.0.0",
    *,
    turned: int | None = 0,
    signing_key: bytes | None = None,
    kind: str = "tiny-int8",
    **changes: Any,
) -> Path:
    """A tiny bundle with attacked windows; `turned` None leaves them out."""
    parts = tiny_parts(kind, version=version, **changes)
    extra = {} if turned is None else {"attacked": attacked(kind, turned=turned)}
    write_bundle(path, **parts, **extra, signing_key=signing_key)
    return path
