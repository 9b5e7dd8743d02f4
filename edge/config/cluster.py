"""One pipeline over several machines."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from edge.config.fields import Seconds, Section, Texts


class ClusterSettings(Section):
    """NATS servers with JetStream, for the roles cutter and classifier (docs/scale.md)."""

    servers: Texts = Field(default=("nats://127.0.0.1:4222",), min_length=1, description="Addresses of NATS servers.")
    user: str | None = Field(default=None, description="User name, if the servers ask for one.")
    password_file: Path | None = Field(default=None, description="File whose first line is the password; mode 0600.")
    credentials_file: Path | None = Field(default=None, description="NATS credentials file (.creds), mode 0600.")
    replicas: int = Field(default=3, ge=1, le=5, description="Servers that keep each window and result.")
    ack_wait_s: Seconds = Field(
        default=30.0, description="A window whose classifier has not answered within this goes to another one."
    )
    max_unacknowledged: int = Field(
        default=20_000, ge=1, le=10_000_000, description="Windows that all classifiers together may hold."
    )
    batch: int = Field(default=16, ge=1, le=1000, description="Windows that a classifier takes at once.")
    windows_keep_s: Seconds = Field(default=86_400.0, description="Windows that no classifier took are kept so long.")
    windows_max_bytes: int = Field(
        default=1 << 30, ge=1 << 20, description="Disk of each server for windows; the oldest go first."
    )
    results_keep_s: Seconds = Field(default=7 * 86_400.0, description="Results are kept so long.")
    results_max_bytes: int = Field(default=1 << 30, ge=1 << 20, description="Disk of each server for results.")
    repeats_s: Seconds = Field(default=600.0, description="A result whose id came within this is not stored again.")
    outbox_windows: int = Field(
        default=2000, ge=1, le=1_000_000, description="Windows that a cutter keeps until their results come."
    )
    retry_s: Seconds = Field(
        default=60.0, description="A cutter sends a window again that has no result after this; then after twice that."
    )

    @field_validator("servers")
    @classmethod
    def _hold_no_login(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        if any("@" in server for server in servers):
            raise ValueError("hold a login; user and password_file are settings of their own")
        return servers
