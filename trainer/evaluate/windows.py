"""Records of a data set as the windows a model takes: its labels, unit, rate and length, padded as the agent
pads.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.bundle import InputSpec
from edge.errors import EdgeError
from edge.pipeline.windows import Windower
from edge.types import SampleBlock, Window
from trainer.data.base import Dataset, DataSpec, Windows
from trainer.errors import EvaluationError


def choose(data: Dataset, names: Sequence[str] | None, limit: int | None) -> Dataset:
    """The records called ``names`` (all when None), then at most ``limit`` of them, evenly spread.

    Raises:
        EvaluationError: a name that is not there, no record at all, or a limit below 1.
    """
    if names is not None:
        index = {name: i for i, name in enumerate(data.names)}
        for name in names:
            if name not in index:
                close = difflib.get_close_matches(name, data.names, n=1)
                hint = f"did you mean {close[0]}?" if close else "see the split and the name"
                raise EvaluationError(f"record {name!r} is not in this part of {data.spec.name}; {hint}")
        data = data.take([index[name] for name in names])
    if not len(data):
        raise EvaluationError(f"{data.spec.name}: no records in this part; choose another --split")
    if limit is not None:
        if limit < 1:
            raise EvaluationError(f"--limit is {limit}; it must be at least 1")
        if limit < len(data):
            data = data.take(np.linspace(0, len(data) - 1, limit).round().astype(np.int64))
    return data


def read_names(text: str) -> list[str]:
    """Record names from a file (one a line, # starts a comment), or from the text itself, with commas.

    Raises:
        EvaluationError: a file without names, or one that cannot be read.
    """
    path = Path(text)
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise EvaluationError(f"{path}: cannot be read: {error}") from error
        names = [line.split("#")[0].strip() for line in lines]
    else:
        names = [name.strip() for name in text.split(",")]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise EvaluationError(f"{text}: no record names; write one a line")
    return names


def fit(data: Dataset, spec: DataSpec) -> Windows:
    """The first window of each record as the agent would cut it for a model that takes ``spec``.

    The agent's own windower does it: channels by name, unit and rate converted, short records padded on both
    sides. Labels go by name.

    Raises:
        EvaluationError: a label that the model does not know, or channels, a unit or a rate that cannot be
            fitted.
    """
    known = {label: i for i, label in enumerate(spec.labels)}
    for label in np.unique(data.y):
        if data.spec.labels[label] not in known:
            raise EvaluationError(
                f"{data.spec.name}: label {data.spec.labels[label]!r} is none of the model's "
                f"({', '.join(spec.labels)})"
            )
    wanted = InputSpec(spec.channels, spec.units, spec.rate_hz, spec.window_samples, spec.window_samples)
    found = [
        _first_window(signal, name, data.spec, wanted)
        for signal, name in zip(data.signals, data.names, strict=True)
    ]
    return Windows(
        np.stack([window.values for window in found]),
        np.stack([window.valid for window in found]),
        np.array([known.get(label, -1) for label in data.spec.labels], np.int64)[data.y],
        data.names,
        spec,
    )


def _first_window(signal: np.ndarray, name: str, source: DataSpec, wanted: InputSpec) -> Window:
    values = np.ascontiguousarray(signal, np.float32)
    units = (source.units,) * len(source.channels)
    windower = Windower(wanted)
    # pieces that the windower takes whatever the record's length; the first window is all that is wanted
    piece = max(1, min(len(values), int(windower.max_block_samples * source.rate_hz / wanted.rate_hz)))
    try:
        for at in range(0, len(values), piece):
            part = values[at : at + piece]
            end = at + piece >= len(values)
            windows = windower.push(
                SampleBlock(name, "0", at, 0.0, source.rate_hz, source.channels, units, part, end=end)
            )
            if windows:
                return windows[0]
    except EdgeError as error:
        raise EvaluationError(f"{source.name}: {error}") from error
    raise EvaluationError(f"{source.name}: record {name} gives no window; is it empty?")
