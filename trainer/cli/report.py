"""``trainer report``: bundles side by side on one page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli.common import load_keras, native_notes_hidden, progress_bar, tells_mistakes
from trainer.cli.evaluate import Split

if TYPE_CHECKING:
    from trainer.evaluate.subject import Subject


@tells_mistakes
def report(
    bundles: Annotated[list[str], typer.Argument(help="Bundles, or names of shipped ones.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for report.html, report.json and figures/.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Records to compute on; without it, the shipped bundles' data under "
                     "WAVEWALL_DATA, else stored figures alone."),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option("--evaluation", help="A `trainer evaluate` JSON whose rows are shown; may be repeated. "
                     "The card's are."),
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Which part of the data.")] = Split.TEST,
    attacks: Annotated[
        str, typer.Option("--attacks", help="Computed where no stored row has them, with commas.")
    ] = "fgsm,pgd,sap",
    epsilon: Annotated[
        str | None,
        typer.Option("--epsilon", help="Budgets of the curves, with commas; 2,5,10,20,50 for uV, else a hundredth."),
    ] = None,
    base: Annotated[
        float | None, typer.Option("--base", help="Budget of tables and records; 10 for uV, else 0.1.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=2, help="Records that are attacked, spread evenly over the part.")
    ] = 128,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random choice.")] = 0,
    twin: Annotated[
        Path | None, typer.Option("--twin", help="The run of a single bundle that is not shipped.")
    ] = None,
) -> None:  # fmt: skip
    """Compare bundles on one page without network: accuracy over the budget, confusions, calibration, detector.

    Figures of earlier evaluations are used where there are any; the rest is computed. Every figure says of how many
    records it is, with which seed, and its 95 % interval. It shows pieces of two records of each bundle, too.
    """
    from trainer.errors import EvaluationError
    from trainer.evaluate.subject import open_subject
    from trainer.report import stored
    from trainer.report.document import Wanted, make

    if twin is not None and len(bundles) > 1:
        raise EvaluationError("--twin is the run of one bundle; report on one, or put each run's twin.keras beside it")
    files = {path.name: stored.read(path) for path in evaluation or ()}
    with native_notes_hidden():
        subjects = [open_subject(name, twin) for name in bundles]
    if any(subject.bundle is None for subject in subjects):
        raise EvaluationError("a run has no file that ships; export it first, then report on the bundle")
    names = tuple(name.strip() for name in attacks.split(",") if name.strip())
    wanted = Wanted(names, limit, _budgets(epsilon), base, split.value, seed)
    place = data if data is not None else _default(subjects)
    records = None
    if place is not None:
        from trainer.data.registry import load_data

        records = load_data(place).part(split.value)
        load_keras()
    with progress_bar(unit="records") as bar:
        tasks = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, note="")
            bar.update(tasks[stage], completed=done)

        content = make(subjects, files, records, wanted, tell)
    from trainer.report.write import write

    typer.echo(f"{write(content, out)} (report.json and figures/ beside it)")


def _budgets(text: str | None) -> tuple[float, ...] | None:
    from trainer.errors import EvaluationError

    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise EvaluationError(f"--epsilon {text!r} is not a number, or several with commas") from error


def _default(subjects: list[Subject]) -> Path | None:
    """The data that every bundle's card names, where WAVEWALL_DATA holds it."""
    folder = os.environ.get("WAVEWALL_DATA")
    names = set()
    for subject in subjects:
        card = subject.bundle.card.get("data") if subject.bundle is not None else None
        names.add(card.get("name") if isinstance(card, dict) else None)
    if folder and len(names) == 1 and None not in names:
        name = str(names.pop())
        place = Path(folder) / ("cinc2017-training.zip" if name == "cinc2017" else f"UCRArchive_2018/{name}")
        if place.exists():
            return place
    typer.echo("no --data: only figures of earlier evaluations are shown", err=True)
    return None
