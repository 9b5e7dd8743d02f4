"""A foreign classifier -> a bundle: read it, train what goes in front, put both in one graph, check, pack."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
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
from trainer.data.base import Dataset
from trainer.errors import ExportError
from trainer.export import golden, quantize
from trainer.export.pack import golden_vectors, placeholder
from trainer.export.parity import score_all
from trainer.foreign import front, keras_model, tflite_graph
from trainer.foreign.card import build_card
from trainer.foreign.spec import WindowFile, read_window_file
from trainer.foreign.windows import Unlabelled, labelled, load

TWIN_SUFFIX = ".twin"
# The file must answer on the raw path as the classifier itself does; int8 rounds, the rest only sums in another order.
FIDELITY = {"none": 1e-3, "float16": 2e-2, "int8": 0.25}
SAMPLE = 64
Report = Callable[[dict[str, Any]], None]
Run = Callable[[np.ndarray], np.ndarray]  # preprocessed (n, time, channel) -> numbers (n, label or 1)


@dataclass(frozen=True)
class Wrapped:
    """What ``trainer wrap`` reports.

    ``agreement``: share of held-out windows where the defended answer is the classifier's own; ``fidelity``: largest
    difference between the classifier's probabilities and the file's on the raw path; ``twin`` (a folder) is None for a
    TFLite file, which has no gradients.
    """

    path: Path
    bundle: Bundle
    agreement: float
    fidelity: float
    held_out: int
    twin: Path | None


@dataclass(frozen=True)
class _Made:
    """The graph with everything that packing needs of it."""

    model: bytes
    indices: Mapping[str, int]
    mode: str
    plan: Any
    joint: Any | None
    thermometer: Thermometer


def wrap(
    model: str | Path,
    spec: str | Path | WindowFile,
    out: str | Path,
    *,
    data: str | Path | None = None,
    mode: str = "none",
    signing_key: bytes | None = None,
    report: Report = lambda _: None,
) -> Wrapped:
    """Give a Keras (.keras, .h5) or TFLite classifier a bundle with an encode-decode in front.

    Args:
        spec: a window.toml, or what reading one gave.
        data: unlabelled recordings; where the spec says if None.
        mode: "none" (float32), "float16" or "int8"; a TFLite file keeps its own quantization.

    Raises:
        TrainerError: the file, the spec or the windows cannot be used, or the defended answers differ too often.
        BundleError: the result is none.
    """
    path, out = Path(model), Path(out)
    file = spec if isinstance(spec, WindowFile) else read_window_file(spec)
    folder = Path(".") if isinstance(spec, WindowFile) else Path(spec).parent
    if data is None and file.windows is None:
        raise ExportError("no windows to train on: give --data, or 'windows' in the spec")
    if not path.is_file():
        raise ExportError(f"{path}: no such file; give a .keras, .h5 or .tflite file")
    if path.suffix not in (*keras_model.SUFFIXES, ".tflite"):
        raise ExportError(f"{path}: give a .keras, .h5 or .tflite file; pickles and SavedModels can run code")
    windows = load(data if data is not None else folder / str(file.windows), file.data)
    make = _from_tflite if path.suffix == ".tflite" else _from_keras
    with tempfile.TemporaryDirectory() as scratch:
        made, own = make(path, file, windows, mode, Path(scratch), report)
    return _pack(path, file, windows, made, own, out, signing_key)


def _from_keras(
    path: Path, file: WindowFile, windows: Unlabelled, mode: str, scratch: Path, report: Report
) -> tuple[_Made, Run]:
    from trainer.foreign import keras_graph
    from trainer.models.wrap import thermometers

    steps = preprocess.parse_steps(file.preprocess)
    _, x, _ = front.prepared(windows.training, steps)
    classifier = keras_model.adapt(keras_model.load(path), file.data, file.outputs, x[:SAMPLE])
    if mode == "int8":
        keras_graph.rewired(classifier, file, 1.0)  # told before any training
    answers = classifier.predict(x, batch_size=SAMPLE, verbose=0)
    one, whole = front.build(file.data, file, x)
    unit = float(x.std()) or 1.0
    data = labelled(windows.training, answers.argmax(-1))
    plan, joint = front.train(file, data, whole, classifier, unit, scratch, report)
    graph, representative = keras_graph.build(classifier, one, file, x, mode)
    model = quantize.convert(graph, mode, representative)
    indices = quantize.find_outputs(model, np.stack(_probes(file, windows)))
    thermometer = Thermometer(tuple(float(t) for t in thermometers(one)[0].thresholds))

    def own(values: np.ndarray) -> np.ndarray:
        return np.asarray(classifier.predict(values, batch_size=SAMPLE, verbose=0))

    return _Made(model, indices, mode, plan, joint, thermometer), own


def _from_tflite(
    path: Path, file: WindowFile, windows: Unlabelled, mode: str, scratch: Path, report: Report
) -> tuple[_Made, Run]:
    from trainer.foreign import keras_graph
    from trainer.models.wrap import thermometers

    if mode != "none":
        raise ExportError(f"{path}: a TFLite file keeps its own quantization; leave --quantize out")
    content = path.read_bytes()
    tflite_graph.parse(content, str(path))
    steps = preprocess.parse_steps(file.preprocess)
    _, x, _ = front.prepared(windows.training, steps)
    shape = (1, file.window_samples, len(file.channels))
    alone = tflite_graph.runner(content, str(path), shape)
    sample = np.stack([alone(window) for window in x[:SAMPLE]])
    labels, columns = len(file.labels), sample.shape[-1]
    if columns not in (labels, 1) or (columns == 1 and labels != 2):
        raise ExportError(f"{path}: gives {columns} numbers, the spec has {labels} labels")
    kind = keras_model.kind_of(sample) if file.outputs == "auto" else file.outputs
    one, whole = front.build(file.data, file, x)
    plan, _ = front.train(file, windows.training, whole, None, float(x.std()) or 1.0, scratch, report)
    ahead = quantize.convert(keras_graph.reconstruction(one, file), "none", x[:1])
    model, indices = tflite_graph.merge(ahead, content, labels, kind, str(path))
    thermometer = Thermometer(tuple(float(t) for t in thermometers(one)[0].thresholds))

    def own(values: np.ndarray) -> np.ndarray:
        rows = np.stack([alone(window) for window in values])
        if columns == 1:
            first = np.zeros_like(rows) if kind == "logits" else 1 - rows
            rows = np.concatenate([first, rows], axis=1)
        return rows if kind == "logits" else np.log(np.maximum(rows, 1e-9))

    return _Made(model, indices, _mode_of(content), plan, None, thermometer), own


def _mode_of(content: bytes) -> str:
    """int8 where the foreign file computes with 8 bits, else none."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    kinds = [t["dtype"] for t in interpreter.get_tensor_details() if len(t["shape"]) > 1]
    return "int8" if any(kind in (np.int8, np.uint8) for kind in kinds) else "none"


