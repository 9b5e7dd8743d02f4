"""What leaves the agent: sinks with their spools, the connection to the broker, and the requests that come over it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge import config
from edge.build import make_runner
from edge.delivery.runner import SinkRunner
from edge.delivery.sinks.base import Sink
from edge.settings import ConfigError, suggestion
from edge.topics import STATE_OFFLINE

if TYPE_CHECKING:
    from edge.agent import Agent
    from edge.mqtt_link import MqttLink
    from edge.requests.service import Publish, RequestService

log = logging.getLogger("edge.agent")


@dataclass
class Outgoing:
    """`link` and `requests` only with a sink of kind mqtt."""

    runners: list[SinkRunner]
    link: MqttLink | None = None
    requests: RequestService | None = None


def make_outgoing(agent: Agent) -> Outgoing:
    """All sinks, connected to nothing yet. Raises ConfigError."""
    settings = agent.settings
    _check(settings)
    out = Outgoing([])
    for at, part in enumerate(settings.sink):
        runner = make_runner(
            _make_mqtt_sink(part, agent, out) if isinstance(part, config.MqttSink) else _make_sink(part, settings),
            settings.delivery,
            agent.metrics,
            agent.clock,
            getattr(part, "holds", "all"),
            None if agent.durability is None else agent.durability.spool(at),
        )
        out.runners.append(runner)
    return out


def _check(settings: config.Settings) -> None:
    mqtt = [part for part in settings.sink if isinstance(part, config.MqttSink)]
    if len(mqtt) > 1:
        raise ConfigError("two sinks of kind mqtt would publish each result twice; keep one", key="sink")
    if settings.homeassistant.discovery and not any(part.last for part in mqtt):
        raise ConfigError(
            "Home Assistant reads the topic `last`: add a sink of kind mqtt with last = true",
            key="homeassistant.discovery",
        )
    if settings.requests.enabled and not mqtt:
        raise ConfigError("requests come over a sink of kind mqtt; add one", key="requests.enabled")


def _make_sink(part: config.StdoutSink | config.FileSink, settings: config.Settings) -> Sink:
    from edge.delivery.sinks.lines import FileSink, StdoutSink

    if isinstance(part, config.StdoutSink):
        return StdoutSink()
    durable = settings.durability.folder is not None
    return FileSink(part.path, sync=durable, max_bytes=part.max_mb << 20, keep_s=part.keep_days * 86_400.0)


def _make_mqtt_sink(part: config.MqttSink, agent: Agent, out: Outgoing) -> Sink:
    from edge.delivery.sinks.mqtt import MqttSink
    from edge.mqtt_link import MqttLink
    from edge.mqtt_tls import tells_secret_in_plain

    settings, topics, announcer = agent.settings.mqtt, agent.topics, agent.announcer
    if tells_secret_in_plain(settings):
        log.warning("the broker's password goes over the network unencrypted; set mqtt.tls")

    def on_published(mid: int, code: int) -> None:
        sink.on_published(mid, code)
        announcer.on_published(mid, code)

    def on_connected() -> None:
        if requests is not None:
            link.subscribe(requests.filters)
        announcer.connected()

    requests = _make_requests(
        agent, lambda topic, payload, correlation: link.publish(topic, payload, qos=1, correlation=correlation)
    )
    link = MqttLink(
        settings,
        f"{topics.base}-{topics.node}-out",
        will=(topics.state, STATE_OFFLINE),
        on_connected=on_connected,
        on_message=None if requests is None else requests.on_message,
        on_published=on_published,
    )
    sink = MqttSink(
        link, topics, last=part.last, ack_timeout_s=settings.ack_timeout_s, clock=agent.clock.monotonic
    )
    out.link, out.requests = link, requests
    announcer.attach(link)
    return sink


def _make_requests(agent: Agent, publish: Publish) -> RequestService | None:
    wanted = agent.settings.requests
    if not wanted.enabled:
        return None
    from edge.requests.registry import Registry
    from edge.requests.service import RequestService
    from edge.requests.verbs import agent_verbs

    registry = Registry(agent_verbs(agent), wanted.verbs)
    for verb in wanted.verbs:
        if verb not in registry.names:
            says = f"requests.verbs: no verb {verb!r}{suggestion(verb, registry.names)}"
            raise ConfigError(says, key="requests.verbs")
    return RequestService(registry, wanted, agent.topics, publish, clock=agent.clock)
