"""Sample blocks as a picture needs them: unbroken runs, and a strip of a few columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.types import FloatArray, SampleBlock


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive samples. `values` float32 (n, channel); `t0` UTC seconds of the first one."""

    epoch: str
    first_index: int
    t0: float
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    values: FloatArray
    lead_off: bool


def runs(blocks: Iterable[SampleBlock]) -> list[Run]:
    """Blocks in the order of the stream, joined where nothing is missing between them; what overlaps is cut off."""
    found: list[Run] = []
    parts: list[FloatArray] = []
    head: SampleBlock | None = None
    expected = 0

    def close() -> None:
        if head is not None and parts:
            values = parts[0] if len(parts) == 1 else np.concatenate(parts)
            found.append(
                Run(
                    head.epoch, expected - len(values), head.t0, head.rate_hz, head.channels, head.units, values,
                    head.lead_off,
                )
            )  # fmt: skip

    for block in blocks:
        values = block.values
        if head is not None and _same(head, block):
            late = expected - block.first_index
            if late > 0:
                values = values[late:]
                if not len(values):
                    continue
            if late >= 0 and block.lead_off == head.lead_off:
                parts.append(values)
                expected += len(values)
                continue
            t0 = block.t0 + max(late, 0) / block.rate_hz
        else:
            late, t0 = 0, block.t0
        if not len(values):
            continue
        close()
        head = block if late <= 0 else _shifted(block, values, t0)
        parts, expected = [values], head.first_index + len(values)
    close()
    return found


def _same(a: SampleBlock, b: SampleBlock) -> bool:
    return a.epoch == b.epoch and a.rate_hz == b.rate_hz and a.channels == b.channels and a.units == b.units


def _shifted(block: SampleBlock, values: FloatArray, t0: float) -> SampleBlock:
    from dataclasses import replace

    return replace(block, values=values, first_index=block.first_index + block.values.shape[0] - len(values), t0=t0)


def strip(found: Sequence[Run], seconds: float, columns: int) -> list[tuple[float, float] | None]:
    """(least, largest) of the first channel in each of `columns` equal parts of the last `seconds`; None where
    there is no sample."""
    out: list[tuple[float, float] | None] = [None] * columns
    if not found:
        return out
    last = found[-1]
    end = last.t0 + len(last.values) / last.rate_hz
    start, width = end - seconds, seconds / columns
    for run in found:
        column = run.values[:, 0]
        at = (np.arange(len(column)) / run.rate_hz + (run.t0 - start)) / width
        keep = (at >= 0) & (at < columns) & np.isfinite(column)
        if not keep.any():
            continue
        index, values = at[keep].astype(np.intp), column[keep]
        edges = np.flatnonzero(np.diff(index, prepend=-1))
        low, high = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
        for place, a, b in zip(index[edges].tolist(), low.tolist(), high.tolist(), strict=True):
            held = out[place]
            out[place] = (a, b) if held is None else (min(a, held[0]), max(b, held[1]))
    return out
