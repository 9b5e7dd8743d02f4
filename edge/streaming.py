"""edge.stream: a signal of any origin in, one Answer for each window out, as a plain iterator.

The same windows and verdicts as the agent's, without broker, spool or results' ids: for notebooks and scripts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge.bundle import InputSpec
from edge.errors import EdgeError
from edge.pipeline import Answer, Model, Windower, load_model
from edge.types import SampleBlock

if TYPE_CHECKING:
    from edge.sources.base import Source

__all__ = ["stream"]

# Blocks between a live source and a slow loop body; when it is full, the source waits as it does for the agent.
_QUEUE_BLOCKS: Final = 64
_LIVE: Final = ("serial", "mqtt")


def stream(
    source: Any,
    bundle: str | Path | Model = "ecg-rhythm",
    *,
    rate_hz: float | None = None,
    channels: Sequence[str] | None = None,
    units: str | Sequence[str] | None = None,
    name: str = "stream",
) -> Iterator[Answer]:
    """One Answer for each window of ``source``, in order.

    Args:
        source: a path of any recording that ``edge-agent replay`` reads (every record of it, each a stream);
            ``"serial:PORT[,key=value...]"`` or ``"mqtt[:streams]"``, live until the loop is left;
            a wfdb Record; a pandas DataFrame (columns are channels) or Series; an array (n,) or (n, channel);
            or an iterable of such arrays, as they come.
        bundle: a shipped bundle's name, a file, or what ``edge.load`` gave.
        rate_hz, channels, units: what the source does not say itself; the bundle's own when not given.
        name: the stream's name, where the source has none.

    Raises:
        EdgeError: a bundle, source, channel or unit that cannot be used; says which and what to do.
    """
    model = bundle if isinstance(bundle, Model) else load_model(bundle)
    return _answers(model, _blocks(source, model.manifest.input, rate_hz, channels, units, name))


def _answers(model: Model, blocks: Iterator[SampleBlock]) -> Iterator[Answer]:
    windowers: dict[str, Windower] = {}
    for block in blocks:
        windower = windowers.get(block.stream)
        if windower is None:
            windower = windowers[block.stream] = Windower(model.manifest.input)
        for window in windower.push(block):
            yield model.classify(window)
        if block.end:
            del windowers[block.stream]


def _blocks(
    source: Any,
    spec: InputSpec,
    rate_hz: float | None,
    channels: Sequence[str] | None,
    units: str | Sequence[str] | None,
    name: str,
) -> Iterator[SampleBlock]:
    if isinstance(source, str) and source.partition(":")[0] in _LIVE:
        return _live(source, spec)
    if isinstance(source, (str, Path)):
        return _recorded(Path(source), spec, rate_hz)
    if hasattr(source, "p_signal"):  # wfdb.Record
        if source.p_signal is None:
            raise EdgeError("this wfdb record holds no physical signal; read it with wfdb.rdrecord(..., physical=True)")
        rate_hz = rate_hz or float(source.fs)
        channels, units = channels or source.sig_name, units or source.units
        name, source = (source.record_name or name) if name == "stream" else name, source.p_signal
    elif hasattr(source, "columns") and hasattr(source, "to_numpy"):  # pandas.DataFrame
        channels = channels or [str(column) for column in source.columns]
        source = source.to_numpy()
    elif hasattr(source, "to_numpy"):  # pandas.Series
        source = source.to_numpy()
    return _from_arrays(source, spec, rate_hz or spec.rate_hz, channels, units, name)


def _recorded(path: Path, spec: InputSpec, rate_hz: float | None) -> Iterator[SampleBlock]:
    from edge.clock import SYSTEM_CLOCK
    from edge.names import to_name
    from edge.sources import replay

    records = replay.open_set(path, spec, rate_hz)
    for record in records.names:
        recording = replay.read(records, record)
        yield from replay.blocks(recording, to_name(recording.name), SYSTEM_CLOCK.utc())


def _from_arrays(
    source: Any,
    spec: InputSpec,
    rate_hz: float,
    channels: Sequence[str] | None,
    units: str | Sequence[str] | None,
    name: str,
) -> Iterator[SampleBlock]:
    from edge.clock import SYSTEM_CLOCK

    t0, first, whole = SYSTEM_CLOCK.utc(), 0, _is_array(source)
    largest = Windower(spec).max_block_samples
    pieces: Iterable[Any] = (source,) if whole else source
    for piece in pieces:
        values = np.asarray(piece, np.float32)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2:
            raise EdgeError(f"samples of shape {np.shape(piece)}: give (n,) or (n, channel), or an iterable of those")
        names = tuple(channels) if channels is not None else spec.channels
        unit = (spec.units,) if units is None else (units,) if isinstance(units, str) else tuple(units)
        unit = unit * len(names) if len(unit) == 1 else unit
        size = max(1, min(len(values), round(largest * min(1.0, rate_hz / spec.rate_hz))))
        for at in range(0, len(values), size):
            part = np.ascontiguousarray(values[at : at + size])
            end = whole and at + size >= len(values)
            yield SampleBlock(name, "0", first, t0 + first / rate_hz, rate_hz, names, unit, part, end=end)
            first += len(part)


def _is_array(source: Any) -> bool:
    if isinstance(source, np.ndarray):
        return True
    return isinstance(source, (list, tuple)) and (not source or not hasattr(source[0], "__len__"))


def _live(text: str, spec: InputSpec) -> Iterator[SampleBlock]:
    import os

    from edge.blockqueue import BlockQueue
    from edge.build import make_sources
    from edge.clock import SYSTEM_CLOCK
    from edge.metrics import Metrics
    from edge.settings import load_settings

    settings = load_settings(None, os.environ, {"source": [text]})
    (source,) = make_sources(settings, spec, Metrics(), SYSTEM_CLOCK)
    queue: BlockQueue[SampleBlock] = BlockQueue(_QUEUE_BLOCKS)
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(source, queue, stop), name="edge-stream", daemon=True)
    thread.start()
    try:
        while blocks := queue.get_many(_QUEUE_BLOCKS):
            yield from blocks
            queue.done(len(blocks))
    finally:  # also when the caller leaves its loop
        stop.set()
        queue.close()
        thread.join(5.0)


def _run(source: Source, queue: Any, stop: threading.Event) -> None:
    from edge.sources.base import Closed

    def emit(block: SampleBlock, on_accepted: Any = None) -> None:
        queue.put(block)
        if on_accepted is not None:
            on_accepted()

    try:
        source.run(emit, stop)
    except Closed:
        pass
    finally:
        queue.close()
