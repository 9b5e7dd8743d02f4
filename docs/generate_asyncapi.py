"""The page that shows docs/asyncapi.yaml to people; the site makes it while it is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SPEC = Path(__file__).resolve().parent / "asyncapi.yaml"


def load() -> dict[str, Any]:
    """The document as plain values."""
    document: dict[str, Any] = yaml.safe_load(SPEC.read_text(encoding="utf-8"))
    return document


def page() -> str:
    """Markdown: a row a channel."""
    document = load()
    directions = {
        operation["channel"]["$ref"].rsplit("/", 1)[1]: operation["action"]
        for operation in document["operations"].values()
    }
    who = {"receive": "to the agent", "send": "from the agent"}
    lines = [
        "# AsyncAPI",
        "",
        "The same as [MQTT](mqtt.md), for machines: [asyncapi.yaml](asyncapi.yaml) (AsyncAPI 3.0) names every topic and "
        "payload, for generators of clients and for validation. A test holds it to what a running agent publishes.",
        "",
        "| Topic | Direction | Message | |",
        "|---|---|---|---|",
    ]
    for name, channel in document["channels"].items():
        messages = ", ".join(f"`{message}`" for message in channel["messages"])
        direction = who.get(directions.get(name, "send"), "")
        lines.append(f"| `{channel['address']}` | {direction} | {messages} | {channel['description']} |")
    return "\n".join(lines) + "\n"
