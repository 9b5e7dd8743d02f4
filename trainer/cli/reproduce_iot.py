"""``trainer reproduce iot``: paper 1."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from trainer.cli.common import load_keras, native_notes_hidden, progress_line, tells_mistakes


class IotScale(str, Enum):
    """How large."""

    QUICK = "quick"
    FULL = "full"


@tells_mistakes
def iot(
    out: Annotated[Path, typer.Option("--out", help="Folder for results, tables, figures and report.html.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The UCR archive's folder; WAVEWALL_DATA/UCRArchive_2018 if not given."),
    ] = None,
    scale: Annotated[
        IotScale,
        typer.Option("--scale", help="quick: narrow nets, 20 minutes for ten datasets; full: the paper's nets, days."),
    ] = IotScale.QUICK,
    table: Annotated[
        list[int] | None, typer.Option("--table", help="Only this table (1, 2, 4); may be repeated.")
    ] = None,
    figure: Annotated[
        list[int] | None,
        typer.Option("--figure", help="Only this figure (4, 6, 7, 8, 10, 11, 12, 14, 15); may be repeated."),
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--datasets", help="Only this dataset; may be repeated. Without it the paper's ten."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Independent trainings of every network.")] = 1,
    epsilon: Annotated[float, typer.Option("--epsilon", help="Budget of Table 4, in deviations of a series.")] = 0.1,
    cache: Annotated[
        Path, typer.Option("--cache", help="Where trained networks and checkpoints are kept.")
    ] = Path("~/.cache/wavewall/iot"),
    workers: Annotated[
        int | None,
        typer.Option("--workers", "--jobs", min=1, help="Processes side by side; quick: one a core, full scale: one."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that --out holds.")] = False,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Write tables, figures and report of what --out holds; compute nothing."),
    ] = False,
) -> None:
    """Paper 1: the thermometer encode-decode defence on UCR datasets, attacked as the paper did and by attacks that
    know it.

    Goes cell by cell: killed and started again with --resume it loses one result, or two minutes of training. The time
    left is told on standard error.
    """
    from trainer.reproduce.iot.archive import datasets as known
    from trainer.reproduce.iot.plan import scaled, wanted

    size = scaled(scale.value, epsilon)
    place = data if data is not None else default_archive()
    asked = wanted(table or (), figure or (), datasets or (), known(place), seeds)
    load_keras()
    from trainer.reproduce.iot.run import Call, reproduce

    side_by_side = workers or (min(4, os.cpu_count() or 1) if scale is IotScale.QUICK else 1)
    call = Call(asked, size, place, out, cache.expanduser(), resume, not report_only, side_by_side)
    with native_notes_hidden(), progress_line() as tell:
        results = reproduce(call, tell)
    if results["missing"]:
        typer.echo(f"not there yet: {', '.join(results['missing'])}", err=True)
    typer.echo(f"{out}: {'table4.json, ' * (4 in asked.tables)}results.json, figures/ and report.html")


def default_archive() -> Path:
    """The UCR archive where the environment says that data lies.

    Raises:
        DataError: it says nothing.
    """
    from trainer.errors import DataError

    folder = os.environ.get("WAVEWALL_DATA")
    if not folder:
        raise DataError("no data: give the UCR archive's folder with --data (`trainer data fetch ucr` brings it)")
    return Path(folder) / "UCRArchive_2018"
