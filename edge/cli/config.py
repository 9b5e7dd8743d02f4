"""`edge-agent schema`."""

from __future__ import annotations

import json
from enum import Enum
from importlib import resources

import typer


class What(str, Enum):
    """Schemas that are published."""

    config = "config"
    result = "result"
    event = "event"
    manifest = "manifest"


def schema(
    what: What = typer.Argument(
        What.config, help="The configuration file, a result, an event, or a bundle's manifest."
    ),
) -> None:
    """Print a JSON schema."""
    if what is What.config:
        from edge.config import config_schema

        text = json.dumps(config_schema(), indent=2)
    else:
        text = resources.files("edge.schemas").joinpath(f"{what.value}.json").read_text("utf-8").rstrip()
    typer.echo(text)


def register(app: typer.Typer) -> None:
    app.command("schema")(schema)
