"""Paper 2's networks side by side: a process trains and attacks whole networks; all that passes between them is files.

A pupil waits for its teacher and situation I for every network, so the work comes in waves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from trainer.errors import TrainerError, TrainingError
from trainer.grid import Pool
from trainer.reproduce.ecg import Parts, Target, Tell, open_grid
from trainer.reproduce.ecg_cells import PGD_SHOT, SAP_SHOT, UNDEFENDED, Grid, Shot
from trainer.reproduce.ecg_nets import ABLATION, NETS, train_net
from trainer.reproduce.ecg_tables import FIGURES, TABLES

Task = tuple[int, str, Shot | None]  # run, then a net, THROUGH or BOUNDARY; the shot of THROUGH
THROUGH, BOUNDARY = "through", "boundary"


@dataclass(frozen=True)
class Share:
    """What a worker needs to know; ``load`` gives (training, validation, test) records and is a module's function."""

    target: Target
    load: Callable[[], Parts]
    data: str
    out: Path


def spread(share: Share, pool: Pool, tell: Tell) -> None:
    """Make every network and cell of the target.

    Raises:
        TrainingError: what a worker could not do, with its reason.
    """
    for tasks in waves(share.target):
        for at, problem in pool.map(partial(_make, share), tasks):
            if problem is not None:
                raise TrainingError(problem)
            run, what, shot = tasks[at]
            tell(f"run {run + 1}/{share.target.runs}: {what}{f' {shot.name}' if shot else ''} done")


def waves(target: Target) -> Iterator[Sequence[Task]]:
    """Tasks that may go side by side: networks without a teacher, their pupils, and what needs all networks."""
    known = {**NETS, **ABLATION}
    nets = [*target.nets, *(ABLATION if target.ablation else ())]
    runs = range(target.runs)
    for pupils in (False, True):
        yield [(run, net, None) for run in runs for net in nets if (known[net].teacher is not None) == pupils]
    shots = dict.fromkeys(shot for shot, situation in _shots(target) if situation == "I" and shot is not None)
    last: list[Task] = [(run, THROUGH, shot) for run in runs for shot in shots]
    yield [*last, *((run, BOUNDARY, None) for run in runs if 6 in target.tables)]


def _shots(target: Target) -> Iterator[tuple[Shot | None, str]]:
    yield from (TABLES[number] for number in target.tables)
    for number in target.figures:
        situation, sweeps = FIGURES[number]
        yield from ((shot, situation) for shots in sweeps.values() for shot in shots)


def _make(share: Share, task: Task) -> str | None:
    """Do a task in a worker; the reason where it cannot be done."""
    from trainer.cli.common import load_keras, native_notes_hidden

    load_keras()
    run, what, shot = task
    target = share.target
    try:
        with native_notes_hidden():
            parts = _loaded(share.load)
            grid = open_grid(target, parts, share.out, _quiet)
            if what == BOUNDARY:
                grid.boundary(run, target.nets)
            elif what == THROUGH:
                assert shot is not None
                grid.through(run, UNDEFENDED, shot, target.nets)
            else:
                train_net(what, target.scale, run, parts[:2], share.data, share.out, _untold)
                _own(grid, target, run, what)
    except TrainerError as error:
        return str(error)
    return None


def _own(grid: Grid, target: Target, run: int, net: str) -> None:
    """The cells that one network alone decides."""
    shots = [SAP_SHOT, PGD_SHOT]
    if net not in ABLATION:
        shots = [s for s, situation in _shots(target) if s is not None and (situation == "II" or net == UNDEFENDED)]
    grid.clean(run, net)
    for shot in dict.fromkeys(shots):
        grid.own(run, net, shot)


@lru_cache(maxsize=1)
def _loaded(load: Callable[[], Parts]) -> Parts:
    return load()


def _quiet(line: str) -> None:
    """Lines of several workers at once would only confuse; the parent tells what is done."""


def _untold(event: dict[str, Any]) -> None:
    """Steps of several networks at once would only confuse."""
