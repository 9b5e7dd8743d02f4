"""What a refit takes over from the bundle before it.

A refit has learnt from the validation records (``data.refit``), so these can decide nothing for it: its temperature
and thresholds, and what its card says of validation, are those of the same network before it saw them. A refit of a
refit takes what that one took over.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.bundle import Bundle, read_bundle
from edge.zoo import resolve_bundle
from trainer.errors import ExportError

if TYPE_CHECKING:
    from trainer.export.pack import Run

SECTIONS = ("validation", "calibration", "decision")
LIMIT = (
    "Temperature and thresholds were chosen, and the validation figures measured, before the validation records "
    "joined the training."
)


def read_before(run: Run, path: str | Path | None) -> Bundle | None:
    """The bundle before a refit; None where ``run`` is none.

    Raises:
        ExportError: a refit without it, another run with it, or a bundle that does not fit.
    """
    if not run.recipe.data.refit:
        if path is not None:
            raise ExportError(f"{run.folder}: no refit (data.refit), its own validation records decide; drop --before")
        return None
    if path is None:
        raise ExportError(
            f"{run.folder}: has learnt from its validation records (data.refit); give the bundle of the run before it "
            "with --before, whose temperature and thresholds are taken over"
        )
    bundle = read_bundle(resolve_bundle(str(path)))
    same = bundle.manifest.labels == run.spec.labels and bool(bundle.manifest.thermometer) == (run.front is not None)
    made = bundle.card.get("training", {})
    same = same and made.get("model") == run.recipe.model.model_dump(mode="json")
    if not same or any(section not in bundle.card for section in SECTIONS):
        says = "other labels, another [model] or no full card"
        raise ExportError(f"{path}: not the bundle of the run before {run.folder}: {says}")
    return bundle


def taken_over(card: dict[str, Any], before: Bundle) -> dict[str, Any]:
    """The card of a refit."""
    old: Mapping[str, Any] = before.card
    data = {**card["data"], "validation_balance": old["data"]["validation_balance"]}
    return {**card, "data": data, **{name: old[name] for name in SECTIONS}, "limits": f"{card['limits']} {LIMIT}"}
