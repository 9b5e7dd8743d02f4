"""The verbs that every agent has. What another part offers is added here, so that one list says all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from edge.requests.registry import Arguments, Verb

if TYPE_CHECKING:
    from edge.agent import Agent


class LogLevel(Arguments):
    level: Literal["debug", "info", "warning", "error"]


def agent_verbs(agent: Agent) -> list[Verb]:
    """Verbs over this agent."""

    def log_level(arguments: LogLevel) -> Mapping[str, object]:
        for name in ("edge", "firmware_bridge"):
            logging.getLogger(name).setLevel(arguments.level.upper())
        return {"level": arguments.level}

    return [
        Verb("ping", "Whether the agent is there.", lambda _: {}),
        Verb("info", "What `info` says.", lambda _: agent.info()),
        Verb("health", "What `health` would say now.", lambda _: agent.health()),
        Verb("streams", "Streams that are heard now.", lambda _: {"online": agent.online()}),
        Verb(
            "log-level", "Set the least level of messages, until the next start.", log_level, LogLevel, True
        ),
    ]
