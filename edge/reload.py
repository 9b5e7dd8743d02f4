"""New settings for a running agent (SIGHUP): what can change at once does, the rest is named and waits for a restart.

Nothing is touched before all of the new settings are known to be good; a bad file leaves the agent as it was, with the
reason in `event` and `health`. Streams, their windows and the broker's session are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.build import make_source
from edge.config import MqttSource, Settings
from edge.errors import EdgeError
from edge.settings import ConfigError

if TYPE_CHECKING:
    from edge.agent import Agent
    from edge.sources.base import Source

log = logging.getLogger("edge.reload")

#: Sections that change at once; all others count from the next start.
LIVE = ("bundle", "model", "source", "health", "log")


def reload(agent: Agent, load: Callable[[], Settings]) -> bool:
    """Load the settings anew and use them; False where they are refused, and the old ones stay."""
    try:
        settings = load()
        changed = [name for name in Settings.model_fields if getattr(settings, name) != getattr(agent.settings, name)]
        later = [name for name in changed if name not in LIVE]
        now = agent.settings.model_copy(update={name: getattr(settings, name) for name in LIVE})
        _apply(agent, now)
    except EdgeError as error:
        agent.config_refused = f"refused, the old one is kept: {error}"
        log.error("configuration %s", agent.config_refused)
        agent.event({"kind": "config", "outcome": "refused", "reason": str(error)})
        return False
    agent.config_refused = f"{', '.join(later)}: from the next start on" if later else ""
    log.info("configuration reloaded: %s", ", ".join(changed) or "nothing changed")
    if later:
        log.warning("only from the next start on: %s", ", ".join(later))
    agent.event({"kind": "config", "outcome": "reloaded", "reason": "", "changed": changed, "at_next_start": later})
    return True


def _apply(agent: Agent, settings: Settings) -> None:
    sources = _sources(agent, settings)
    agent.updater.apply(settings)
    agent.settings = settings
    for name in ("edge", "firmware_bridge"):
        logging.getLogger(name).setLevel(settings.log.level.upper())
    if sources != agent.sources:
        agent.intake.replace(sources)


def _sources(agent: Agent, settings: Settings) -> list[Source]:
    """The sources of the new settings: running ones where nothing changed, new ones elsewhere. Raises ConfigError."""
    if [part.kind for part in settings.source].count("mqtt") > 1:
        raise ConfigError("two sources of kind mqtt would take each sample twice; name all streams in one")
    free = list(zip(agent.settings.source, agent.sources, strict=True))
    out: list[Source | None] = []
    for part in settings.source:
        same = next((pair for pair in free if pair[0] == part), None)
        if same is not None:
            free.remove(same)
        out.append(same[1] if same is not None else None)
    made: list[Source] = []
    for at, (part, source) in enumerate(zip(settings.source, out, strict=True)):
        made.append(source if source is not None else _make(agent, settings, at, part, [old for _, old in free]))
    return made


def _make(agent: Agent, settings: Settings, at: int, part: object, gone: list[Source]) -> Source:
    spec = agent.engine.bundle.manifest.input
    try:
        source = make_source(settings.source[at], settings, spec, agent.metrics, agent.clock, agent.serial)
    except EdgeError as error:
        raise ConfigError(f"source.{at}: {error}", key=f"source.{at}") from error
    if isinstance(part, MqttSource):
        from edge.sources.mqtt import MqttSamples

        for old in gone:
            if isinstance(old, MqttSamples) and isinstance(source, MqttSamples):
                source.follow(old)
    return source
