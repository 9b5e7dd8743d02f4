"""`edge-agent ports`."""

from __future__ import annotations

import dataclasses
import json

import typer


def ports(json_out: bool = typer.Option(False, "--json", help="A JSON array.")) -> None:
    """List serial ports, those on USB first, and what to do where one cannot be opened."""
    from firmware_bridge.ports import list_ports

    found = list_ports()
    if json_out:
        typer.echo(json.dumps([dataclasses.asdict(port) for port in found], indent=2))
        return
    if not found:
        typer.echo("no serial ports; plug a device in (pseudo-terminals are not listed)")
    for port in found:
        facts = [port.device, port.usb_id, port.likely or port.description, port.hint]
        typer.echo("  ".join(fact for fact in facts if fact))


def register(app: typer.Typer) -> None:
    app.command("ports")(ports)
