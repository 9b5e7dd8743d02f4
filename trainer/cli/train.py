"""``trainer train``: a recipe and data in, a run folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.cli.common import progress_bar, quiet_libraries, tells_mistakes


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
        Path | None, typer.Option("--start", help="A finished run whose classifier is the starting point.")
    ] = None,
) -> None:
    """Train a recipe: shows loss and clean and robust validation accuracy, saves, and resumes to the same
    numbers.
    """
    quiet_libraries()
    from trainer.recipe import read_recipe
    from trainer.run import train as run_training

    read_recipe(recipe)  # a mistake in it is told before Keras is loaded
    with progress_bar(unit="steps") as bar:
        tasks: dict[str, Any] = {}

        def report(event: dict[str, Any]) -> None:
            phase = event["phase"]
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=event.get("steps"), note="")
            if "step" in event:
                note = f"epoch {event['epoch']} of {event['epochs']}"
                bar.update(tasks[phase], completed=event["step"], total=event["steps"], note=note)
            if "loss" in event:
                typer.echo(epoch_line(event))

        run = run_training(recipe, data, out, resume=resume, start=start, report=report)
    typer.echo(f"{run}: finished; next: trainer export {run} --out {run / 'model.bundle'}")


def epoch_line(row: dict[str, Any]) -> str:
    """One epoch as text; validation figures only where they were measured (NaN compares unequal to itself)."""
    text = f"{row['phase']} epoch {row['epoch']}/{row['epochs']}: loss {row['loss']:.4f}"
    for key, name in (("accuracy", "accuracy"), ("val_clean", "validation clean"), ("val_robust", "robust")):
        value = row.get(key)
        if value is not None and value == value:  # noqa: PLR0124
            text += f", {name} {value:.3f}"
    return f"{text} ({row['seconds']:.1f} s)"
