"""The command ``firmware-bridge``. What a command needs is imported when it runs, so that --help is quick."""

from __future__ import annotations

import sys

import typer

from firmware_bridge.cli import capture, device_side, live, ports, simulate

app = typer.Typer(
    name="firmware-bridge",
    help="From a microcontroller's pin to the agent: list ports, watch, record and forward a device, simulate one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ports.register(app)
live.register(app)
simulate.register(app)
capture.register(app)
device_side.register(app)


def main() -> None:
    """Entry point: a user's mistake ends in one sentence, never in a traceback."""
    from firmware_bridge.errors import FirmwareBridgeError

    try:
        app()
    except FirmwareBridgeError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # `firmware-bridge monitor | head`: not an error, and nothing more may be written.
        sys.stderr.close()
        sys.exit(0)
