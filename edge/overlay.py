"""Thresholds for one sensor, in a file beside the bundle: the bundle itself stays as it was signed.

An overlay names the bundle that it was made for by its identity; on any other it is refused, since a threshold means
nothing for another model.
"""

from __future__ import annotations

import json
import logging
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edge.bundle import Bundle, Decision
from edge.errors import EdgeError

log = logging.getLogger("edge.overlay")

OVERLAY_SCHEMA: Final = "wavewall.overlay/1"
MAX_BYTES: Final = 1 << 16  # ours have about 1 kB
# Threshold -> the output that it needs.
THRESHOLDS: Final = {"suspect_residual": "reconstruction", "suspect_disagreement": "probabilities_raw"}


class OverlayError(EdgeError):
    """An overlay that cannot be used; the message names file and field."""


def overlay_json(bundle: Bundle, decision: Decision, calibration: Mapping[str, Any]) -> str:
    """The file's text: the thresholds of `decision`, and how they came about."""
    data = {
        "schema": OVERLAY_SCHEMA,
        "bundle": bundle.manifest.ref,
        "bundle_sha256": bundle.sha256,
        "decision": {name: getattr(decision, name) for name in THRESHOLDS},
        "calibration": dict(calibration),
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def write_overlay(path: Path, text: str) -> None:
    """Whole or not at all. Raises OverlayError."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise OverlayError(
            f"{path}: cannot be written: {error.strerror or error}; choose another --out"
        ) from error


def fitting_overlay(bundle: Bundle, path: Path | None) -> Bundle:
    """For a bundle that was activated while the agent ran: the overlay where it is the bundle's own, else its own
    thresholds, with a warning.
    """
    try:
        return bundle if path is None else apply_overlay(bundle, path)
    except OverlayError as error:
        log.warning("%s's own thresholds are in force: %s", bundle.manifest.ref, error)
        return bundle


def apply_overlay(bundle: Bundle, path: Path) -> Bundle:
    """The bundle with the thresholds of the file. Raises OverlayError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise OverlayError(f"{path}: larger than {MAX_BYTES} bytes; this is no overlay")
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise OverlayError(
            f"{path}: {error.strerror or error}; make it with edge-agent calibrate, or unset bundle.overlay"
        ) from error
    except (ValueError, RecursionError) as error:
        raise OverlayError(f"{path}: not JSON ({error}); make it again with edge-agent calibrate") from error
    if not isinstance(data, dict) or data.get("schema") != OVERLAY_SCHEMA:
        raise OverlayError(f"{path}: field 'schema' is not {OVERLAY_SCHEMA!r}; this is no overlay")
    if data.get("bundle_sha256") != bundle.sha256:
        raise OverlayError(
            f"{path}: made for {str(data.get('bundle'))[:100]} ({str(data.get('bundle_sha256'))[:12]}...), this is "
            f"{bundle.manifest.ref} ({bundle.sha256[:12]}...); calibrate for it, or unset bundle.overlay"
        )
    decision = data.get("decision")
    if not isinstance(decision, dict) or set(decision) - set(THRESHOLDS):
        raise OverlayError(f"{path}: field 'decision' may hold {', '.join(THRESHOLDS)} only")
    changed: dict[str, Any] = {
        name: _threshold(path, bundle, name, value) for name, value in decision.items()
    }
    manifest = bundle.manifest
    return replace(bundle, manifest=replace(manifest, decision=replace(manifest.decision, **changed)))


def _threshold(path: Path, bundle: Bundle, name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise OverlayError(
            f"{path}: decision.{name} is {str(value)[:40]}; use a number of 0 or more, or null"
        )
    if THRESHOLDS[name] not in bundle.manifest.outputs:
        raise OverlayError(
            f"{path}: decision.{name} needs the output {THRESHOLDS[name]!r}, which the bundle lacks"
        )
    return float(value)
