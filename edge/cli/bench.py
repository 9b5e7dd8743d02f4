"""`edge-agent bench`: what this machine does with a bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from edge.cli.options import bundle_names, settings_defaults

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.pipeline.classify import Classifier


def bench(
    bundle: str | None = typer.Option(
        None, "--bundle", autocompletion=bundle_names, metavar="NAME|FILE",
        help="Shipped bundle or bundle file. Default: as configured.",
    ),
    seconds: float = typer.Option(
        3.0, "--seconds", metavar="X", min=0.1, max=600.0, help="How long to measure."
    ),
    threads: int = typer.Option(1, "--threads", metavar="N", min=1, max=64, help="Interpreter threads."),
    json_out: bool = typer.Option(False, "--json", help="The figures as JSON."),
) -> None:
    """Measure windows a second, latency, and how many live streams this machine could serve."""
    from edge.build import load_bundle

    settings = settings_defaults().bundle
    change = {"threads": threads, **({"name": bundle, "path": None} if bundle else {})}
    loaded, classifier = load_bundle(settings.model_copy(update=change))
    figures = measure(loaded, classifier, seconds)
    if json_out:
        typer.echo(json.dumps(figures, indent=2))
        return
    typer.echo(f"{figures['bundle']} on {figures['runtime']}, {figures['machine']}, {threads} thread(s)")
    typer.echo(f"windows a second       {figures['windows_per_s']}")
    typer.echo(
        f"one window             p50 {figures['p50_ms']} ms, p90 {figures['p90_ms']} ms, p99 {figures['p99_ms']} ms, "
        f"of it {figures['own_us']} µs beside the model"
    )
    typer.echo(
        f"live streams           about {figures['streams']} (a window every {figures['hop_s']} s each)"
    )
    if float(str(figures["load_1min"])) > 0.5 * float(str(figures["cores"])):
        typer.echo(
            f"(this machine is busy with other work, load {figures['load_1min']}: figures are too low)"
        )
    typer.echo(f"memory                 {figures['rss_mb']} MB resident")


def measure(bundle: Bundle, classifier: Classifier, seconds: float) -> dict[str, object]:
    """Push one second of signal at a time through the whole path, as a live stream would."""
    import os
    import platform
    import time
    from importlib import metadata

    import numpy as np

    from edge.doctor import cpu_name
    from edge.engine import Engine
    from edge.health import rss_bytes
    from edge.metrics import Metrics
    from edge.pipeline.runtime import runtime_name
    from edge.types import SampleBlock

    spec = bundle.manifest.input
    engine = Engine(bundle, classifier, node="bench", boot_id="bench", metrics=Metrics())
    size = max(1, min(spec.hop_samples, round(spec.rate_hz)))
    golden = bundle.vectors.windows[0]
    source = np.concatenate([golden, golden[::-1]])
    units = (spec.units,) * len(spec.channels)
    took: list[float] = []
    model: list[float] = []
    first, spent = 0, 0.0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(took) < 3:
        at = first % (source.shape[0] - size)
        block = SampleBlock(
            "bench",
            "bench",
            first,
            1.8e9 + first / spec.rate_hz,
            spec.rate_hz,
            spec.channels,
            units,
            source[at : at + size],
        )
        began = time.perf_counter()
        results = engine.push(block)
        spent += time.perf_counter() - began
        if results:
            took.append(spent)
            model += [result.latency_ms for result in results]
            spent = 0.0
        first += size
    took_ms = np.asarray(took[1:] or took) * 1000.0
    mean_ms = float(took_ms.mean())
    hop_s = spec.hop_samples / spec.rate_hz
    return {
        "bundle": bundle.manifest.ref,
        "runtime": runtime_name(),
        "runtime_version": metadata.version(runtime_name().replace("_", "-")),
        "quantization": bundle.manifest.quantization,
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
        "windows": len(took),
        "windows_per_s": round(1000.0 / mean_ms, 1),
        "p50_ms": round(float(np.percentile(took_ms, 50)), 3),
        "p90_ms": round(float(np.percentile(took_ms, 90)), 3),
        "p99_ms": round(float(np.percentile(took_ms, 99)), 3),
        "model_ms": round(float(np.mean(model[1:] or model)), 3),
        "own_us": round((mean_ms - float(np.mean(model[1:] or model))) * 1000.0, 1),
        "hop_s": round(hop_s, 3),
        "streams": int(hop_s * 1000.0 / mean_ms),
        "rss_mb": round(rss_bytes() / 1e6, 1),
    }


def register(app: typer.Typer) -> None:
    app.command("bench")(bench)
