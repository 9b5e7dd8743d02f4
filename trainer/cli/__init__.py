"""The ``trainer`` command: data, train, export, wrap, keygen, evaluate, report, attack,
reproduce.

Only typer is loaded here; each command imports what it needs when it runs, so that ``--help`` is quick and
works without TensorFlow.
"""

from __future__ import annotations

import typer

from trainer.cli import attack, data, evaluate, export, report, reproduce, train, wrap

app = typer.Typer(
    name="trainer",
    help="Train, attack, quantize and pack time-series classifiers for the edge agent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.command(name="train")(train.train)
app.command(name="export")(export.export)
app.command(name="wrap")(wrap.wrap)
app.command(name="keygen")(export.keygen)
app.command(name="evaluate")(evaluate.evaluate)
app.command(name="report")(report.report)
app.command(name="attack")(attack.attack)
app.add_typer(reproduce.app, name="reproduce")


def main() -> None:
    """Entry point of the ``trainer`` command."""
    app()
