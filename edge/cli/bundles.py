"""`edge-agent verify` on a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli import card

if TYPE_CHECKING:
    from edge.bundle import Bundle


def verify_bundle(file: str, key: Path | None, json_out: bool) -> None:
    """Print what a bundle says about itself and check everything: hashes, signature, shapes, golden vectors."""
    from edge.build import load_bundle
    from edge.config import BundleSettings
    from edge.pipeline.runtime import runtime_name

    bundle, _ = load_bundle(BundleSettings(name=file, key=key))
    runtime = runtime_name()
    if json_out:
        facts = {
            "name": bundle.name,
            "sha256": bundle.sha256,
            "signed": bundle.signed,
            "verified": bundle.verified,
            "runtime": runtime,
            "golden_windows": int(bundle.vectors.windows.shape[0]),
            "manifest": bundle.manifest.to_dict(),
            "card": dict(bundle.card),
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in _facts(bundle):
        typer.echo(f"{name:<14} {value}")
    for text in card.lines(bundle.card):
        typer.echo(text)
    signed = {
        (True, True): "signature is of the given key",
        (True, False): "signed; give --key to check by whom",
    }
    typer.echo(
        f"ok: every hash and shape is right, {bundle.vectors.windows.shape[0]} golden windows agree on {runtime}; "
        f"{signed.get((bundle.signed, bundle.verified), 'not signed')}"
    )


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest = bundle.manifest
    spec, decision = manifest.input, manifest.decision
    yield "file", bundle.name
    yield "bundle", f"{manifest.ref}, {manifest.created}, {manifest.quantization}"
    yield "labels", ", ".join(manifest.labels)
    yield "input", f"{', '.join(spec.channels)} in {spec.units} at {spec.rate_hz:g} Hz"
    seconds, hop = spec.window_samples / spec.rate_hz, spec.hop_samples / spec.rate_hz
    yield "window", f"{spec.window_samples} samples ({seconds:g} s), every {spec.hop_samples} ({hop:g} s)"
    yield "preprocessing", ", ".join(str(step.to_dict()) for step in manifest.preprocess) or "none"
    levels = manifest.thermometer.thresholds if manifest.thermometer else ()
    if levels:
        yield "thermometer", f"{len(levels)} levels from {levels[0]:g} to {levels[-1]:g} {spec.units}"
    yield "outputs", ", ".join(f"{name} {list(output.shape)}" for name, output in manifest.outputs.items())
    limits = {
        "missing above": decision.max_missing,
        "residual above": decision.suspect_residual,
        "disagreement above": decision.suspect_disagreement,
        "score below": decision.abstain_score,
    }
    yield "decision", ", ".join(f"{what} {value:g}" for what, value in limits.items() if value is not None)
    for name, entry in manifest.members.items():
        yield "member", f"{name}, {entry.bytes} bytes, sha256 {entry.sha256[:16]}..."
    yield "identity", bundle.sha256
