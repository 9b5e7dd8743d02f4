"""A tiny bundle for tests: `tiny_bundle(path)` writes one in milliseconds, without TensorFlow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Decision, InputSpec, Manifest, OutputSpec, Thermometer, preprocess
from edge.bundle.preprocess import RemoveDc
from edge.pipeline.runtime import load_interpreter

DATA = Path(__file__).parent / "data"
WINDOW, HOP, RATE_HZ = 64, 16, 100.0
KINDS = ("tiny-float", "tiny-int8", "tiny-int8out")


def tiny_outputs(kind: str = "tiny-int8") -> dict[str, dict[str, Any]]:
    return json.loads((DATA / f"{kind}.json").read_text())


def tiny_manifest(kind: str = "tiny-int8", **changes: Any) -> Manifest:
    outputs = {name: OutputSpec(o["index"], tuple(o["shape"])) for name, o in tiny_outputs(kind).items()}
    manifest = Manifest(
        name="tiny",
        version="1.0.0",
        created="2026-01-01T00:00:00Z",
        labels=("normal", "other", "noise"),
        input=InputSpec(("ecg",), "uV", RATE_HZ, WINDOW, HOP),
        outputs=outputs,
        preprocess=(RemoveDc(),),
        thermometer=Thermometer((-150.0, -100.0, -50.0, -10.0, 10.0, 50.0, 100.0, 150.0)),
        decision=Decision(max_missing=0.2),
        quantization="none" if kind == "tiny-float" else "int8",
    )
    return replace(manifest, **changes)


def tiny_model(kind: str = "tiny-int8") -> bytes:
    return (DATA / f"{kind}.tflite").read_bytes()


def tiny_vectors(kind: str = "tiny-int8", count: int = 3) -> dict[str, np.ndarray]:
    """Golden vectors of the tiny model, computed by the installed runtime without edge's classifier."""
    manifest = tiny_manifest(kind)
    windows = np.random.default_rng(5).normal(30, 80, (count, WINDOW, 1)).astype(np.float32)
    valid = np.ones((count, WINDOW), bool)
    valid[0, :8] = False
    interpreter = load_interpreter(tiny_model(kind))
    details = interpreter.get_output_details()
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in manifest.outputs}
    for window, mask in zip(windows, valid, strict=True):
        x = preprocess.apply(manifest.preprocess, window, mask)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[None])
        interpreter.invoke()
        for name, spec in manifest.outputs.items():
            value = interpreter.get_tensor(details[spec.index]["index"])[0]
            scale, zero = details[spec.index]["quantization"]
            arrays[name].append((value.astype(np.float32) - zero) * np.float32(scale) if scale else value)
    vectors: dict[str, np.ndarray] = {"windows": windows, "valid": valid}
    vectors |= {name: np.stack(values) for name, values in arrays.items()}
    vectors |= {f"step_{name}": np.float32(o["step"]) for name, o in tiny_outputs(kind).items()}
    return vectors


def tiny_parts(kind: str = "tiny-int8", **changes: Any) -> dict[str, Any]:
    """Keyword arguments of write_bundle, without the path."""
    return {
        "manifest": tiny_manifest(kind, **changes),
        "model": tiny_model(kind),
        "head": {"weights": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)},
        "vectors": tiny_vectors(kind),
        "card": {"data": "random numbers", "intended_use": "tests"},
    }


def tiny_bundle(
    path: Path, kind: str = "tiny-int8", signing_key: bytes | None = None, **changes: Any
) -> Path:
    from edge.bundle import write_bundle

    write_bundle(path, **tiny_parts(kind, **changes), signing_key=signing_key)
    return path
