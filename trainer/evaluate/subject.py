"""What is evaluated: a bundle, a shipped bundle by name, or a training run; and the float twin that belongs
to it.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge import zoo as edge_zoo
from edge.bundle import Bundle
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import load_verified
from trainer import zoo
from trainer.data.base import DataSpec
from trainer.errors import EvaluationError
from trainer.evaluate.first_step import first_step

if TYPE_CHECKING:
    from trainer.foreign.answers import ForeignFile
    from trainer.models.wrap import AttackModel

# An int8 file and its own twin differ by about 0.02 on golden windows; another training of the same net by
# far more.
MAX_TWIN_DISTANCE = 0.1
Opening = tuple[str, "str | None", "str | None"]


@dataclass(frozen=True)
class Subject:
    """A model under evaluation.

    ``spec`` says which windows it takes. ``bundle`` and ``device`` (its classifier, the device's own code)
    are None for a run, ``twin_at`` (a folder with twin.keras) is None where a bundle has no float twin. ``foreign`` is
    somebody else's TFLite file, which has none of the three. ``opening`` is what it was opened by (model, twin,
    window.toml), for another process to open it, too.
    """

    name: str
    spec: DataSpec
    steps: tuple[dict[str, Any], ...]
    bundle: Bundle | None
    device: Classifier | None
    twin_at: Path | None
    foreign: ForeignFile | None = None
    opening: Opening = ("", None, None)

    @property
    def quantization(self) -> str | None:
        """How the file is quantized, "none" for somebody else's; None for a run."""
        if self.foreign is not None:
            return "none"
        return None if self.bundle is None else self.bundle.manifest.quantization

    @property
    def targets(self) -> tuple[str, ...]:
        """What can be measured: the float twin where there is one, the bundle's file as int8 or, else, as file."""
        file = () if self.quantization is None else ("int8",) if self.quantization == "int8" else ("file",)
        return ("float", *file) if self.twin_at is not None else file

    @property
    def first_step(self) -> float | None:
        """The file's first rounding of the signal in raw units, None where it looks at it before it rounds."""
        model = self.foreign.content if self.foreign is not None else self.bundle.model if self.bundle else None
        step = None if model is None else first_step(model)
        for operation in self.steps:
            if step is not None and operation["op"] in ("znorm", "asinh"):
                return None  # one step is not one size there
            if step is not None and operation["op"] == "scale":
                step /= abs(float(operation["factor"])) or 1.0
        return step

    @cached_property
    def twin(self) -> AttackModel:
        """The float twin with its preprocessing, loaded on first use (this imports Keras).

        Raises:
            EvaluationError: there is none, it cannot be loaded, or it is the twin of another model.
        """
        if self.twin_at is None:
            raise EvaluationError(
                f"{self.name}: no float twin; float figures and gradient attacks need one: give the folder "
                "of its "
                "training run with --twin"
            )
        heat = 1.0 if self.bundle is None else temperature(self.bundle)
        model = load_twin(self.twin_at, self.name, self.steps, temperature=heat)
        inside = tuple(model.model.input_shape[1:])
        if inside != (self.spec.window_samples, len(self.spec.channels)):
            raise EvaluationError(
                f"{self.twin_at}: takes windows of {inside}, {self.name} takes others; wrong twin"
            )
        if self.bundle is not None:
            check_twin(model, self.bundle, self.twin_at)
        return model


