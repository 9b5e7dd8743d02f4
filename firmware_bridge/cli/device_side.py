"""``firmware-bridge keygen`` and ``export-library``: what goes into a device."""

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


def export_library(
    folder: Annotated[Path, typer.Argument(help="New folder, such as ~/Arduino/libraries/wavewall.")],
    *,
    kind: Annotated[
        str, typer.Option(help="arduino, or platformio (an ESP-IDF component, too).")
    ] = "arduino",
) -> None:
    """Write the C library so that the Arduino IDE, PlatformIO or ESP-IDF finds it."""
    from firmware_bridge.export_library import export_library as export

    written = export(folder, kind)
    typer.echo(
        f"{folder}: {len(written)} files; include <wavewall.h>, which explains itself from top to bottom"
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(keygen)
    app.command("export-library")(export_library)
