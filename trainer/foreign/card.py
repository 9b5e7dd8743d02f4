"""The robustness card of a wrapped classifier: what is known of it, and that nothing else is."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.export.card import INTENDED_USE
from trainer.foreign.spec import WindowFile
from trainer.foreign.windows import Unlabelled
from trainer.recipe import Recipe


def build_card(
    path: Path,
    file: WindowFile,
    windows: Unlabelled,
    figures: Mapping[str, Any],
    plan: Recipe,
    *,
    model: bytes,
    mode: str,
    twin: bool,
) -> dict[str, Any]:
    """``figures``: n, agreement and fidelity on windows held out; ``twin``: whether there are gradients."""
    gradients = (
        "The float twin beside the bundle gives attacks their gradients."
        if twin
        else "A TFLite file has no gradients: it can be attacked by queries (square), by noise and through another "
        "model (--through) only, which says little about an attacker who has it in other form."
    )
    return {
        "name": file.name,
        "intended_use": INTENDED_USE if file.units == "uV" else "As the wrapped classifier's; screening, not control.",
        "data": {
            "name": "own unlabelled windows",
            "units": file.units,
            "training_windows": len(windows.training),
            "held_out_windows": len(windows.held_out),
            "skipped_windows": windows.skipped,
        },
        "wrapped": {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "weights": "unchanged",
            "agreement_with_itself": figures["agreement"],
            "largest_difference_on_the_raw_path": figures["fidelity"],
            "windows": figures["n"],
        },
        "training": plan.model_dump(mode="json"),
        "model": {
            "file_bytes": len(model),
            "quantization": mode,
            "exported_on": f"{platform.system()} {platform.machine()}",
        },
        "evaluation": None,
        "limits": "Nothing is known of this classifier's accuracy: its windows had no labels. Measure it with `trainer "
        f"evaluate`. {gradients}",
    }
