"""Tasks shared over processes of one machine, or over a Ray cluster.

A task is done by a function of a module, so that every worker has it, and its result depends on nothing but the task:
who did it, in which order and how often it was begun makes no difference. A worker that dies costs what it was at.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Protocol, TypeVar

from trainer.errors import TrainerError

T = TypeVar("T")
R = TypeVar("R")
CONNECT_S = 10.0
MAX_DEATHS = 5  # of workers in a row without a result: then a task kills them, or memory is short
# Two processes that each want all cores only get in each other's way.
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")


class Pool(Protocol):
    """Does tasks; ``with`` ends its workers."""

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """(position of the task, result), as results come. An error of ``work`` is raised here."""
        ...

    def __enter__(self) -> Pool: ...

    def __exit__(self, *error: Any) -> None: ...


class Here:
    """This process, one task after the other."""

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """As ``Pool.map``."""
        yield from ((at, work(task)) for at, task in enumerate(tasks))

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class Processes:
    """``jobs`` processes of this machine, started at the first task; they stay for later calls of ``map``."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """As ``Pool.map``; a dead worker's tasks are given to new ones.

        Raises:
            TrainerError: workers die again and again.
        """
        left, deaths = dict(enumerate(tasks)), 0
        while left:
            running = {self._started().submit(work, task): at for at, task in left.items()}
            try:
                for future in as_completed(running):
                    result = future.result()
                    deaths = 0
                    del left[running[future]]
                    yield running[future], result
            except BrokenProcessPool as error:
                for at, result in _finished(running, left):
                    del left[at]
                    yield at, result
                self._pool, deaths = None, deaths + 1
                if deaths > MAX_DEATHS:
                    raise TrainerError(
                        f"worker processes died {deaths} times without a result: is memory short? Take fewer --jobs"
                    ) from error

    def workers(self) -> list[int]:
        """Process ids of the workers that run."""
        return [] if self._pool is None else list(self._pool._processes)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.jobs, mp_context=get_context("spawn"), initializer=_one_thread)
        return self._pool

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=kind is None, cancel_futures=True)


def _finished(running: Mapping[Future[R], int], left: Mapping[int, Any]) -> list[tuple[int, R]]:
    """Results that came before the pool broke and were not given out yet."""
    done = [(at, f) for f, at in running.items() if at in left and f.done() and not f.cancelled() and not f.exception()]
    return [(at, future.result()) for at, future in done]


def _one_thread() -> None:
    os.environ.update(ONE_THREAD)


def _alone(work: Callable[[T], R], task: T) -> R:
    _one_thread()
    return work(task)


class Ray:
    """A Ray cluster (extra ``ray``): one processor for each task; Ray does a dead worker's or machine's tasks again.

    Args:
        address: of a running cluster, as ``ray.init`` takes it: ray://HOST:10001, HOST:6379 or auto.

    Raises:
        TrainerError: Ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ModuleNotFoundError as error:
            raise TrainerError("--address needs Ray: pip install 'wavewall[ray]' here and on every machine") from error
        self._ray = ray
        _reach(address)
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            told = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
            raise TrainerError(f"{address}: no Ray cluster answers: {told[-1]}") from error

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        """As ``Pool.map``.

        Raises:
            TrainerError: a task was lost more often than Ray tries.
        """
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=MAX_DEATHS)(_alone)
        pending = {remote.remote(work, task): at for at, task in enumerate(tasks)}
        while pending:
            done, _ = ray.wait(list(pending), num_returns=1)
            try:
                result = ray.get(done[0])
            except ray.exceptions.RayTaskError as error:
                raise error.cause if isinstance(error.cause, TrainerError) else error from None
            except ray.exceptions.RayError as error:
                raise TrainerError(f"the Ray cluster lost a task for good: {str(error).splitlines()[0]}") from error
            yield pending.pop(done[0]), result

    def nodes(self) -> list[dict[str, Any]]:
        """What Ray says of the cluster's machines."""
        return list(self._ray.nodes())

    def __enter__(self) -> Ray:
        return self

    def __exit__(self, *error: Any) -> None:
        self._ray.shutdown()


def pool(jobs: int, address: str | None = None) -> Pool:
    """The Ray cluster at ``address``, or ``jobs`` processes, or this one.

    Raises:
        TrainerError: Ray is not installed, or no cluster answers.
    """
    if address is not None:
        return Ray(address)
    return Processes(jobs) if jobs > 1 else Here()


def _reach(address: str) -> None:
    """Ask whether anybody listens, since Ray itself tries for minutes.

    Raises:
        TrainerError: nobody does, or this is no address.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise TrainerError(f"--address {address!r}: give ray://HOST:10001, HOST:6379 or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise TrainerError(f"{address}: no Ray cluster answers: {error}") from error
