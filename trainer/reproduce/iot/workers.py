"""Datasets side by side: small networks leave a second core idle, so each process takes whole datasets.

Everything that passes between processes is a file: networks in the cache, cells in the folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING

from trainer.errors import TrainerError, TrainingError

if TYPE_CHECKING:
    from trainer.reproduce.iot.run import Call, Clock, Job


def spread(call: Call, batches: Sequence[Sequence[Job]], clock: Clock, after: Callable[[], object]) -> None:
    """Make every batch, ``call.workers`` at a time, begun in their order; ``after`` each, in this process.

    Raises:
        TrainingError: what a worker could not do, with its reason.
    """
    with ProcessPoolExecutor(call.workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        running = {pool.submit(_make, call, k): batch for k, batch in enumerate(batches)}
        try:
            for future in as_completed(running):
                problem = future.result()
                if problem is not None:
                    raise TrainingError(problem)
                clock.done(*running[future])
                after()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    """One thread a process: two that each want both cores only get in each other's way."""
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"


def _make(call: Call, number: int) -> str | None:
    """Make batch ``number`` of the call's plan; the reason where it cannot be made."""
    from trainer.cli.common import load_keras, native_notes_hidden

    load_keras()
    from trainer.reproduce.cells import Cells
    from trainer.reproduce.iot import run

    try:
        with native_notes_hidden():
            nets = run.Nets(call.cache, call.scale, _quiet)
            grid = run.Grid(Cells(call.out, run.asdict(call.scale)), nets, call.scale, call.data, _quiet)
            for job in run.batched(run.plan(call, grid))[number]:
                job.make()
    except TrainerError as error:
        return str(error)
    return None


def _quiet(line: str) -> None:
    """Lines of several workers at once would only confuse; the parent tells what is done."""
