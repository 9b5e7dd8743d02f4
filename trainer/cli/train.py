"""``trainer train``: a recipe and data in, a run folder out."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.cli.common import load_keras, progress_bar, tells_mistakes

TELL_EVERY_S = 10.0  # epochs of a second or less would fill the screen; history.csv has them all


@tells_mistakes
def train(
    recipe: Annotated[
        Path, typer.Argument(help="The recipe, a TOML file: every number that decides the result.")
    ],
    data: Annotated[Path, typer.Option("--data", help="The data the recipe names: file, folder or archive.")],
    out: Annotated[Path, typer.Option("--out", help="The run folder: checkpoints, history, models.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of this folder.")
    ] = False,
    start: Annotated[
        Path | None, typer.Option("--start", help="A finished run whose weights are the starting point.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            "--teacher",
            help="The first stage's run, for the second stage of a distillation; repeat it for several, whose "
            "soft labels are averaged (over those that left the record out, where there are such and the recipe "
            "does not say otherwise).",
        ),
    ] = None,
) -> None:
    """Train a recipe: shows loss and clean and robust validation accuracy, saves, and resumes to the same
    numbers.
    """
    from trainer.recipe import read_recipe

    read_recipe(recipe)  # a mistake in it is told before Keras is loaded
    load_keras()
    from trainer.run import train as run_training

    with progress_bar(unit="steps") as bar:
        tasks: dict[str, Any] = {}
        told = time.monotonic()

        def report(event: dict[str, Any]) -> None:
            nonlocal told
            phase = event["phase"]
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=event.get("steps"), note="")
            if "step" in event:
                note = f"epoch {event['epoch']} of {event['epochs']}"
                bar.update(tasks[phase], completed=event["step"], total=event["steps"], note=note)
            if "loss" in event and (measured(event) or time.monotonic() - told > TELL_EVERY_S):
                typer.echo(epoch_line(event))
                told = time.monotonic()

        run = run_training(recipe, data, out, resume=resume, start=start, teacher=teacher or (), report=report)
    typer.echo(f"{run}: finished; next: trainer export {run} --out {run / 'model.bundle'}")


def measured(row: dict[str, Any]) -> bool:
    """Whether validation ran in this epoch; where it did not, its figures are NaN."""
    return not math.isnan(row.get("val_clean", math.nan))


def epoch_line(row: dict[str, Any]) -> str:
    """One epoch as text; validation figures only where they were measured."""
    text = f"{row['phase']} epoch {row['epoch']}/{row['epochs']}: loss {row['loss']:.4f}"
    for key, name in (("accuracy", "accuracy"), ("val_clean", "validation clean"), ("val_robust", "robust")):
        value = row.get(key, math.nan)
        if not math.isnan(value):
            text += f", {name} {value:.3f}"
    return f"{text} ({row['seconds']:.1f} s)"