def open_subject(target: str, twin: Path | None = None) -> Subject:
    """The model that ``target`` names: a run folder, a .bundle file or the name of a shipped bundle.

    Args:
        twin: a run folder whose float model replaces the one found in the zoo or beside the bundle.

    Raises:
        EvaluationError: nothing of that name, or an unfinished run.
        EdgeError: the bundle is refused.
    """
    path = Path(target)
    opening = (str(path.resolve()) if path.exists() else target, None if twin is None else str(twin.resolve()), None)
    if path.is_dir():
        return replace(_open_run(path), opening=opening)
    if (
        not path.exists()
        and "/" not in target
        and path.suffix != ".bundle"
        and target not in edge_zoo.names()
    ):
        known = edge_zoo.names()
        close = difflib.get_close_matches(target, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"shipped are: {', '.join(known) or 'none'}"
        raise EvaluationError(f"{target}: no such file, run folder or shipped bundle; {hint}")
    file = edge_zoo.resolve_bundle(target)
    bundle, device = load_verified(file)
    manifest = bundle.manifest
    spec = DataSpec(
        manifest.name,
        manifest.labels,
        manifest.input.units,
        manifest.input.rate_hz,
        manifest.input.window_samples,
        manifest.input.channels,
    )
    steps = tuple(step.to_dict() for step in manifest.preprocess)
    found = _find_twin(manifest.name, Path(file), twin)
    return Subject(manifest.ref, spec, steps, bundle, device, found, None, opening)


def open_foreign(path: Path, spec: Path | None) -> Subject:
    """Somebody else's TFLite file with the window.toml that says what its windows are.

    Raises:
        EvaluationError: no spec, no such file, or one that cannot be run.
        RecipeError: the spec cannot be used.
    """
    if spec is None:
        raise EvaluationError(f"{path}: say what its windows are with --spec window.toml (see `trainer wrap`)")
    from trainer.foreign.answers import ForeignFile

    file = ForeignFile(path, spec)
    steps = tuple(step.to_dict() for step in file.steps)
    opening = (str(path.resolve()), None, str(spec.resolve()))
    return Subject(path.name, file.file.data, steps, None, None, None, file, opening)


def load_twin(
    folder: Path,
    name: str,
    steps: tuple[dict[str, Any], ...],
    file_name: str = zoo.TWIN,
    *,
    temperature: float = 1.0,
) -> AttackModel:
    """The float model of a run or zoo folder as an attacker sees it.

    Raises:
        EvaluationError: absent or unreadable.
    """
    import keras

    from trainer.models import registered as _registered  # noqa: F401  (before loading)
    from trainer.models.temperature import divide_logits
    from trainer.models.wrap import AttackModel

    file = folder / file_name
    try:
        model = divide_logits(keras.models.load_model(file, compile=False), temperature)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EvaluationError(f"{file}: cannot be loaded: {str(error).splitlines()[0][:200]}") from error
    return AttackModel(model, list(steps), name=name)


def temperature(bundle: Bundle) -> float:
    """What export divided the logits by, as the card says; 1 where it says nothing.

    Raises:
        EvaluationError: the card says what is none.
    """
    found = bundle.card.get("calibration")
    value = found.get("temperature", 1.0) if isinstance(found, dict) else 1.0
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise EvaluationError(f"{bundle.manifest.ref}: its card has a temperature of {value!r}; export it again")
    return float(value)


def check_twin(model: AttackModel, bundle: Bundle, folder: Path) -> None:
    """Compare the twin with the bundle's golden outputs: attacks made on another model would prove nothing.

    Raises:
        EvaluationError: their probabilities differ by more than quantization can explain.
    """
    vectors = bundle.vectors
    own = softmax(model.predict(vectors.windows, vectors.valid))
    distance = float(np.mean(0.5 * np.abs(own - vectors.outputs["probabilities"]).sum(axis=1)))
    if not distance <= MAX_TWIN_DISTANCE:
        raise EvaluationError(
            f"{folder}: not the float twin of {bundle.manifest.ref}: on its golden windows the "
            "probabilities differ by "
            f"{distance:.3f} on average; give the run that it was exported from with --twin"
        )


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n, class) probabilities of logits."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponent / exponent.sum(axis=-1, keepdims=True))


def _open_run(folder: Path) -> Subject:
    from trainer.recipe import read_recipe

    recipe = read_recipe(folder / "recipe.toml") if (folder / "recipe.toml").exists() else None
    if recipe is None or not (folder / zoo.TWIN).exists():
        missing = "recipe.toml" if recipe is None else zoo.TWIN
        raise EvaluationError(
            f"{folder}: no {missing}; give the folder of a finished run, a bundle or its name"
        )
    try:
        stored = json.loads((folder / "run.json").read_text(encoding="utf-8"))["spec"]
        spec = DataSpec(
            str(stored["name"]),
            tuple(stored["labels"]),
            str(stored["units"]),
            float(stored["rate_hz"]),
            int(stored["window_samples"]),
            tuple(stored["channels"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{folder / 'run.json'}: cannot be read ({error}); finish the run first"
        ) from error
    return Subject(recipe.export.name, spec, tuple(recipe.data.preprocess), None, None, folder)


def _find_twin(name: str, file: Path, given: Path | None) -> Path | None:
    if given is not None:
        if not (given / zoo.TWIN).exists():
            raise EvaluationError(f"{given}: no {zoo.TWIN}; give the folder of a finished run with --twin")
        return given
    beside = file.with_suffix(".twin")  # where `trainer wrap` puts it
    for folder in (beside, file.parent):
        if (folder / zoo.TWIN).exists():
            return folder
    return zoo.twin_folder(name)
