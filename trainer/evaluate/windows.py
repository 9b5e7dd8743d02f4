"""Records of a data set as the windows a model takes: its labels, unit, rate and length, padded as the agent
pads.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.pipeline.resample import Resampler
from trainer.data.base import Dataset, DataSpec, Windows
from trainer.errors import EvaluationError

VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6}


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
    """The records of ``data`` as windows of ``spec``, the model's: labels by name, unit and rate converted.

    Raises:
        EvaluationError: a label that the model does not know, other channels, or a unit that cannot be
            converted.
    """
    known = {label: i for i, label in enumerate(spec.labels)}
    used = np.unique(data.y)
    for label in used:
        if data.spec.labels[label] not in known:
            raise EvaluationError(
                f"{data.spec.name}: label {data.spec.labels[label]!r} is none of the model's "
                f"({', '.join(spec.labels)})"
            )
    if len(data.spec.channels) != len(spec.channels):
        raise EvaluationError(
            f"{data.spec.name}: {len(data.spec.channels)} channels ({', '.join(data.spec.channels)}), the "
            "model takes "
            f"{len(spec.channels)} ({', '.join(spec.channels)})"
        )
    factor = _factor(data.spec, spec)
    y = np.array([known.get(label, -1) for label in data.spec.labels], np.int64)[data.y]
    signals = [
        _convert(np.asarray(signal), factor, data.spec.rate_hz, spec.rate_hz) for signal in data.signals
    ]
    return replace(data, signals=signals, y=y, spec=spec).windows()


def _factor(source: DataSpec, target: DataSpec) -> float:
    if source.units == target.units:
        return 1.0
    if source.units in VOLTS and target.units in VOLTS:
        return VOLTS[source.units] / VOLTS[target.units]
    raise EvaluationError(f"{source.name}: values in {source.units!r}, the model takes {target.units!r}")


def _convert(signal: np.ndarray, factor: float, rate_in: float, rate_out: float) -> np.ndarray:
    values = signal if factor == 1.0 else (signal * factor).astype(np.float32)
    if rate_in == rate_out:
        return values
    try:
        resampler = Resampler(rate_in, rate_out, channels=values.shape[1])
    except ValueError as error:
        raise EvaluationError(f"cannot resample: {error}") from error
    return np.concatenate([resampler.push(values), resampler.flush()])
