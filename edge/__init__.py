"""The edge agent of wavewall: samples in, windows, one bundle, verdicts out.

`edge.load("ecg-rhythm").classify(window)` is the shortest way from an array to a verdict, and
`for answer in edge.stream("record.hea"): ...` from a recording or a live device to all of them. Importing this
package loads no MQTT client, serial port, interpreter or scipy; each is imported where it is first used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import Answer, Model

__all__ = ["load", "stream"]


def load(name: str | Path, *, trusted_key: bytes | None = None, threads: int = 1) -> Model:
    """The bundle of that name (a shipped one) or path, every check passed, ready to classify.

    `trusted_key` (32 bytes, Ed25519) makes a good signature a condition. Raises BundleError with the reason.
    """
    from .pipeline import load_model

    return load_model(name, trusted_key=trusted_key, threads=threads)


def stream(
    source: Any,
    bundle: str | Path | Model = "ecg-rhythm",
    *,
    rate_hz: float | None = None,
    channels: Sequence[str] | None = None,
    units: str | Sequence[str] | None = None,
    name: str = "stream",
) -> Iterator[Answer]:
    """One Answer for each window of a recording's path, `"serial:PORT"`, a wfdb Record, a DataFrame or arrays.

    See edge.streaming.stream. Raises EdgeError.
    """
    from .streaming import stream as streamed

    return streamed(source, bundle, rate_hz=rate_hz, channels=channels, units=units, name=name)
