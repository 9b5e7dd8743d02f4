"""The edge agent of wavewall: samples in, windows, one bundle, verdicts out.

`edge.load("ecg-rhythm").classify(window)` is the shortest way from an array to a verdict. Importing this
package loads no MQTT client, serial port, interpreter or scipy; each is imported where it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .pipeline import Model

__all__ = ["load"]


def load(name: str | Path, *, trusted_key: bytes | None = None, threads: int = 1) -> Model:
    """The bundle of that name (a shipped one) or path, every check passed, ready to classify.

    `trusted_key` (32 bytes, Ed25519) makes a good signature a condition. Raises BundleError with the reason.
    """
    from .pipeline import load_model

    return load_model(name, trusted_key=trusted_key, threads=threads)
