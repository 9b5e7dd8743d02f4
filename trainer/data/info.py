"""The facts of a data set that decide how its figures must be read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data import ucr
from trainer.data.registry import LoadedData, load_data
from trainer.errors import DataError

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Facts:
    """Counts per part and class, lengths in samples, and the accuracy of the best constant answer."""

    name: str
    kind: str
    records: int
    parts: dict[str, int]
    classes: dict[str, dict[str, int]]
    shares: dict[str, float]
    constant_answer_accuracy: float
    rate_hz: float
    units: str
    channels: tuple[str, ...]
    window_samples: int
    length_min: int
    length_median: float
    length_max: int
    shorter_than_window: int
    longer_than_window: int
    flat_records: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def facts_of(data: LoadedData) -> Facts:
    """Facts of loaded data; ``classes[label][part]`` counts records."""
    records, spec = data.records, data.spec
    lengths = np.array([len(signal) for signal in records.signals])
    parts = np.array(data.parts)
    counts = np.bincount(records.y, minlength=len(spec.labels))
    return Facts(
        name=spec.name,
        kind=data.kind,
        records=len(records),
        parts={part: int((parts == part).sum()) for part in PARTS},
        classes={
            label: {part: int(((records.y == i) & (parts == part)).sum()) for part in PARTS}
            for i, label in enumerate(spec.labels)
        },
        shares={label: float(counts[i] / len(records)) for i, label in enumerate(spec.labels)},
        constant_answer_accuracy=float(counts.max() / len(records)),
        rate_hz=spec.rate_hz,
        units=spec.units,
        channels=spec.channels,
        window_samples=spec.window_samples,
        length_min=int(lengths.min()),
        length_median=float(np.median(lengths)),
        length_max=int(lengths.max()),
        shorter_than_window=int((lengths < spec.window_samples).sum()),
        longer_than_window=int((lengths > spec.window_samples).sum()),
        flat_records=sum(bool(np.ptp(signal, axis=0).max() == 0) for signal in records.signals),
        notes=data.notes,
    )


def describe(path: str | Path) -> list[Facts | DataError]:
    """Facts of what is at ``path``; of each dataset when it is an archive, an unreadable one as its error."""
    path = Path(path)
    if path.is_dir() and not ucr.is_dataset(path):
        names = ucr.datasets_in(path)
        if names:
            return [_facts_or_error(path / name) for name in names]
    return [facts_of(load_data(path))]


def render(facts: Facts) -> str:
    """Facts as text for the terminal."""
    seconds = f"{facts.window_samples / facts.rate_hz:g} s" if facts.rate_hz != 1.0 else "rate not given"
    lines = [
        f"{facts.name} ({facts.kind}): {facts.records} records, {len(facts.classes)} classes",
        "  split    " + ", ".join(f"{part} {n}" for part, n in facts.parts.items()),
        f"  window   {facts.window_samples} samples at {facts.rate_hz:g} Hz ({seconds}), "
        f"{len(facts.channels)} channel(s): {', '.join(facts.channels)} in {facts.units}",
        f"  lengths  {facts.length_min} to {facts.length_max} samples, median {facts.length_median:g}; "
        f"{facts.shorter_than_window} padded, {facts.longer_than_window} cut",
        f"  balance  a constant answer scores {facts.constant_answer_accuracy:.3f}",
    ]
    width = max(len(label) for label in facts.classes)
    for label, counts in facts.classes.items():
        total = sum(counts.values())
        detail = ", ".join(f"{part} {n}" for part, n in counts.items())
        lines.append(f"    {label:<{width}}  {total:>6}  {facts.shares[label]:>6.1%}  ({detail})")
    if facts.flat_records:
        lines.append(f"  note     {facts.flat_records} records are constant")
    lines += [f"  note     {note}" for note in facts.notes]
    return "\n".join(lines)


def _facts_or_error(path: Path) -> Facts | DataError:
    try:
        return facts_of(load_data(path))
    except DataError as error:
        return error
