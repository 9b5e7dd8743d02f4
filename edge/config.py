"""The agent's settings: what exists, its default, its unit and its limits. Pure data; loading is in settings.py.

A setting's dotted path (`mqtt.port`, `source.0.baud`) names it everywhere: in TOML, as the environment variable
`WAVEWALL_MQTT_PORT`, as the flag `--mqtt-port` (lists: `--source`, `--sink`, `--set source.0.baud=9600`) and in
error messages. The JSON schema that `edge-agent schema` prints is generated from these models.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from edge.names import NAME_PATTERN, to_name

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def _split(value: Any) -> Any:
    """`a+b` -> (a, b): how a list is written in a flag or an environment variable."""
    return tuple(part for part in value.split("+") if part) if isinstance(value, str) else value


Names = Annotated[tuple[Name, ...], BeforeValidator(_split)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_split)]


def _pairs(value: Any) -> Any:
    """`a=0.6+b=0.8` -> {"a": "0.6", "b": "0.8"}: how a table of numbers is written in a flag or the environment."""
    if not isinstance(value, str):
        return value
    found = {}
    for part in value.split("+"):
        key, equals, number = part.rpartition("=")
        if not equals:
            raise ValueError(f"{part!r} is not LABEL=NUMBER")
        found[key] = number
    return found


Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[dict[str, Share], BeforeValidator(_pairs)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 365)]
NotNegative = Annotated[float, Field(ge=0, le=86_400 * 365)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """One table of the file: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, validate_default=False)


class NodeSettings(Section):
    """Who this agent is on the broker."""

    id: Name = Field(
        default_factory=lambda: to_name(socket.gethostname(), "gateway"),
        description="Name of this agent, one level of its topics; unique on the broker. Default: the host name.",
    )
    role: Literal["agent", "cutter", "classifier"] = Field(
        default="agent",
        description="agent: all in one. Past one machine, a cutter sends windows, a classifier answers them.",
    )
    base: Name = Field(default="wavewall", description="First level of every topic.")
    state_dir: Path | None = Field(
        default=None,
        description="Folder for what must outlast a restart (counters against replay). "
        "Default: STATE_DIRECTORY of systemd, else ~/.local/state/wavewall.",
    )


class MqttSettings(Section):
    """The broker, for samples in and results out."""

    host: str = Field(default="localhost", min_length=1, description="Broker's host name or address.")
    port: Port = Field(default=1883, description="Broker's TCP port. With TLS and no port given, 8883.")
    tls: bool = Field(default=False, description="Encrypt, and check the broker's certificate and host name.")
    tls_version: Literal["1.2", "1.3"] = Field(default="1.2", description="Least version of TLS.")
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that may vouch for the broker. Default: the system's.",
    )
    cert_file: Path | None = Field(
        default=None, description="This agent's certificate (PEM), where the broker asks for one."
    )
    key_file: Path | None = Field(
        default=None, description="Its private key (PEM without a pass phrase), mode 0600."
    )
    transport: Literal["tcp", "websockets"] = Field(
        default="tcp", description="WebSockets, with or without TLS, pass where only HTTP may."
    )
    ws_path: str = Field(default="/mqtt", pattern=r"^/[!-~]*$", description="Path of the WebSocket.")
    version: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version.")
    username: str | None = Field(default=None, description="User name, if the broker asks for one.")
    password: SecretStr | None = Field(
        default=None,
        description="Password. Better: password_file, or the environment variable WAVEWALL_MQTT_PASSWORD.",
        json_schema_extra={"flag": False},  # other users of the machine can read a command line
    )
    password_file: Path | None = Field(
        default=None, description="File whose first line is the password; mode 0600."
    )
    keepalive_s: int = Field(
        default=30, ge=5, le=3600, description="A dead connection is noticed within twice this."
    )
    connect_timeout_s: Seconds = Field(
        default=3.0, description="Longest wait for the broker to accept a connection."
    )
    reconnect_min_s: Seconds = Field(
        default=0.5, description="First pause before connecting again; it doubles."
    )
    reconnect_max_s: Seconds = Field(default=30.0, description="Longest pause before connecting again.")
    session_expiry_s: int = Field(
        default=86_400,
        ge=0,
        le=0xFFFFFFFF,
        description="How long the broker keeps sample messages for an absent agent.",
    )
    receive_maximum: int = Field(
        default=200,
        ge=1,
        le=65535,
        description="Most sample messages that wait for our acknowledgement (MQTT 5).",
    )
    max_packet_bytes: int = Field(
        default=64 << 20,
        ge=1 << 16,
        le=268_435_455,
        description="Larger packets the broker must not send at all (MQTT 5).",
    )
    ack_timeout_s: Seconds = Field(
        default=10.0, description="A result not acknowledged by then is tried again."
    )

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        if any(c in "@/" or c.isspace() for c in host):
            raise ValueError("is no host name; user, password and port are settings of their own")
        return host

    @model_validator(mode="after")
    def _tls_makes_sense(self) -> MqttSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; set both")
        if not self.tls:
            for key in ("tls_version", "ca_file", "cert_file"):
                if key in self.model_fields_set and getattr(self, key) is not None:
                    raise ValueError(f"{key} is set, but tls is off; set tls = true")
        elif "port" not in self.model_fields_set:
            object.__setattr__(self, "port", 8883)
        return self


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