def _pack(
    path: Path, file: WindowFile, windows: Unlabelled, made: _Made, own: Run, out: Path, key: bytes | None
) -> Wrapped:
    shapes = {
        "reconstruction": (1, file.window_samples, len(file.channels)),
        "probabilities": (1, len(file.labels)),
        "probabilities_raw": (1, len(file.labels)),
    }
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")

    def manifest(decision: Decision) -> Manifest:
        return Manifest(
            name=file.name,
            version=file.version,
            created=created,
            labels=file.labels,
            input=InputSpec(
                file.channels, file.units, file.rate_hz, file.window_samples, file.hop_samples or file.window_samples
            ),
            outputs={name: OutputSpec(made.indices[name], shapes[name]) for name in shapes},
            preprocess=preprocess.parse_steps(file.preprocess),
            thermometer=made.thermometer,
            decision=decision,
            quantization=made.mode,
        )

    x, valid = _golden(file, windows)
    with tempfile.TemporaryDirectory() as scratch:
        draft = write_bundle(
            Path(scratch) / "draft.bundle", manifest(Decision()), made.model, None, placeholder(x, valid, shapes), {}
        )
    vectors = golden_vectors(draft, x, valid, quantize.logit_step(made.model, len(file.labels)), made.indices)
    figures, decision = _measure(draft, windows.held_out, own, file)
    if figures["fidelity"] > FIDELITY["int8" if made.mode == "int8" else made.mode]:
        raise ExportError(
            f"{path}: after conversion its own probabilities differ by up to {figures['fidelity']:.3f}; use "
            "--quantize none"
        )
    if figures["agreement"] < file.min_agreement:
        raise ExportError(
            f"{path}: behind the encode-decode it answers as before on {figures['agreement']:.1%} of {figures['n']} "
            f"windows held out, less than min_agreement = {file.min_agreement}; give more windows, more front.steps or "
            "more front.levels"
        )
    has_twin = made.joint is not None
    card = build_card(path, file, windows, figures, made.plan, model=made.model, mode=made.mode, twin=has_twin)
    try:
        bundle = write_bundle(out, manifest(decision), made.model, None, vectors, card, key)
        check_vectors(bundle, Classifier(bundle))
        twin = None
        if made.joint is not None:
            twin = out.with_suffix(TWIN_SUFFIX)
            twin.mkdir(exist_ok=True)
            made.joint.save(twin / "twin.keras")
    except OSError as error:
        raise ExportError(f"{out}: cannot be written: {error.strerror or error}; choose another --out") from error
    return Wrapped(out, bundle, figures["agreement"], figures["fidelity"], figures["n"], twin)


def _measure(draft: Bundle, held_out: Dataset, own: Run, file: WindowFile) -> tuple[dict[str, Any], Decision]:
    """Agreement and fidelity on windows held out, by the device's code, and thresholds from the same."""
    windows = held_out.windows()
    _, x, _ = front.prepared(held_out, draft.manifest.preprocess)
    logits = own(x)
    exponent = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = exponent / exponent.sum(-1, keepdims=True)
    scores = score_all(draft, windows)
    raw = np.stack([s.probabilities_raw for s in scores if s.probabilities_raw is not None])
    defended = np.stack([s.probabilities for s in scores])
    upper = {
        name: float(np.quantile([getattr(s, name) for s in scores], 1.0 - file.false_alarms / 2, method="higher"))
        for name in ("residual", "disagreement")
    }
    figures = {
        "n": len(windows),
        "agreement": float((defended.argmax(-1) == probabilities.argmax(-1)).mean()),
        "fidelity": float(np.abs(raw - probabilities).max()),
    }
    return figures, Decision(suspect_residual=upper["residual"], suspect_disagreement=upper["disagreement"])


def _golden(file: WindowFile, windows: Unlabelled) -> tuple[np.ndarray, np.ndarray]:
    """Synthetic windows with the mean and the spread of the given ones: no real record goes into a bundle."""
    x, valid = golden.windows(file.data)
    if file.units == "uV":
        return x, valid
    values = np.concatenate(windows.training.signals[:SAMPLE])
    x = (x * values.std(0) + values.mean(0)).astype(np.float32)
    x[~valid] = 0.0
    return x, valid


def _probes(file: WindowFile, windows: Unlabelled) -> list[np.ndarray]:
    x, valid = _golden(file, windows)
    steps = preprocess.parse_steps(file.preprocess)
    return [preprocess.apply(steps, window, mask) for window, mask in zip(x[:4], valid[:4], strict=True)]
