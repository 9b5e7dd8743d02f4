"""The robustness card: what a bundle was made of, how well it does, what it is for and where its figures end."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edge.bundle import Decision
from trainer.data.base import Windows
from trainer.errors import ExportError
from trainer.evaluate.intervals import wilson
from trainer.export.calibrate import Calibration, error_of, operating_points
from trainer.export.parity import Parity

if TYPE_CHECKING:
    from trainer.export.pack import Run

INTENDED_USE = "Research and screening support, not diagnosis."
CREDITS = {
    "cinc2017": "PhysioNet/CinC Challenge 2017 training records, PhysioNet, ODC-By 1.0",
    "ucr": "UCR Time Series Classification Archive (Dau and others, 2018)",
}
SPEED_KEYS = (
    "runtime", "runtime_version", "machine", "cpu", "cores", "load_1min", "windows", "p50_ms", "p90_ms", "p99_ms",
)  # fmt: skip


def build_card(
    run: Run,
    mode: str,
    parity: Parity,
    windows: Windows,
    model_bytes: int,
    calibration: Calibration,
    decision: Decision,
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """The card of one export; what was not measured is None.

    Args:
        measured: of ``measured``.
    """
    recipe, facts = run.recipe, run.facts

    def accuracy(correct: int) -> dict[str, float | int]:
        low, high = wilson(correct, parity.n)
        return {"n": parity.n, "accuracy": correct / parity.n, "accuracy_low": low, "accuracy_high": high}

    return {
        "name": recipe.export.name,
        "intended_use": INTENDED_USE,
        "made_with": f"wavewall {version('wavewall')}",
        "data": {
            "name": run.spec.name,
            "credit": CREDITS.get(recipe.data.kind, "own data"),
            "units": run.spec.units,
            "split": "sha256 of the record's name modulo 10: 0 test, 1 validation, the rest training"
            if recipe.data.kind != "ucr"
            else "the archive's TRAIN and TEST; validation is a part of TRAIN",
            "train_records": facts["train_records"],
            "validation_records": facts["validation_records"],
            "validation_balance": {
                label: int((windows.y == i).sum()) for i, label in enumerate(windows.spec.labels)
            },
        },
        "training": recipe.model_dump(mode="json"),
        "model": {
            "parameters": int(run.twin.count_params()),
            "file_bytes": model_bytes,
            "quantization": mode,
            "exported_on": f"{platform.system()} {platform.machine()}",
            "speed": measured["speed"],
        },
        "validation": {
            "float": accuracy(parity.float_correct),
            "file": accuracy(parity.file_correct),
            "agreement": parity.agreement,
        },
        "calibration": {**asdict(calibration), "error": error_of(parity)},
        "decision": operating_points(parity, decision, recipe.export.false_alarms, recipe.export.abstentions),
        "evaluation": measured["evaluation"],
        "detector": measured["detector"],
        "limits": limits(run, windows, measured["evaluation"]),
    }


def measured(
    ref: str,
    evaluation: Mapping[str, Any] | None = None,
    speed: Mapping[str, Any] | None = None,
    detector: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What other commands measured of the bundle ``ref``, as far as it belongs on its card.

    Args:
        evaluation: of ``trainer evaluate``. speed: of ``edge-agent bench``. detector: of ``trainer report``.

    Raises:
        ExportError: one of them is about another bundle.
    """
    return {
        "evaluation": _about(evaluation, "model", ref, "trainer evaluate"),
        "speed": _speed(speed, ref),
        "detector": _detector(detector, ref),
    }


def limits(run: Run, windows: Windows, evaluation: Mapping[str, Any] | None) -> str:
    """What the figures do not say, in sentences."""
    spec = run.spec
    seconds = spec.window_samples / spec.rate_hz
    sentences = [
        "Robustness is measured against the attacks and budgets listed here; it says nothing of others.",
        f"Trained and measured on {spec.name} alone: other devices, electrodes and people may differ.",
        f"Of each record the first window of {seconds:g} s is measured.",
        "White-box attacks are made on the float twin and put to the file.",
    ]
    few = [label for i, label in enumerate(windows.spec.labels) if 0 < (windows.y == i).sum() < 30]
    if few:
        sentences.append(f"Fewer than 30 validation windows are {' or '.join(few)}: figures of it are rough.")
    if evaluation is None:
        sentences.append("Accuracy under attack has not been measured.")
    elif not any(row["attack"] == "standard" for row in evaluation["rows"]):
        sentences.append("The suite of record, `standard`, has not been run.")
    return " ".join(sentences)


def _about(found: Mapping[str, Any] | None, key: str, ref: str, command: str) -> dict[str, Any] | None:
    if found is None:
        return None
    if found.get(key) != ref:
        raise ExportError(f"the JSON of `{command}` is about {found.get(key)}, this bundle is {ref}; measure it")
    return dict(found)


def _speed(found: Mapping[str, Any] | None, ref: str) -> dict[str, Any] | None:
    about = _about(found, "bundle", ref, "edge-agent bench --json")
    return None if about is None else {key: about[key] for key in SPEED_KEYS if key in about}


def _detector(found: Mapping[str, Any] | None, ref: str) -> list[dict[str, Any]] | None:
    """Operating points without the curves, which belong to the report."""
    if found is None:
        return None
    for bundle in found.get("bundles", ()):
        if bundle.get("bundle") == ref:
            return [{k: v for k, v in one.items() if k != "points"} for one in bundle["detector"]]
    raise ExportError(f"the JSON of `trainer report` is not about {ref}; report on it")
