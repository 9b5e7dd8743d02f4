"""A finished run -> one bundle: convert, compare, choose thresholds, write the card, sign."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import (
    Bundle,
    Decision,
    InputSpec,
    Manifest,
    OutputSpec,
    Thermometer,
    preprocess,
    write_bundle,
)
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import check_vectors
from trainer.data.base import Dataset, DataSpec
from trainer.errors import ExportError
from trainer.export import attacked, golden, graph, quantize, ranges, slim
from trainer.export.before import read_before, taken_over
from trainer.export.calibrate import Calibration, calibrate, thresholds
from trainer.export.card import build_card, measured
from trainer.export.narrow import narrow
from trainer.export.parity import Parity, compare
from trainer.models.temperature import divide_logits
from trainer.models.wrap import AttackModel, thermometers
from trainer.recipe import Recipe, read_recipe

REPRESENTATIVE = 256


@dataclass(frozen=True)
class Run:
    """A finished run folder: its recipe, facts and float models."""

    folder: Path
    recipe: Recipe
    facts: Mapping[str, Any]
    spec: DataSpec
    classifier: Any
    front: Any | None
    twin: Any


def read_run(folder: str | Path) -> Run:
    """Load a run folder.

    Raises:
        ExportError: not a finished run; names the missing file.
    """
    import keras

    folder = Path(folder)
    for name in ("recipe.toml", "run.json", "twin.keras", "classifier.keras"):
        if not (folder / name).exists():
            raise ExportError(f"{folder}: no {name}; give the folder of a finished `trainer train`")
    recipe = read_recipe(folder / "recipe.toml")
    facts = json.loads((folder / "run.json").read_text())
    spec = DataSpec(**{k: tuple(v) if isinstance(v, list) else v for k, v in facts["spec"].items()})
    front = (
        keras.models.load_model(folder / "encode_decode.keras", compile=False)
        if recipe.model.encode_decode is not None
        else None
    )
    return Run(
        folder,
        recipe,
        facts,
        spec,
        keras.models.load_model(folder / "classifier.keras", compile=False),
        front,
        keras.models.load_model(folder / "twin.keras", compile=False),
    )


@dataclass(frozen=True)
class Exported:
    """What ``trainer export`` reports: the bundle, the comparison, the file's size and its int8 tensors' ranges."""

    path: Path
    bundle: Bundle
    parity: Parity
    model_bytes: int
    ranges: list[dict[str, Any]]


def export_run(
    folder: str | Path,
    out: str | Path,
    *,
    mode: str = "int8",
    signing_key: bytes | None = None,
    data_path: str | Path | None = None,
    parts: tuple[Dataset, Dataset] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    speed: Mapping[str, Any] | None = None,
    detector: Mapping[str, Any] | None = None,
    before: str | Path | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Convert the run's models, compare them with the float twin on validation windows, and write the bundle.

    Args:
        mode: int8, float16, dynamic or none.
        data_path: the training data; where it was at training time if None.
        evaluation: a ``trainer evaluate`` JSON whose rows go on the card.
        speed: what ``edge-agent bench --json`` says of the bundle, for the card.
        detector: a ``trainer report`` JSON whose operating points go on the card.
        before: of a refit, the bundle whose temperature and thresholds it takes over.

    Raises:
        ExportError: the run, the data or the conversion fails, or accuracy drops by more than the recipe allows.
    """
    from trainer.run import load_parts

    run = read_run(folder)
    old = read_before(run, before)
    spec, recipe = run.spec, run.recipe
    found = measured(f"{recipe.export.name}@{recipe.export.version}", evaluation, speed, detector)
    training, validation = parts or load_parts(recipe, data_path or run.facts["data_path"])
    steps = preprocess.parse_steps(recipe.data.preprocess)
    windows = validation.windows()
    plain = AttackModel(run.twin, recipe.data.preprocess, name=recipe.export.name)
    if old is None:
        calibration = calibrate(plain.predict(windows.x, windows.valid), windows.y)
    else:
        calibration = Calibration(**{f.name: old.card["calibration"][f.name] for f in fields(Calibration)})
    for part in (run.classifier, run.twin):
        divide_logits(part, calibration.temperature)
    twin = AttackModel(run.twin, recipe.data.preprocess, name=recipe.export.name)
    report("converting")
    float_graph = graph.build(run.classifier, run.front, resolution(recipe, spec))
    representative = _representative(training, steps, recipe.training.seed)
    if mode == "int8":
        named, share, alike = ranges.convert_int8(float_graph, representative)
        report(f"int8 ranges of the calmest {share:.0%} of {len(representative)} training windows, {alike:.1%} alike")
    else:
        named = quantize.convert(float_graph, mode, representative)
    model = slim.slim(narrow(named) if mode == "int8" else named)
    golden_x, golden_valid = golden.windows(spec)
    probes = [preprocess.apply(steps, w, v) for w, v in zip(golden_x[:4], golden_valid[:4], strict=True)]
    indices = quantize.find_outputs(model, np.stack(probes))
    shapes = {name: tuple(int(side) for side in tensor.shape) for name, tensor in float_graph.output.items()}

    def manifest(decision: Decision) -> Manifest:
        return Manifest(
            name=recipe.export.name,
            version=recipe.export.version,
            created=run.facts["finished"],
            labels=spec.labels,
            input=InputSpec(
                spec.channels,
                spec.units,
                spec.rate_hz,
                spec.window_samples,
                recipe.export.hop_samples or spec.window_samples,
            ),
            outputs={name: OutputSpec(indices[name], shapes[name]) for name in indices},
            preprocess=steps,
            thermometer=_thermometer(run),
            decision=decision,
            quantization=mode,
        )

    with tempfile.TemporaryDirectory() as scratch:
        draft = write_bundle(
            Path(scratch) / "draft.bundle",
            manifest(Decision()),
            model,
            _head(run),
            placeholder(golden_x, golden_valid, shapes),
            {},
        )
    vectors = golden_vectors(draft, golden_x, golden_valid, quantize.logit_step(model, len(spec.labels)), indices)
    report("comparing float and quantized on validation windows")
    parity = compare(twin, draft, windows)
    if parity.drop > recipe.export.max_drop:
        before, after = parity.float_correct / parity.n, parity.file_correct / parity.n
        raise ExportError(
            f"{recipe.export.name}: accuracy falls from {before:.3f} to {after:.3f} by {mode} conversion, more than "
            f"export.max_drop = {recipe.export.max_drop}; try another --quantize or train longer"
        )
    decision = thresholds(parity, recipe.export.false_alarms, recipe.export.abstentions)
    if old is not None:
        decision = old.manifest.decision
    card = build_card(run, mode, parity, windows, len(model), calibration, decision, found)
    if old is not None:
        card = taken_over(card, old)
    try:
        bundle = write_bundle(
            Path(out),
            manifest(decision),
            model,
            _head(run),
            vectors,
            card,
            signing_key,
            attacked.windows(twin, draft, spec),
        )
        check_vectors(bundle, Classifier(bundle))
    except OSError as error:
        raise ExportError(f"{out}: cannot be written: {error.strerror}; choose another --out") from error
    return Exported(Path(out), bundle, parity, len(model), slim.ranges(named))