class MqttSink(Section):
    """Results on `<base>/<node>/stream/<id>/result`, events on `.../event`."""

    kind: Literal["mqtt"] = "mqtt"
    last: bool = Field(
        default=True, description="Also keep each stream's latest result, retained, on `last`."
    )


Holds = Literal["results", "events", "all"]
HOLDS: Any = Field(default="results", description="What is written; each line's `schema` tells which it is.")


class FileSink(Section):
    """Results appended to a file, one JSON object a line."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="The file; its folder must exist.")
    max_mb: int = Field(
        default=0,
        ge=0,
        le=1 << 20,
        description="A file of so many MiB becomes PATH.1, and the one before it goes; 0: never.",
    )
    keep_days: float = Field(
        default=0.0, ge=0, le=36_500, description="PATH.1 goes when it was last written so long ago; 0: never."
    )
    holds: Holds = HOLDS


class StdoutSink(Section):
    """Results on standard output, one JSON object a line."""

    kind: Literal["stdout"] = "stdout"
    holds: Holds = HOLDS


SourceSettings = Annotated[SerialSource | MqttSource | ReplaySource, Field(discriminator="kind")]
SinkSettings = Annotated[MqttSink | FileSink | StdoutSink, Field(discriminator="kind")]


class PipelineSettings(Section):
    """What lies between sources and sinks."""

    queue_blocks: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Sample blocks that wait; when full, sources wait (nothing is dropped).",
    )
    max_streams: int = Field(
        default=256, ge=1, le=100_000, description="Streams at once; samples of further ones are dropped."
    )
    stream_idle_s: Seconds = Field(default=3600.0, description="A stream silent for so long is forgotten.")
    silent_s: Seconds = Field(
        default=30.0,
        description="A stream silent for so long, and for three messages, is announced as offline.",
    )


Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,64}\*?$", min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_split)]


class OverloadSettings(Section):
    """What happens when windows come faster than they are judged (docs/overload.md)."""

    mode: Literal["wait", "stretch", "shed"] = Field(
        default="wait",
        description="wait: nothing is left out, latency grows. stretch: all but high-priority streams answer fewer "
        "windows. shed: low-priority streams answer none, then all but the high-priority ones.",
    )
    lag_s: Seconds = Field(default=1.0, description="Samples that wait longer than this are an overload.")
    recover_s: Seconds = Field(
        default=5.0, description="After so long with less than a quarter of lag_s, a step less is left out."
    )
    high: Patterns = Field(
        default=(), description="Streams that keep every window and go first; NAME or BEGINNING*."
    )
    low: Patterns = Field(default=(), description="Streams whose windows are shed first; NAME or BEGINNING*.")


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


class EventSettings(Section):
    """What people are told of: windows that agree become one event. All seconds are the signal's own."""

    labels: Texts = Field(
        default=(), description="Labels of the bundle whose appearance is an event. Default: none."
    )
    threshold: Share = Field(
        default=0.5, description="A window with this probability of the label speaks for it."
    )
    thresholds: Shares = Field(
        default_factory=dict,
        description="Instead, for single labels: { af = 0.6 }, in a flag af=0.6+other=0.8.",
    )
    hysteresis: Share = Field(
        default=0.1,
        description="An event goes on while the probability is no more than this below its threshold.",
    )
    k: int = Field(default=2, ge=1, le=8640, description="So many of the last n judged windows must agree.")
    n: int = Field(default=3, ge=1, le=8640, description="Windows that are looked at together.")
    min_s: NotNegative = Field(default=0.0, description="A label's event is told once it has lasted so long.")
    cooldown_s: NotNegative = Field(
        default=0.0, description="Windows within so long of an event's end start no other."
    )
    gap_s: Seconds = Field(
        default=300.0, description="An event ends when no window could be judged for so long."
    )
    update_s: NotNegative = Field(default=60.0, description="Least time between two updates of an event.")
    tamper: bool = Field(
        default=True, description="Suspect windows raise `tamper` events and the attack rate is watched."
    )
    tamper_k: int = Field(default=2, ge=1, le=8640, description="k for suspect windows.")
    tamper_n: int = Field(default=3, ge=1, le=8640, description="n for suspect windows.")
    clean_rate: OpenShare = Field(
        default=0.01, description="Share of clean windows that are suspect (edge-agent calibrate sets it up)."
    )
    attacked_rate: OpenShare = Field(
        default=0.2, description="Share of suspect windows that the attack-rate alarm is made to notice."
    )
    false_alarm_days: Seconds = Field(
        default=30.0,
        description="Mean time between false attack-rate alarms of one stream, in days of signal, at least.",
    )

    @model_validator(mode="after")
    def _rules_make_sense(self) -> EventSettings:
        for k, n, name in ((self.k, self.n, "k"), (self.tamper_k, self.tamper_n, "tamper_k")):
            if k > n:
                raise ValueError(f"{name} = {k} is above n = {n}: of {n} windows at most {n} can agree")
        if self.clean_rate >= self.attacked_rate:
            raise ValueError(
                f"clean_rate = {self.clean_rate:g} is not below attacked_rate = {self.attacked_rate:g}"
            )
        unknown = sorted(set(self.thresholds) - set(self.labels))
        if unknown:
            raise ValueError(f"thresholds names {', '.join(unknown)}, which is not among labels")
        return self


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


class Settings(Section):
    """All of an agent's settings."""

    node: NodeSettings = Field(default_factory=NodeSettings)
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    bundle: BundleSettings = Field(default_factory=BundleSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)
    source: tuple[SourceSettings, ...] = Field(
        default_factory=lambda: (MqttSource(),),
        min_length=1,
        max_length=64,
        description="Where samples come from.",
    )
    sink: tuple[SinkSettings, ...] = Field(
        default_factory=lambda: (MqttSink(),), min_length=1, max_length=16, description="Where results go."
    )
    pipeline: PipelineSettings = Field(default_factory=PipelineSettings)
    overload: OverloadSettings = Field(default_factory=OverloadSettings)
    events: EventSettings = Field(default_factory=EventSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    durability: DurabilitySettings = Field(default_factory=DurabilitySettings)
    chain: ChainSettings = Field(default_factory=ChainSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    requests: RequestSettings = Field(default_factory=RequestSettings)
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    homeassistant: HomeAssistantSettings = Field(default_factory=HomeAssistantSettings)
    log: LogSettings = Field(default_factory=LogSettings)


def config_schema() -> dict[str, Any]:
    """JSON schema of the configuration file."""
    schema = Settings.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edge-agent configuration",
        **schema,
    }
