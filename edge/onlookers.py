"""Those who look on while an agent works: the live store, the dashboard and the exporter of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import config
from edge.metrics import Histogram
from edge.settings import ConfigError

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from edge.agent import Agent
    from edge.dashboard.server import Dashboard
    from edge.live.store import LiveStore


def make_live(settings: config.Settings, *, watched: bool) -> LiveStore | None:
    """The last minutes of every stream, where somebody looks at them."""
    if not watched and settings.dashboard.listen is None:
        return None
    from edge.live.store import LiveStore

    return LiveStore(
        max_streams=settings.pipeline.max_streams,
        keep_s=settings.dashboard.history_s,
        keep_windows=settings.dashboard.listen is not None,
    )


def make_dashboard(agent: Agent, live: LiveStore | None, *, events: bool) -> Dashboard | None:
    """The dashboard over `live`, where it is wanted; `events`: the agent decides events. Raises ConfigError."""
    settings = agent.settings
    if live is None or settings.dashboard.listen is None:
        return None
    from edge.dashboard.recorded import RecordedSamples
    from edge.dashboard.server import Dashboard
    from edge.dashboard.subject import Subject

    folder = settings.durability.folder if settings.durability.record else None
    subject = Subject(
        node=settings.node.id,
        boot_id=agent.boot_id,
        store=live,
        info=agent.info,
        health=agent.health,
        bundle=lambda: agent.engine.bundle,
        silent_s=settings.pipeline.silent_s,
        events=events,
        update=agent.updater.facts,
        chain=lambda: None if agent.outlet.chain is None else agent.outlet.chain.facts(),
        recorded=None if folder is None else RecordedSamples(folder / "samples"),
    )
    return Dashboard(settings.dashboard, subject)


def make_exporter(agent: Agent, latency: Histogram | None) -> WSGIServer | None:
    """The exporter of what Prometheus scrapes, where it is wanted. Raises ConfigError."""
    settings = agent.settings.metrics
    if latency is None or not settings.enabled:
        return None
    try:
        from edge.prometheus import AgentCollector, make_exporter
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"metrics.enabled needs {error.name}: pip install 'wavewall[metrics]'", key="metrics.enabled"
        ) from error
    collector = AgentCollector(
        agent.metrics, latency, agent.health, lambda: agent.engine.bundle.manifest.ref
    )
    return make_exporter(settings.host, settings.port, collector)
