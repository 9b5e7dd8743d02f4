"""``trainer reproduce``: the papers' tables and figures, made again from the data."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from trainer.cli import reproduce_iot
from trainer.cli.common import load_keras, tells_mistakes

app = typer.Typer(help="Make a paper's tables and figures again.", no_args_is_help=True)


class ScaleChoice(str, Enum):
    """How large."""

    DEVICE = "device"
    PAPER = "paper"


app.command(name="iot")(reproduce_iot.iot)


@app.callback()
def _group() -> None:
    """Make a paper's tables and figures again."""


@app.command()
@tells_mistakes
def ecg(
    data: Annotated[Path, typer.Option("--data", help="The CinC 2017 zip or folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for networks, results, tables and figures.")],
    scale: Annotated[
        ScaleChoice,
        typer.Option("--scale", help="device: 173k parameters, 20 epochs; paper: 13 layers, 100 epochs."),
    ] = ScaleChoice.DEVICE,
    table: Annotated[
        list[int] | None, typer.Option("--table", min=2, max=6, help="Only this table; may be repeated.")
    ] = None,
    figure: Annotated[
        list[int] | None, typer.Option("--figure", min=3, max=6, help="Only this figure; may be repeated.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Independent trainings of every method.")] = 3,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Only this method and what it needs: at, jr, jr_mv, nsr, nsr_mv, dd, init_adt, dist_adt, adt; "
            "may be repeated.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Another number of epochs than the scale's.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many test records, for a trial.")
    ] = None,
    queries: Annotated[
        int, typer.Option("--queries", min=1, help="Boundary attack: queries about one record at most.")
    ] = 8800,
    pairs: Annotated[
        int, typer.Option("--pairs", min=1, help="Boundary attack: records for each pair of classes.")
    ] = 50,
) -> None:
    """Paper 2: eight ways to train on ECG (JR and NSR in two readings) under SAP, PGD and the boundary attack.

    Tables 2 to 6 and Fig. 3 to 6, as JSON, Markdown and PNG. Goes on where it was when started again with the
    same settings; a kill costs one result, or a minute of training.
    """
    from trainer.data.registry import load_data
    from trainer.reproduce.ecg_nets import NETS, SCALES, nets_for

    nets = nets_for(method or tuple(NETS))
    records = load_data(data, "cinc2017")
    load_keras()
    from trainer.reproduce.ecg import Target, reproduce
    from trainer.reproduce.ecg_tables import FIGURES, TABLES

    size = SCALES[scale.value]
    chosen = bool(table or figure)
    target = Target(
        size if epochs is None else replace(size, epochs=epochs),
        tuple(sorted(set(table or ()))) if chosen else tuple(TABLES),
        tuple(sorted(set(figure or ()))) if chosen else tuple(FIGURES),
        runs,
        nets,
        limit,
        queries,
        pairs,
    )
    parts = (records.part("train"), records.part("val"), records.part("test"))
    reproduce(target, parts, str(data), out, lambda line: typer.echo(line, err=True))
    if target.tables:
        typer.echo((out / "tables.md").read_text(encoding="utf-8"))
        typer.echo(f"{out}: tables.json and tables.md")
    if target.figures:
        typer.echo(f"{out}: figures.json and figures/")
