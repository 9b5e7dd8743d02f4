"""Who the agent is, and the broker it talks to."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from edge.config.fields import Name, Port, Seconds, Section
from edge.names import to_name


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
