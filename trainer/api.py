"""What a script or a notebook calls: the commands of ``trainer`` as functions, with the same checks and errors.

In ten lines::

    import trainer.api as trainer

    run = trainer.train("recipe.toml", data="own.npz", out="run")
    trainer.export(run, "own.bundle")
    report = trainer.evaluate("own.bundle", data="own.npz", attacks="clean,pgd", epsilon=0.1, twin=run)
    print(report)
    wrapped = trainer.wrap("theirs.keras", "window.toml", "theirs.bundle")

Everything that is heavy is imported inside: importing it loads neither Keras nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.data.registry import LoadedData
    from trainer.export.pack import Exported
    from trainer.foreign.wrap import Wrapped

__all__ = ["Report", "evaluate", "export", "load_data", "train", "wrap"]


@dataclass(frozen=True)
class Report:
    """Rows of an evaluation: one dict for each target, attack and budget, as ``trainer evaluate --json`` writes them.

    ``print(report)`` is the command's table, ``pandas.DataFrame(report.rows)`` a frame.
    """

    model: str
    rows: list[dict[str, Any]]

    def accuracy(self, attack: str = "clean", epsilon: float | None = None, target: str = "float") -> float:
        """One figure; the first budget when ``epsilon`` is None. Raises KeyError when there is no such row."""
        for row in self.rows:
            if (row["target"], row["attack"]) == (target, attack) and epsilon in (None, row["epsilon"]):
                return float(row["accuracy"])
        raise KeyError(f"no row of {target}, {attack}, {epsilon}")

    def __str__(self) -> str:
        from trainer.evaluate.report import to_table

        return to_table(self.rows)

    def _repr_html_(self) -> str:
        from trainer.evaluate.report import COLUMNS, cells

        head = "".join(f"<th>{escape(name)}</th>" for name in COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells(row)) + "</tr>" for row in self.rows)
        return f"<p><b>{escape(self.model)}</b></p><table><tr>{head}</tr>{body}</table>"


def load_data(path: str | Path, name: str | None = None) -> LoadedData:
    """The records at ``path`` with their split: UCR folder, CinC 2017 zip, .npz or a folder of class folders.

    Raises:
        DataError: what the loader refuses, with file and field.
    """
    from trainer.data.registry import load_data as load

    return load(path, name=name)


def train(recipe: str | Path, data: str | Path, out: str | Path, *, resume: bool = False) -> Path:
    """Train a recipe (a TOML file) on ``data`` into the run folder ``out``; gives its path.

    Raises:
        TrainerError: recipe, data or folder cannot be used.
    """
    _quiet()
    from trainer.run import train as run

    return run(recipe, data, out, resume=resume)


def export(run: str | Path, out: str | Path, *, quantize: str = "int8", signing_key: bytes | None = None) -> Exported:
    """Convert a run to TFLite and pack it as a bundle; the result holds the comparison with the float model.

    Raises:
        ExportError: no finished run, or quantization costs more than the recipe allows.
    """
    _quiet()
    from trainer.cli.common import native_notes_hidden
    from trainer.export.pack import export_run

    with native_notes_hidden():
        return export_run(run, out, mode=quantize, signing_key=signing_key)


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    attacks: str | Sequence[str] = "clean",
    epsilon: float | Sequence[float] | None = None,
    split: str = "test",
    targets: Sequence[str] | None = None,
    twin: str | Path | None = None,
    through: str | Path | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> Report:
    """Accuracy of a bundle, a shipped bundle's name or a run, clean and attacked, as ``trainer evaluate`` measures it.

    Args:
        attacks: names, or one text with commas.
        epsilon: budgets in the data's units; 10 where those are uV, else 0.1.
        targets: "float", "int8", "file"; whatever the model has when None.

    Raises:
        TrainerError, EdgeError: what cannot be evaluated as asked.
    """
    _quiet()
    from trainer.cli.common import native_notes_hidden
    from trainer.data.registry import load_data as load
    from trainer.evaluate.plan import Plan
    from trainer.evaluate.rows import rows_of
    from trainer.evaluate.runner import Runner
    from trainer.evaluate.scope import check
    from trainer.evaluate.subject import open_subject
    from trainer.evaluate.windows import choose, fit

    names = tuple(attacks.split(",")) if isinstance(attacks, str) else tuple(attacks)
    with native_notes_hidden():
        subject = open_subject(str(model), Path(twin) if twin is not None else None)
        attacked = open_subject(str(through)) if through is not None else None
        if epsilon is None:
            epsilon = 10.0 if subject.spec.units == "uV" else 0.1
        budgets = (float(epsilon),) if isinstance(epsilon, (int, float)) else tuple(map(float, epsilon))
        plan = Plan(names, budgets, tuple(targets or subject.targets), seed)
        check(subject, plan, attacked)
        windows = fit(choose(load(data).part(split), None, limit), subject.spec)
        trials = Runner(subject, windows, plan, through=attacked).run()
    return Report(subject.name, rows_of(trials, subject.spec.units))


def wrap(
    model: str | Path, spec: Any, out: str | Path, *, data: str | Path | None = None, quantize: str = "none"
) -> Wrapped:
    """Somebody's own .keras, .h5 or .tflite classifier as a bundle, see ``trainer.foreign.wrap.wrap``.

    Raises:
        TrainerError: the file, the spec (a window.toml) or the windows cannot be used.
    """
    _quiet()
    from trainer.cli.common import native_notes_hidden
    from trainer.foreign.wrap import wrap as run

    with native_notes_hidden():
        return run(model, spec, out, data=data, mode=quantize)


def _quiet() -> None:
    from trainer.cli.common import load_keras

    load_keras()
