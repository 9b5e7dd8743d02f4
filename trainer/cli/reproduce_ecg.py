"""``trainer reproduce ecg``: paper 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer import grid
from trainer.cli.common import load_keras, tells_mistakes

if TYPE_CHECKING:
    from trainer.reproduce.ecg import Parts, Target


class Ablation(str, Enum):
    """What else is varied."""

    TEMPERATURE = "temperature"


class ScaleChoice(str, Enum):
    """How large."""

    DEVICE = "device"
    PAPER = "paper"


@tells_mistakes
def ecg(
    out: Annotated[Path, typer.Option("--out", help="Folder for networks, results, tables and figures.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="The CinC 2017 zip or folder; --claims alone needs none.")
    ] = None,
    scale: Annotated[
        ScaleChoice,
        typer.Option("--scale", help="device: 131k parameters, 12 epochs; paper: 13 layers, 100 epochs."),
    ] = ScaleChoice.DEVICE,
    table: Annotated[
        list[int] | None, typer.Option("--table", min=2, max=6, help="Only this table; may be repeated.")
    ] = None,
    figure: Annotated[
        list[int] | None,
        typer.Option("--figure", min=1, max=6, help="Only this figure (1, 3 to 6); may be repeated."),
    ] = None,
    claims: Annotated[
        bool,
        typer.Option("--claims", help="Only weigh the paper's statements by the results that --out holds."),
    ] = False,
    ablation: Annotated[
        Ablation | None, typer.Option("--ablation", help="Train ADT at further temperatures, too.")
    ] = None,
    adaptive: Annotated[
        bool,
        typer.Option("--adaptive", help="Attacks that the paper lacks, at 10, 25 and 50 uV; part of a whole run."),
    ] = False,
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
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            help="Instead: cross-validation over the training and validation records, situation II, no test records; "
            "in --out/folds, and in the report beside it.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Processes side by side, one thread and whole networks each.")
    ] = 1,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Share the networks over a Ray cluster instead: ray://HOST:10001 (extra ray). Every machine needs "
            "--data and --out under the same path.",
        ),
    ] = None,
) -> None:
    """Paper 2: eight ways to train on ECG (JR and NSR in two readings) under SAP, PGD and the boundary attack.

    Tables 2 to 6 and Fig. 1 and 3 to 6, as JSON, Markdown and PNG, the paper's statements weighed by them, and one
    report.html. Goes on where it was when started again with the
    same settings; a kill costs one result, or a minute of training.
    """
    from trainer.reproduce.ecg_nets import NETS, SCALES, nets_for

    if claims:
        _weigh(out)
        return
    if data is None:
        raise typer.BadParameter("give the CinC 2017 zip or folder", param_hint="--data")
    if 2 in (figure or ()):
        raise typer.BadParameter(
            "the paper's Fig. 2 is a drawing; known are 1, 3, 4, 5, 6", param_hint="--figure"
        )
    if folds is not None and (table or figure or ablation or adaptive):
        raise typer.BadParameter(
            "has a table of its own; leave --table, --figure, --ablation and --adaptive out", param_hint="--folds"
        )
    nets = nets_for(method or tuple(NETS))
    parts = _load(data)
    load_keras()
    from trainer.reproduce.ecg import Target, reproduce
    from trainer.reproduce.ecg_tables import FIGURES, TABLES

    size = SCALES[scale.value]
    chosen = bool(table or figure or ablation or adaptive)
    target = Target(
        size if epochs is None else replace(size, epochs=epochs),
        tuple(sorted(set(table or ()))) if chosen else tuple(TABLES),
        tuple(sorted(set(figure or ()) - {1})) if chosen else tuple(FIGURES),
        runs,
        nets,
        limit,
        queries,
        pairs,
        figure1=not chosen or 1 in (figure or ()),
        ablation=ablation is not None,
        adaptive=adaptive or not chosen,
    )

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    at, shared = data.resolve(), jobs > 1 or address is not None
    if folds is not None:
        from trainer.reproduce.ecg_folds import cross_validate

        def share_fold(one: Target, fold: int, folder: Path) -> None:
            _share(one, partial(_load_fold, at, folds, fold), at, folder, tell, jobs, address)

        cross_validate(target, parts, str(data), out, folds, tell, share_fold if shared else None)
        typer.echo((out / "folds" / "folds.md").read_text(encoding="utf-8"))
        typer.echo(f"{out / 'folds'}: folds.json and folds.md")
        return
    if shared:
        _share(target, partial(_load, at), at, out, tell, jobs, address)
    reproduce(target, parts, str(data), out, tell)
    if target.tables:
        typer.echo((out / "tables.md").read_text(encoding="utf-8"))
        typer.echo(f"{out}: tables.json and tables.md")
    if target.figures:
        typer.echo(f"{out}: figures.json and figures/")
    if target.adaptive:
        typer.echo(f"{out}: adaptive.json")
    typer.echo(f"{out / 'report.html'}")


def _share(
    target: Target,
    load: Callable[[], Parts],
    data: Path,
    out: Path,
    tell: Callable[[str], None],
    jobs: int,
    address: str | None,
) -> None:
    from trainer.reproduce.ecg_workers import Share, spread

    with grid.pool(jobs, address) as pool:
        spread(Share(target, load, str(data), out.resolve()), pool, tell)


def _load_fold(data: Path, folds: int, fold: int) -> Parts:
    from trainer.reproduce.ecg_folds import parts_of

    return parts_of(_load(data), folds, fold)


def _load(data: Path) -> Parts:
    from trainer.data.registry import load_data

    records = load_data(data, "cinc2017")
    return records.part("train"), records.part("val"), records.part("test")


def _weigh(out: Path) -> None:
    load_keras()  # the cells' attacks are Keras classes
    from trainer.reproduce.ecg_evidence import Evidence
    from trainer.reproduce.ecg_report import write

    Evidence(out)  # a folder without results is told by what makes them
    verdicts = [row["verdict"] for row in write(out)]
    typer.echo((out / "claims.md").read_text(encoding="utf-8"))
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    typer.echo(f"{out / 'report.html'}: {counts}")
