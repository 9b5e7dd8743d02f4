"""Sources and their threads; from them to the queue: whose samples are taken, which go first, what is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from edge.blockqueue import BlockQueue
from edge.overload import Overload, Priority
from edge.owners import Owners
from edge.sources.answers import Answering
from edge.sources.base import Emit, Source
from edge.types import SampleBlock

if TYPE_CHECKING:
    from edge.durability import Durability
    from edge.live.store import LiveStore

REPLACE_S = 2.0  # how long a source that is replaced may take to end
LATER = float("inf")  # the arrival of what has no hurry

# Block, aligned, when it came (monotonic), its number in the recorder.
Queued = tuple[SampleBlock, bool, float, int]


class Start(Protocol):
    """Starts a part of the agent (Supervisor.start)."""

    def __call__(
        self, name: str, body: Callable[[threading.Event], object], stop: threading.Event
    ) -> threading.Thread: ...


class Intake:
    """`sources` are those that run now. All but what `emitter` gives is the agent's thread's."""

    def __init__(
        self,
        sources: list[Source],
        queue: BlockQueue[Queued],
        owners: Owners,
        monotonic: Callable[[], float],
        part: Start,
        *,
        overload: Overload | None,
        durability: Durability | None,
        live: LiveStore | None,
    ) -> None:
        """`overload`: whose high-priority streams go first, None where no stream has a priority."""
        self._take(sources)
        self._queue, self._owners, self._monotonic, self._part = queue, owners, monotonic, part
        self._stops: dict[threading.Thread, threading.Event] = {}
        self.threads: list[threading.Thread] = []  # in the order of `sources`
        self._overload, self._durability, self._live = overload, durability, live

    def start(self) -> None:
        self.threads = [self._start(source) for source in self.sources]

    def replace(self, sources: list[Source]) -> None:
        """From now on these: those that are in it already go on untouched, what is new starts after what it may take
        the place of has ended. Streams keep their windows.
        """
        old = list(zip(self.sources, self.threads, strict=True))
        gone = [(source, thread) for source, thread in old if source not in sources]
        for _, thread in gone:
            self._stops.pop(thread).set()
        for _, thread in gone:
            thread.join(REPLACE_S)
        running = {id(source): thread for source, thread in old}
        self.threads = [running.get(id(s)) or self._start(s) for s in sources]
        self._take(sources)

    def _take(self, sources: list[Source]) -> None:
        self.sources = sources
        # Not asked for each window: to look at a protocol took a third of all own work on one.
        self.answering = [source for source in sources if isinstance(source, Answering)]

    @property
    def is_alive(self) -> bool:
        """Whether samples may still come."""
        return any(thread.is_alive() for thread in self.threads)

    def stop(self) -> None:
        """Tell every source to end; their threads are for the caller to join."""
        for stop in self._stops.values():
            stop.set()

    def _start(self, source: Source) -> threading.Thread:
        stop = threading.Event()
        thread = self._part(f"source-{source.name}", partial(self._run, source), stop)
        self._stops[thread] = stop
        return thread

    def _run(self, source: Source, stop: threading.Event) -> None:
        source.run(self.emitter(source), stop)

    def emitter(self, source: Source) -> Emit:
        """What a source hands its blocks to."""
        live, status, durability, queue = self._live, source.status, self._durability, self._queue
        # A recording that is played as fast as it goes is late by nobody's measure.
        hurried, monotonic, overload = source.name != "replay", self._monotonic, self._overload

        def put(block: SampleBlock, number: int = 0) -> None:
            if live is not None:
                live.came_from(block.stream, status)
            first = overload is not None and overload.priority(block.stream) is Priority.HIGH
            queue.put((block, source.aligned, monotonic() if hurried else LATER, number), first=first)

        def is_ours(block: SampleBlock, on_accepted: Callable[[], None] | None) -> bool:
            # With one source there is nobody to mix it up with.
            if len(self.sources) <= 1 or self._owners.takes(block.stream, source, self.sources, end=block.end):
                return True
            if on_accepted is not None:
                on_accepted()
            return False

        def emit(block: SampleBlock, on_accepted: Callable[[], None] | None = None) -> None:
            if is_ours(block, on_accepted):
                put(block)
                if on_accepted is not None:
                    on_accepted()

        def record(block: SampleBlock, on_accepted: Callable[[], None] | None = None) -> None:
            assert durability is not None
            if is_ours(block, on_accepted):
                durability.accept(block, source.aligned, on_accepted, lambda number: put(block, number))

        return emit if durability is None else record
