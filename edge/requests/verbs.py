"""The verbs that every agent has. What another part offers is added here, so that one list says all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edge.requests.registry import Arguments, Verb

if TYPE_CHECKING:
    from edge.agent import Agent


class LogLevel(Arguments):
    level: Literal["debug", "info", "warning", "error"]


class Activate(Arguments):
    model: str = Field(min_length=1, max_length=200)
    skip_canary: bool = False


class Install(Arguments):
    file: str = Field(pattern=r"^[A-Za-z0-9_@.+-]{1,128}\.bundle$")


def agent_verbs(agent: Agent) -> list[Verb]:
    """Verbs over this agent."""

    def log_level(arguments: LogLevel) -> Mapping[str, object]:
        for name in ("edge", "firmware_bridge"):
            logging.getLogger(name).setLevel(arguments.level.upper())
        return {"level": arguments.level}

    return [
        *model_verbs(agent),
        Verb("ping", "Whether the agent is there.", lambda _: {}),
        Verb("info", "What `info` says.", lambda _: agent.info()),
        Verb("health", "What `health` would say now.", lambda _: agent.health()),
        Verb("streams", "Streams that are heard now.", lambda _: {"online": agent.online()}),
        Verb(
            "log-level", "Set the least level of messages, until the next start.", log_level, LogLevel, True
        ),
    ]


def model_verbs(agent: Agent) -> list[Verb]:
    """Bundles side by side, as `edge-agent model` has them."""
    updater = agent.updater

    def activate(arguments: Activate) -> Mapping[str, object]:
        return {"doing": updater.ask({"verb": "activate", "by": "a request over MQTT", **arguments.model_dump()})}

    def rollback(_: Arguments) -> Mapping[str, object]:
        return {"doing": updater.ask({"verb": "rollback", "by": "a request over MQTT"})}

    def install(arguments: Install) -> Mapping[str, object]:
        return {"file": updater.install_incoming(arguments.file)}

    return [
        Verb("model-list", "Installed bundles and the last outcome.", lambda _: updater.listing()),
        Verb("model-install", "Install a file of the folder `incoming` beside the models.", install, Install, True),
        Verb("model-activate", "Change to an installed bundle; the outcome comes as event.", activate, Activate, True),
        Verb("model-rollback", "Go back to the bundle before.", rollback, Arguments, True),
    ]
