"""Where samples come from: one class for each kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.config.fields import Name, Names, Seconds, Section, Texts


class SerialSource(Section):
    """A device on a serial port, USB or pseudo-terminal."""

    kind: Literal["serial"] = "serial"
    port: str = Field(
        default="auto",
        min_length=1,
        description="Device path, serial:NUMBER (of the USB device), or auto: the only one.",
    )
    baud: int = Field(default=115_200, ge=50, le=12_000_000, description="Bits per second.")
    stream: Name | None = Field(
        default=None,
        description="Stream id. Default: the device's id in HELLO; with CSV lines, the port's name.",
    )
    dialect: Literal["auto", "binary", "csv"] = Field(
        default="auto", description="Frames or lines of numbers."
    )
    rate_hz: float | None = Field(
        default=None, gt=0, le=1e6, description="Sampling rate of CSV lines, which carry none."
    )
    channels: Names = Field(default=(), description="Channel names of CSV columns. Default: the header's.")
    units: str | None = Field(
        default=None, description="Unit of CSV values (uV, mV, V, 1). Default: the bundle's."
    )
    silence_s: Seconds = Field(
        default=10.0, description="A port that yields nothing for so long is opened again."
    )
    key_file: Path | None = Field(
        default=None,
        description="Key of the device on this port, mode 0600 (firmware-bridge keygen): frames are checked, "
        "and what is sent is tagged.",
    )
    key_folder: Path | None = Field(
        default=None, description="Instead: a folder of keys, one DEVICE_ID.key for each device."
    )
    require_tag: bool = Field(
        default=True,
        description="With a key: frames without a tag are dropped. Off only while devices are being changed over.",
    )
    verdicts: bool = Field(
        default=True,
        description="Tell the device what was thought of its samples, where it sends frames and obeys commands.",
    )
    verdict_every_s: Seconds = Field(
        default=1.0,
        description="Least time between two verdicts to the device; one with another label or status goes at once.",
    )

    @model_validator(mode="after")
    def _keys_make_sense(self) -> SerialSource:
        if self.key_file is not None and self.key_folder is not None:
            raise ValueError("key_file and key_folder are two ways to say the same; keep one")
        if self.key_file is None and self.key_folder is None:
            if self.require_tag and "require_tag" in self.model_fields_set:
                raise ValueError("require_tag needs a key to check with: set key_file or key_folder")
        elif self.dialect == "csv":
            raise ValueError("lines of numbers carry no tag: a source with a key has dialect binary or auto")
        return self


class MqttSource(Section):
    """Sample messages on `<base>/<node>/stream/<id>/samples`."""

    kind: Literal["mqtt"] = "mqtt"
    streams: Names = Field(default=(), description="Stream ids to take. Default: all.")
    format: Literal["auto", "json", "senml", "binary"] = Field(default="auto", description="Payload format.")
    max_payload_bytes: int = Field(
        default=1 << 20,
        ge=64,
        le=64 << 20,
        description="Larger payloads are dropped: 1 MiB is a minute of JSON at 1 kHz.",
    )
    quota_speed: float = Field(
        default=100.0,
        ge=0,
        le=1e6,
        description="A stream may send so many times real time on end; what is more is dropped, so that a flood on it "
        "does not keep the others waiting. A message counts for 0.05 s at least, and 200 kB for a second. 0: no limit.",
    )
    quota_burst_s: Seconds | None = Field(
        default=None,
        description="Seconds of signal that a stream may send at once. Default: mqtt.session_expiry_s, what the broker "
        "may have kept for an agent that was away.",
    )
    silence_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="Connected, streams open, and yet no message for so long (and for ten of their samples): told in "
        "`health`, and connected anew. 0: never.",
    )
    aligned: bool = Field(
        default=False,
        description="Windows start on multiples of the hop since 1970: for live streams, whose results then keep "
        "their ids over a restart of the agent. Off: the first window starts at a stream's first sample.",
    )
    gap_tolerance_s: float = Field(
        default=0.02,
        ge=0,
        le=10,
        description="A t0 within this of the last message's end continues it without a gap.",
    )


class ReplaySource(Section):
    """Records from a file, a zip or a folder, each as one stream."""

    kind: Literal["replay"] = "replay"
    recording: Path = Field(description="WFDB, EDF, CSV, npz, UCR .tsv, or a zip or folder of them.")
    records: Texts = Field(default=(), description="Names of the records to play. Default: all.")
    stream: Name | None = Field(
        default=None, description="Stream id, where one record is played. Default: its name."
    )
    speed: float = Field(default=0.0, ge=0, le=1e6, description="Times real time; 0 is as fast as possible.")
    rate_hz: float | None = Field(
        default=None, gt=0, le=1e6, description="Sampling rate, for files that do not say it."
    )


SourceSettings = Annotated[SerialSource | MqttSource | ReplaySource, Field(discriminator="kind")]
