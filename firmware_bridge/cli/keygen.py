"""``firmware-bridge keygen``: what a device needs from the gateway's side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keygen(
    path: Annotated[Path, typer.Argument(help="File to make; name it after the device: DEVICE_ID.key.")],
) -> None:
    """Make a key for one device: 32 hexadecimal digits in a file of mode 0600."""
    from firmware_bridge.auth import write_key

    write_key(path)
    typer.echo(f"{path}: a new key; put the same digits into the device")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(keygen)
