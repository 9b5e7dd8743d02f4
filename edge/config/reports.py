"""What the agent tells about itself, and to whom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from edge.config.fields import Name, Names, Port, Seconds, Section, Texts


class HealthSettings(Section):
    """What the agent tells about itself."""

    period_s: Seconds = Field(default=30.0, description="`health` is published this often.")
    stuck_s: Seconds = Field(
        default=60.0,
        description="A part that has not moved for so long, or samples that wait so long without a window being "
        "answered: told in `health`, and systemd's watchdog is no longer fed.",
    )


class RequestSettings(Section):
    """Questions and orders over MQTT: `request/<verb>`. Who may send them is for the broker's ACL to say."""

    enabled: bool = Field(default=False, description="Answer requests.")
    verbs: Names = Field(
        default=("ping", "info", "health", "streams"),
        description="Verbs that are answered (docs/mqtt.md lists them).",
    )
    per_minute: int = Field(default=60, ge=1, le=6000, description="More requests a minute are dropped.")


class DashboardSettings(Section):
    """A page for the browser that shows what the agent sees (extra `dashboard`). Off unless `listen` is set."""

    listen: str | None = Field(
        default=None,
        description="HOST:PORT of the page; `--dashboard` alone is 127.0.0.1:8787. Other machines can only reach it "
        "on an address that is not the loopback, which needs a token or a reverse proxy's user.",
    )
    token: SecretStr | None = Field(
        default=None,
        description="What to type into the page to see it. Better: token_file, or the environment variable "
        "WAVEWALL_DASHBOARD_TOKEN.",
        json_schema_extra={"flag": False},
    )
    token_file: Path | None = Field(default=None, description="File whose first line is the token, mode 0600.")
    user_header: str | None = Field(
        default=None,
        description="Header in which a reverse proxy names the user it let in, e.g. X-Remote-User; takes the place of "
        "a token.",
    )
    proxies: Texts = Field(
        default=("127.0.0.1", "::1"), description="Addresses of proxies whose `user_header` is believed."
    )
    hosts: Texts = Field(
        default=(),
        description="Names under which the page may be asked for, besides the address it listens on; others are "
        "refused, as they are how a foreign site would reach it.",
    )
    attack: bool = Field(
        default=False,
        description="Offer the attack bench: replayed and simulated streams, attacked on the page alone. Nothing of "
        "it is published, and a live device is never touched.",
    )
    compare: str = Field(
        default="ecg-undefended",
        min_length=1,
        description="Bundle (name or file) that the attack bench puts beside the agent's own.",
    )
    history_s: Seconds = Field(
        default=120.0, description="Signal kept in memory for each stream, where 64 MiB for all allow it."
    )
    max_clients: int = Field(default=16, ge=1, le=1000, description="Pages open at once; further ones are refused.")

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = f"127.0.0.1{value}" if value.startswith(":") else value
        found = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", value)
        if found is None or int(found[1]) > 65535:
            raise ValueError("write HOST:PORT, e.g. 127.0.0.1:8787 or [::1]:8787; port 0 takes a free one")
        return value

    @field_validator("user_header")
    @classmethod
    def _is_header(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", value):
            raise ValueError("write the name of a header, e.g. X-Remote-User")
        return value


class MetricsSettings(Section):
    """Counters for Prometheus (extra `metrics`), on http://host:port/metrics."""

    enabled: bool = Field(default=False, description="Serve them.")
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; there is no password."
    )
    port: Port = Field(default=9464, description="TCP port to listen on.")


class HomeAssistantSettings(Section):
    """Home Assistant's MQTT discovery: each stream becomes a device there."""

    discovery: bool = Field(
        default=False, description="Announce streams; needs a sink of kind mqtt with `last`."
    )
    prefix: Name = Field(default="homeassistant", description="Home Assistant's discovery prefix.")


class LogSettings(Section):
    """Messages on standard error."""

    format: Literal["auto", "text", "json"] = Field(
        default="auto", description="Lines for people or JSON; auto: JSON where systemd's journal reads them."
    )

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level shown."
    )
