"""Paper 1 as one target: trains, attacks and writes, cell by cell, in the order that matters most.

A folder fills up as it goes: ``cells/`` (one file a result) and, after every dataset, ``table4.json``,
``results.json``, ``figures/*.png``, ``*.svg`` and ``report.html`` of what is there so far. Networks lie in the cache.
Full scale goes: best defence of each dataset, the paper's rows, further seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from trainer.cells import SETTINGS, Cells, write_json
from trainer.errors import EvaluationError
from trainer.evaluate.report import write_text
from trainer.reproduce.iot import drawings, examples, refusal, table4, workers
from trainer.reproduce.iot.grid import Grid, MissingCellError
from trainer.reproduce.iot.nets import Nets
from trainer.reproduce.iot.plan import EXAMPLE, PAPER, Scale, Wanted
from trainer.reproduce.iot.recipes import NETS
from trainer.reproduce.iot.report import html

Tell = Callable[[str], None]
# rough cost of a job beside the others of its dataset, for the time left
COST = {"best": 5.0, "resnet": 2.0, "fcn": 2.0, "joint": 3.0, "two_stage": 3.0, "attack": 3.0, "picture": 0.5}


@dataclass(frozen=True)
class Job:
    """One thing to make; ``cost`` is its share of the work, ``size`` that of its dataset."""

    name: str
    dataset: str
    cost: float
    make: Callable[[], Any]


@dataclass(frozen=True)
class Call:
    """One call of the command."""

    wanted: Wanted
    scale: Scale
    data: Path
    out: Path
    cache: Path
    resume: bool = False
    compute: bool = True
    workers: int = 1


def open_folder(call: Call) -> Cells:
    """The folder's cells.

    Raises:
        EvaluationError: it holds a run, and resume is off.
        TrainingError: it holds a run of another scale.
    """
    if (call.out / SETTINGS).exists() and not call.resume and call.compute:
        raise EvaluationError(f"{call.out}: holds a run already; go on with it with --resume, or give another --out")
    if not call.compute and not (call.out / SETTINGS).exists():
        raise EvaluationError(f"{call.out}: holds no run to report on")
    return Cells(call.out, asdict(call.scale))


def reproduce(call: Call, tell: Tell = lambda line: None) -> dict[str, Any]:
    """Make what is wanted; gives the results that the report shows."""
    cells = open_folder(call)
    nets = Nets(call.cache, call.scale, tell)
    grid = Grid(cells, nets, call.scale, call.data, tell, compute=call.compute)
    if call.compute:
        for name in call.wanted.datasets:  # a mistake in the data is told before hours of work
            grid.data(name)
        batches = batched(plan(call, grid))
        clock = Clock(sum(job.cost for batch in batches for job in batch), tell)
        if min(call.workers, len(batches)) > 1:
            workers.spread(call, batches, clock, lambda: write(call, grid))
        else:
            for batch in batches:
                grid.nets.forget()
                for job in batch:
                    job.make()
                    clock.done(job)
                write(call, grid)
    return write(call, grid)


def batched(jobs: Iterable[Job]) -> list[list[Job]]:
    """Neighbours of one dataset together: they share loaded networks and compiled steps."""
    return [list(group) for _, group in groupby(jobs, key=lambda job: job.dataset)]


class Clock:
    """Tells what is done and how long the rest will take, by the jobs' cost."""

    def __init__(self, total: float, tell: Tell) -> None:
        self.total, self.tell, self._done, self._began = total, tell, 0.0, time.monotonic()

    def done(self, *jobs: Job) -> None:
        self._done += sum(job.cost for job in jobs)
        spent = time.monotonic() - self._began
        left = spent * (self.total - self._done) / self._done
        name = jobs[0].name if len(jobs) == 1 else f"{jobs[0].dataset}, {len(jobs)} results"
        share = 100 * self._done / self.total
        self.tell(f"[{share:3.0f} %] {name}: {_duration(spent)} gone, about {_duration(left)} left")


def plan(call: Call, grid: Grid) -> Iterator[Job]:
    """Every job of a call, in order."""
    w = call.wanted
    first = example(w)
    # full scale: the cheapest first, since what is finished early is seen early; side by side the longest first, since
    # one that begins last would be waited for
    names = sorted(w.datasets, key=lambda n: _size(grid, n), reverse=call.workers > 1)
    if 4 in w.tables and call.scale.name == "full":
        for name in names:
            yield _job(grid, f"{name} ceiling", name, "picture", lambda n=name: grid.facts(n))
        for name in names:
            yield from _best(grid, name, 0)
    for name in names if 4 in w.tables else ():
        if call.scale.name != "full":
            yield from _best(grid, name, 0)
        yield from _paper(grid, name, 0)
        if name == first:
            yield from _pictures(call, grid, first)
        if 6 in w.figures:
            yield _job(grid, f"{name} figure 6", name, "picture", lambda n=name: refusal.measured(grid, n, w.datasets))
    if 4 not in w.tables:
        yield from _pictures(call, grid, first)
        for name in names if 6 in w.figures else ():
            yield _job(grid, f"{name} figure 6", name, "picture", lambda n=name: refusal.measured(grid, n, w.datasets))
    for seed in range(1, w.seeds) if 4 in w.tables else ():
        for name in names:
            yield from _best(grid, name, seed)
            yield from _paper(grid, name, seed)


