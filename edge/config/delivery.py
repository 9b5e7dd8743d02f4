"""How results wait, what outlasts a crash, and how a loss is proved."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edge.config.fields import Seconds, Section


class DeliverySettings(Section):
    """How results wait for a sink that is slow or away."""

    spool_results: int = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        description="Results that wait in memory for each sink (with durability.folder: that wait for the disk).",
    )
    overflow: Literal["drop_oldest", "refuse_newest"] = Field(
        default="drop_oldest", description="What goes when it is full."
    )
    batch: int = Field(default=64, ge=1, le=1000, description="Results handed to a sink at once.")
    retry_min_s: Seconds = Field(default=0.5, description="First pause after a sink failed; it doubles.")
    retry_max_s: Seconds = Field(default=30.0, description="Longest pause after a sink failed.")
    historical_after_s: Seconds = Field(
        default=10.0,
        description="A result that waited longer is marked historical and does not touch `last`.",
    )
    historical_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Live results overtake historical ones, which get this share of each batch at least.",
    )


class DurabilitySettings(Section):
    """What outlasts a crash: flight recorder and spool file. See docs/guarantees.md."""

    folder: Path | None = Field(
        default=None,
        description="Folder for the flight recorder and the spool file. Unset: neither; what is in memory is lost in "
        "a crash, and nothing of the signals is stored.",
    )
    record: bool = Field(
        default=True,
        description="Record samples. Off: results alone are kept, and windows that were not answered are lost in "
        "a crash.",
    )
    sync_s: float = Field(
        default=0.5,
        ge=0.01,
        le=60,
        description="Samples are written and fsynced this often, sooner when 16 messages wait. A power cut loses "
        "at most so much of what nobody sends again (serial ports).",
    )
    commit_s: float = Field(
        default=1.0, ge=0.01, le=60, description="Results that wait are written and fsynced this often."
    )
    recorder_mb: int = Field(
        default=256, ge=4, le=1 << 20, description="Most that the recorder keeps, in MiB; the oldest go first."
    )
    keep_days: float = Field(
        default=0.0,
        ge=0,
        le=36_500,
        description="Recorded samples, and results that wait, are removed when they are older; 0 keeps them.",
    )
    spool_mb: int = Field(
        default=64,
        ge=1,
        le=1 << 16,
        description="Most that the spool file takes, in MiB: 512 results each. The policy is delivery.overflow.",
    )


class ChainSettings(Section):
    """Results as a hash chain, so that what is altered or missing is found (edge-agent verify)."""

    enabled: bool = Field(default=False, description="Each result names the one before it by its digest.")
    key: Path | None = Field(
        default=None,
        description="Private key file (Ed25519, mode 0600; trainer keygen): checkpoints and tombstones are signed.",
    )
    every: int = Field(
        default=100, ge=1, le=1_000_000, description="Results of a stream between two checkpoints."
    )
