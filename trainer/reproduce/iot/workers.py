"""Datasets side by side: small networks leave a second core idle, so each process takes whole datasets.

Everything that passes between processes is a file: networks in the cache, cells in the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from trainer.errors import TrainerError, TrainingError
from trainer.grid import Processes

if TYPE_CHECKING:
    from trainer.reproduce.iot.run import Call, Clock, Job


def spread(call: Call, batches: Sequence[Sequence[Job]], clock: Clock, after: Callable[[], object]) -> None:
    """Make every batch, ``call.workers`` at a time, begun in their order; ``after`` each, in this process.

    Raises:
        TrainingError: what a worker could not do, with its reason.
    """
    with Processes(call.workers) as pool:
        for number, problem in pool.map(partial(_make, call), range(len(batches))):
            if problem is not None:
                raise TrainingError(problem)
            clock.done(*batches[number])
            after()


def _make(call: Call, number: int) -> str | None:
    """Make batch ``number`` of the call's plan; the reason where it cannot be made."""
    from trainer.cli.common import load_keras, native_notes_hidden

    load_keras()
    from trainer.cells import Cells
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
