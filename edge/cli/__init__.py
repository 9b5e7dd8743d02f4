"""The command `edge-agent`. Each command lives in a file of its own and imports what it needs when it runs."""

from __future__ import annotations

import os
import re
import sys

# Looking for plugins of pydantic reads the metadata of every installed package.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# numpy's BLAS would start a thread a core, and nothing here multiplies matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

DEFAULT_DASHBOARD = "127.0.0.1:8787"


def no_commands() -> typer.Typer:
    """`edge-agent`, to which commands are added."""
    return typer.Typer(
        name="edge-agent",
        help="Reads sensor samples, classifies windows of them with a bundle that holds against tampering, and "
        "publishes verdicts.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def only_run() -> typer.Typer:
    """`edge-agent run` alone: it stays, and the other commands would take 2.6 MB of a small board for as long."""
    from edge.cli import run

    app = no_commands()
    app.callback()(lambda: None)  # or typer would take its only command for all there is
    run.register(app)
    return app


def main() -> None:
    """Entry point: a user's mistake ends in one sentence, never in a traceback."""
    from edge.errors import EdgeError
    from edge.settings import ConfigError
    from firmware_bridge.errors import FirmwareBridgeError

    words = bare_dashboard(sys.argv[1:])
    try:
        if words[:1] == ["run"]:
            only_run()(args=words)
        else:
            from edge.cli.commands import app

            app(args=words)
    except ConfigError as error:
        sys.exit(_say(error, 2))
    except (EdgeError, FirmwareBridgeError) as error:
        sys.exit(_say(error, 1))
    except BrokenPipeError:
        # `edge-agent replay ... | head`: not an error, and nothing more may be written.
        sys.stderr.close()
        sys.exit(0)


def bare_dashboard(words: list[str]) -> list[str]:
    """`--dashboard` alone means its usual address: an option with a value that may be left out, which typer has not."""
    out = []
    for at, word in enumerate(words):
        out.append(word)
        following = words[at + 1] if at + 1 < len(words) else ""
        if word == "--dashboard" and not re.fullmatch(r"(\[[^]]*\]|[^:/=\s]*):\d+", following):
            out[-1] = f"--dashboard={DEFAULT_DASHBOARD}"
    return out


def _say(error: Exception, code: int) -> int:
    typer.echo(f"error: {error}", err=True)
    return code
