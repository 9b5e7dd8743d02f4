"""Paper 2 as one target: train every method, attack it, and write its tables and figures.

A folder fills up as it goes: ``recipes/``, ``nets/`` (run folders that resume from their checkpoints), ``cells/`` (one
file a result), and after every run ``tables.json``, ``tables.md``, ``figures.json`` and ``figures/*.png`` of the runs
so far, ``claims.json`` and ``report.html``. Asked for again with the same settings it goes on where it was.

Departures: the split is by the record's name, before oversampling, and the test part decides nothing (the paper's
code keeps the checkpoint that is best on the test part); the last epoch counts. The device scale has a smaller net,
batches of 32 and a rate that falls from 0.002 to zero over 12 epochs (paper: 16, 0.001, 100 epochs).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trainer.attacks.boundary import PER_PAIR, Walk
from trainer.cells import Cells, write_json
from trainer.data.base import Dataset
from trainer.evaluate.report import write_text
from trainer.evaluate.windows import choose
from trainer.reproduce import ecg_adaptive, ecg_report, ecg_tables
from trainer.reproduce.ecg_cells import Grid
from trainer.reproduce.ecg_evidence import keep_records
from trainer.reproduce.ecg_figure1 import figure1
from trainer.reproduce.ecg_nets import ABLATION, NETS, TWICE, Scale, train_net

Tell = Callable[[str], None]
Parts = tuple[Dataset, Dataset, Dataset]  # training, validation, test
ALONE = (3, 5)  # tables of situation II


@dataclass(frozen=True)
class Target:
    """What to make: tables and figures by the paper's numbers, how many runs, at which scale.

    ``figure1`` draws that figure too; ``ablation`` trains ADT at further temperatures; ``adaptive`` adds attacks that
    the paper lacks. ``nets`` are those of :func:`nets_for`; a folder keeps to its nets, since one attack made through
    the undefended network is put to all of them at once. ``queries`` and ``per_pair`` are the boundary attack's budget
    a record and pairs of records for each pair of classes; ``limit`` cuts the test part, for a trial.
    """

    scale: Scale
    tables: tuple[int, ...] = tuple(ecg_tables.TABLES)
    figures: tuple[int, ...] = tuple(ecg_tables.FIGURES)
    runs: int = 3
    nets: tuple[str, ...] = tuple(NETS)
    limit: int | None = None
    queries: int = Walk().queries
    per_pair: int = PER_PAIR
    figure1: bool = True
    ablation: bool = False
    adaptive: bool = True

    def settings(self) -> dict[str, Any]:
        """What cells depend on; more runs, tables or figures may be asked for later in the same folder."""
        scale = asdict(self.scale)
        return {
            **scale,
            "nets": self.nets,
            "limit": self.limit,
            "queries": self.queries,
            "per_pair": self.per_pair,
        }


def reproduce(
    target: Target,
    parts: Parts,
    data: str,
    out: Path,
    tell: Tell = lambda line: None,
) -> dict[str, Any]:
    """Make ``target`` in ``out`` from (training, validation, test) records; gives the tables and figures.

    Raises:
        TrainerError: a folder of other settings, or one that cannot be written.
    """
    training, validation, _ = parts
    grid = open_grid(target, parts, out, tell)
    nets = target.nets
    result: dict[str, Any] = {}

    def train(net: str, run: int) -> None:
        def report(event: dict[str, Any]) -> None:
            if "loss" in event:
                place = f"run {run + 1}/{target.runs} {net} epoch {event['epoch']}/{event['epochs']}"
                tell(f"{place}: loss {event['loss']:.4f} ({event['seconds']:.0f} s)")

        train_net(net, target.scale, run, (training, validation), data, out, report)

    for run in range(target.runs):
        done: set[str] = set()
        for net in sorted(nets, key=lambda net: net in TWICE):  # a teacher stays before its pupils
            train(net, run)
            done.add(net)
            # what a network decides by itself is seen before the next one is trained
            if run == 0 and not grid.cells.has(f"run0/{net}/clean"):
                own = replace(target, tables=tuple(n for n in target.tables if n in ALONE), figures=())
                assemble(own, grid, range(1), [net for net in nets if net in done], out)
                ecg_report.write(out)
        if target.figure1 and run == 0:
            figure1(grid, choose(parts[2], None, target.limit).names, out / "figures")
        result = assemble(target, grid, range(run + 1), nets, out)
        if target.adaptive and run == 0:
            chosen = [net for net in ecg_adaptive.METHODS if net in nets]
            write_json(out / "adaptive.json", ecg_adaptive.table(grid, chosen))
        if target.ablation:
            for net in ABLATION:
                train(net, run)
            write_json(out / "ablation.json", ecg_tables.ablation(grid, range(run + 1)))
        ecg_report.write(out)
    return result


def open_grid(target: Target, parts: Parts, out: Path, tell: Tell = lambda line: None) -> Grid:
    """The cells of ``out`` over the test records of ``parts``.

    Raises:
        TrainingError: a folder of other settings, or one that cannot be written.
    """
    cells = Cells(out, {**target.settings(), "records": _digest(*parts)})
    chosen = choose(parts[2], None, target.limit)
    windows = chosen.windows()
    keep_records(out, chosen.names, windows.y, windows.spec.labels)
    walk = replace(Walk(), queries=target.queries)
    return Grid(cells, out, windows, walk, target.per_pair, tell)


def _digest(*parts: Dataset) -> str:
    """What tells one set of records from another."""
    names = "\n".join(name for part in parts for name in (*part.names, ""))
    sizes = "+".join(str(len(part)) for part in parts)
    return f"{sizes} {hashlib.sha256(names.encode()).hexdigest()[:16]}"


def assemble(
    target: Target, grid: Grid, runs: Sequence[int], nets: Sequence[str], out: Path
) -> dict[str, Any]:
    """Tables and figures of ``runs``, computing the cells that they lack; what was asked for replaces what
    ``out`` has.
    """
    tables = [ecg_tables.table(grid, number, runs, nets) for number in target.tables]
    figures = [ecg_tables.figure(grid, number, runs, nets) for number in target.figures]
    if tables:
        write_json(out / "tables.json", tables)
        write_text(out / "tables.md", ecg_tables.markdown(tables))
    if figures:
        write_json(out / "figures.json", figures)
    for figure in figures:
        ecg_tables.draw(figure, out / "figures" / f"figure{figure['figure']}.png")
    return {"tables": tables, "figures": figures}
