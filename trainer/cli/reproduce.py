"""``trainer reproduce``: the papers' tables and figures, made again from the data."""

from __future__ import annotations

import typer

from trainer.cli import reproduce_ecg, reproduce_iot

app = typer.Typer(help="Make a paper's tables and figures again.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Make a paper's tables and figures again."""


app.command(name="iot")(reproduce_iot.iot)
app.command(name="ecg")(reproduce_ecg.ecg)
