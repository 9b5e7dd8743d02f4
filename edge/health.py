"""What the agent tells about itself: `info`, fixed for a run, and `health`, every few seconds. Facts only, no IO
but reading this process's memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata

from edge.bundle import Bundle
from edge.config import Settings
from edge.overload import Overload
from edge.types import rfc3339

INFO_SCHEMA = "wavewall.info/1"
HEALTH_SCHEMA = "wavewall.health/1"


def version() -> str:
    """The installed version, or 0 from a source tree that is not installed."""
    try:
        return metadata.version("wavewall")
    except metadata.PackageNotFoundError:
        return "0"


def config_hash(settings: Settings) -> str:
    """SHA-256 over the settings without the password: two agents with the same one are set up alike."""
    plain = settings.model_dump(mode="json", exclude={"mqtt": {"password"}})
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def info(
    settings: Settings, bundle: Bundle, *, boot_id: str, started: float, runtime: str
) -> dict[str, object]:
    """What does not change while the agent runs."""
    manifest = bundle.manifest
    spec = manifest.input
    return {
        "schema": INFO_SCHEMA,
        "node": settings.node.id,
        "version": version(),
        "boot_id": boot_id,
        "started": rfc3339(started),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "runtime": runtime,
        "config_sha256": config_hash(settings),
        "bundle": {
            "ref": manifest.ref,
            "sha256": bundle.sha256,
            "signed": bundle.signed,
            "verified": bundle.verified,
            "quantization": manifest.quantization,
            "labels": list(manifest.labels),
            "channels": list(spec.channels),
            "units": spec.units,
            "rate_hz": spec.rate_hz,
            "window_samples": spec.window_samples,
            "hop_samples": spec.hop_samples,
            "overlay": None if settings.bundle.overlay is None else settings.bundle.overlay.name,
            "decision": asdict(manifest.decision),
        },
    }


def health(
    *,
    now: float,
    boot_id: str,
    uptime_s: float,
    streams: int,
    online: int,
    sources: Sequence[Mapping[str, object]],
    sinks: Sequence[Mapping[str, object]],
    counters: Mapping[str, object],
    disk: Sequence[Mapping[str, object]] = (),
    problems: Mapping[str, str] | None = None,
    model: Mapping[str, object] | None = None,
    config_refused: str = "",
    overload: Overload | None = None,
) -> dict[str, object]:
    """The state of things now; `status` is "degraded" while a source, a sink or the disk has an error: `reasons`.

    `disk`: recorder and spool file; `problems`: parts of the agent that are down or stuck, by name.
    """
    reasons = [
        f"{part.get('kind', part.get('name', '?'))}: {part['error']}"
        for part in (*sources, *sinks, *disk)
        if part.get("error")
    ] + [f"{name}: {why}" for name, why in (problems or {}).items()]
    if overload is not None and overload.reason:
        reasons.append(f"overload: {overload.reason}")
    if config_refused:
        reasons.append(f"config: {config_refused}")
    return {
        "schema": HEALTH_SCHEMA,
        "t": rfc3339(now),
        "boot_id": boot_id,
        "uptime_s": round(uptime_s, 1),
        "status": "degraded" if reasons else "ok",
        "reasons": reasons,
        "model": dict(model or {}),
        "lag_s": round(overload.lag_s, 3) if overload is not None else 0.0,
        "overload_step": overload.level if overload is not None else 0,
        "streams": streams,
        "online": online,
        "sources": list(sources),
        "sinks": list(sinks),
        **({"disk": list(disk)} if disk else {}),
        "counters": dict(counters),
        "rss_bytes": rss_bytes(),
    }


def rss_bytes() -> int:
    """Resident memory of this process; 0 where /proc does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