def example(wanted: Wanted) -> str:
    return EXAMPLE if EXAMPLE in wanted.datasets else wanted.datasets[0]


def _job(grid: Grid, label: str, name: str, kind: str, make: Callable[[], Any]) -> Job:
    return Job(label, name, COST[kind] * _size(grid, name), make)


def _size(grid: Grid, name: str) -> float:
    """How much a dataset weighs beside the others: its values, and what starting costs."""
    train = grid.data(name).train
    return (len(train) + 60) * train.spec.window_samples / 5e4 + 0.3


def _best(grid: Grid, name: str, seed: int) -> Iterator[Job]:
    tag = f"{name} seed {seed}"
    yield _job(grid, f"{tag} ceiling", name, "picture", lambda: grid.facts(name))
    yield _job(grid, f"{tag} best", name, "best", lambda: grid.train("best", name, seed))
    yield _job(grid, f"{tag} best attacked", name, "attack", lambda: grid.white("best", name, seed))
    if find_spec("tensorflow"):  # conversion needs it; on a machine with JAX alone this waits for another
        yield _job(grid, f"{tag} best int8", name, "attack", lambda: grid.int8(name, seed))


def _paper(grid: Grid, name: str, seed: int) -> Iterator[Job]:
    tag = f"{name} seed {seed}"
    for net in NETS[:-1]:
        yield _job(grid, f"{tag} {net}", name, net, lambda n=net: grid.train(n, name, seed))
    for net in ("resnet", "fcn"):
        yield _job(grid, f"{tag} {net} attacked", name, "picture", lambda n=net: grid.undefended(n, name, seed))
    for net in ("joint", "two_stage"):
        yield _job(grid, f"{tag} {net} grey-box", name, "picture", lambda n=net: grid.grey(n, name, seed))
        yield _job(grid, f"{tag} {net} attacked", name, "attack", lambda n=net: grid.white(n, name, seed))
    for net in ("best", "joint", "two_stage"):
        yield _job(grid, f"{tag} transfer to {net}", name, "attack", lambda n=net: grid.transfer(n, name, seed))


# the cell that each figure of one dataset is drawn from
CELLS: dict[int, Callable[[Grid, str], dict[str, Any]]] = {
    4: examples.plane,
    7: examples.activation,
    8: examples.activation,
    10: examples.encode_decode,
    11: examples.encode_decode,
    12: examples.encode_decode,
    14: examples.over_epsilon,
    15: examples.preprocessing,
}


def _pictures(call: Call, grid: Grid, name: str) -> Iterator[Job]:
    if 1 in call.wanted.tables:
        yield _job(grid, f"{name} table 1", name, "picture", lambda: examples.transferability(grid, name))
    for number in call.wanted.figures:
        if number in CELLS:
            yield _job(grid, f"{name} figure {number}", name, "picture", lambda n=number: CELLS[n](grid, name))


def write(call: Call, grid: Grid) -> dict[str, Any]:
    """Tables, figures and report of the cells that are there; what is missing is named."""
    resting = Grid(grid.cells, grid.nets, grid.scale, grid.data_at, grid.tell, compute=False)
    w, out, name = call.wanted, call.out, example(call.wanted)
    seeds = max(w.seeds, _seeds_there(out))
    results: dict[str, Any] = {"scale": asdict(grid.scale), "example": name, "missing": [], "figures": {}}
    if 4 in w.tables:
        built = table4.build(resting, w.datasets, seeds)
        results |= built
        write_json(out / "table4.json", built["table4"])
        results["missing"] += [n for n in w.datasets if n not in built["table4"]["datasets"]]
        results["paper_means"] = table4.paper_means() if set(w.datasets) == set(PAPER) else None
    if 1 in w.tables:
        results["table1"] = _there(lambda: examples.transferability(resting, name), results, "table 1")
    for number in w.figures:
        maker = CELLS.get(number, lambda g, n: refusal.measured(g, n, w.datasets))
        cell = _there(lambda: maker(resting, name), results, f"figure {number}")  # noqa: B023  (called at once)
        if cell is not None:
            results["figures"][str(number)] = cell
            drawings.FIGURES[number](cell, out / "figures" / f"figure{number}")
    if 6 in w.figures:
        results["refusal"] = refusal.operating(resting, w.datasets)
    write_json(out / "results.json", {k: v for k, v in results.items() if k != "figures"})
    write_json(out / "figures.json", results["figures"])
    write_text(out / "report.html", html(results, w, out))
    return results


def _there(cell: Callable[[], Any], results: dict[str, Any], what: str) -> Any | None:
    try:
        return cell()
    except MissingCellError:
        results["missing"].append(what)
        return None


def _seeds_there(out: Path) -> int:
    """One more than the largest seed that has cells."""
    found = [int(p.name[4:]) for p in (out / "cells").glob("*/seed*") if p.name[4:].isdigit()]
    return max(found, default=0) + 1


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
