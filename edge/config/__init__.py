"""The agent's settings: what exists, its default, its unit and its limits. Pure data; loading is in settings.py.

A setting's dotted path (`mqtt.port`, `source.0.baud`) names it everywhere: in TOML, as the environment variable
`WAVEWALL_MQTT_PORT`, as the flag `--mqtt-port` (lists: `--source`, `--sink`, `--set source.0.baud=9600`) and in
error messages. The JSON schema that `edge-agent schema` prints is generated from these models.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from edge.config.cluster import ClusterSettings
from edge.config.delivery import ChainSettings, DeliverySettings, DurabilitySettings
from edge.config.fields import Section
from edge.config.models import BundleSettings, ModelSettings
from edge.config.node import MqttSettings, NodeSettings
from edge.config.pipeline import EventSettings, OverloadSettings, PipelineSettings
from edge.config.reports import (
    DashboardSettings,
    HealthSettings,
    HomeAssistantSettings,
    LogSettings,
    MetricsSettings,
    RequestSettings,
)
from edge.config.sinks import FileSink, MqttSink, SinkSettings, StdoutSink
from edge.config.sources import MqttSource, ReplaySource, SerialSource, SourceSettings

__all__ = [
    "BundleSettings",
    "ChainSettings",
    "ClusterSettings",
    "DashboardSettings",
    "DeliverySettings",
    "DurabilitySettings",
    "EventSettings",
    "FileSink",
    "HealthSettings",
    "HomeAssistantSettings",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "MqttSettings",
    "MqttSink",
    "MqttSource",
    "NodeSettings",
    "OverloadSettings",
    "PipelineSettings",
    "ReplaySource",
    "RequestSettings",
    "Section",
    "SerialSource",
    "Settings",
    "SinkSettings",
    "SourceSettings",
    "StdoutSink",
    "config_schema",
]


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
