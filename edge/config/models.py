"""The bundle that answers, and those beside it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from edge.config.fields import Seconds, Section


class BundleSettings(Section):
    """The model."""

    name: str = Field(default="ecg-rhythm", min_length=1, description="Name of a shipped bundle (see docs).")
    path: Path | None = Field(default=None, description="A bundle file; takes the place of `name`.")
    key: Path | None = Field(
        default=None,
        description="Public key file (Ed25519). With it, only bundles signed by that key are loaded.",
    )
    overlay: Path | None = Field(
        default=None,
        description="Thresholds for this sensor, made by edge-agent calibrate for this very bundle.",
    )
    min_version: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,63}$",
        description="Older bundles are refused, also signed ones: nobody brings back a model with a known hole.",
    )
    threads: int = Field(default=1, ge=1, le=64, description="Interpreter threads.")


class ModelSettings(Section):
    """Bundles side by side, and what a new one must show before it takes over."""

    folder: Path | None = Field(
        default=None, description="Folder of installed bundles. Default: models/NODE below node.state_dir."
    )
    keep: int = Field(
        default=4, ge=3, le=100, description="Most bundles kept there beside the active and the previous one."
    )
    canary_windows: int = Field(
        default=200, ge=1, le=1_000_000, description="Live windows on which a new bundle runs beside the old one."
    )
    canary_s: Seconds = Field(default=600.0, description="Longest time for that; then what was seen decides.")
    min_agreement: float = Field(
        default=0.9, ge=0, le=1, description="Least share of live windows on which both give the same label."
    )
    max_latency_ratio: float = Field(
        default=3.0, gt=0, le=1000, description="Most that a window may take, as a multiple of the old bundle's time."
    )
    max_withheld_rise: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Most by which the share of windows answered abstain or suspect may rise.",
    )
    min_robust_accuracy: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Least share of the bundle's own attacked golden windows on which it keeps its answer; "
        "0 takes bundles without such windows, too.",
    )
    watch_s: Seconds = Field(
        default=300.0, description="An agent that crashes within this time after a change takes the old bundle back."
    )
