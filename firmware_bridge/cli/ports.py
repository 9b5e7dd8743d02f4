"""``firmware-bridge ports``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def ports(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array.")] = False,
) -> None:
    """List serial ports, those on USB first: ids, what is likely there, and what to do where access is missing."""
    from firmware_bridge.port_list import list_ports

    found = list_ports()
    if as_json:
        typer.echo(json.dumps([asdict(port) | {"usb_id": port.usb_id} for port in found], indent=1))
        return
    if not found:
        typer.echo("no serial ports; plug a device in (pseudo-terminals are not listed, but can be named)")
    for port in found:
        facts = [port.device, port.usb_id, port.likely or port.description]
        if port.serial_number:
            facts.append(f"serial:{port.serial_number}")
        typer.echo("  ".join(fact for fact in facts if fact))
        if port.hint:
            typer.echo(f"    {port.hint}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ports)