def resolution(recipe: Recipe, spec: DataSpec) -> float:
    """Input units that one fine step of the raw path holds: 1 uV, or 0.005 of a standard deviation."""
    return recipe.export.resolution or (1.0 if spec.units == "uV" else 0.005)


def _representative(training: Dataset, steps: Any, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(training))[:REPRESENTATIVE]
    windows = training.take(np.sort(chosen)).windows()
    return np.stack([preprocess.apply(steps, x, v) for x, v in zip(windows.x, windows.valid, strict=True)])


def _thermometer(run: Run) -> Thermometer | None:
    layers = thermometers(run.front) if run.front is not None else []
    return Thermometer(tuple(float(t) for t in layers[0].thresholds)) if layers else None


def _head(run: Run) -> dict[str, np.ndarray]:
    """Weights of the last dense layer, for class activation maps (paper 1, eq. 5)."""
    kernel, bias = run.classifier.get_layer("logits").get_weights()
    return {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}


def placeholder(
    x: np.ndarray, valid: np.ndarray, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Vectors of a draft, which has no outputs yet."""
    return {
        "windows": x,
        "valid": valid,
        **{k: np.zeros((len(x), *s[1:]), np.float32) for k, s in shapes.items()},
    }


def golden_vectors(
    draft: Bundle, x: np.ndarray, valid: np.ndarray, logit_step: float, indices: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Golden windows with their outputs and the int8 step of each output.

    A probability moves by at most half a step of the logits.
    """
    steps_of_input = draft.manifest.preprocess
    outputs = golden.answers(Classifier(draft).run, steps_of_input, x, valid)
    chosen = np.arange(golden.COUNT)
    steps = dict.fromkeys(outputs, 0.0)
    if draft.manifest.quantization == "int8":
        steps = {
            name: 0.5 * logit_step if name.startswith("probabilities") else golden.value_step(value)
            for name, value in outputs.items()
        }
        slow = golden.answers(golden.reference(draft.model, indices), steps_of_input, x, valid)
        chosen = golden.choose(outputs, slow, steps, valid)
    return {
        "windows": x[chosen],
        "valid": valid[chosen],
        **{name: value[chosen] for name, value in outputs.items()},
        **{f"step_{name}": np.float32(value) for name, value in steps.items()},
    }
