"""`edge-agent subscribe`: results or events as they come, from any machine."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import typer

from edge.cli.options import with_settings
from edge.config import Settings


def subscribe(
    settings: Settings,
    *,
    stream: str | None = typer.Option(None, "--stream", metavar="ID", help="Only this stream."),
    of_node: str | None = typer.Option(
        None, "--node", metavar="ID", help="Only this agent's. Default: every agent's."
    ),
    events: bool = typer.Option(
        False, "--events", help="Show events (what began, goes on, is over) instead of results."
    ),
    json_lines: bool = typer.Option(False, "--json", help="One JSON object a line, as it was published."),
    count: int = typer.Option(
        0, "--count", metavar="N", min=0, help="End after so many messages; 0 never ends."
    ),
    timeout_s: float = typer.Option(
        0.0,
        "--timeout-s",
        metavar="X",
        min=0.0,
        help="End with exit code 1 after so long without a message; 0 never.",
    ),
) -> None:
    """Show results, or events, from the broker until Ctrl-C."""
    from edge.cli import logs
    from edge.cli.run import Stop
    from edge.cli.show import event_line, line
    from edge.errors import EventError, ResultError
    from edge.events import Event
    from edge.mqtt_link import MqttLink
    from edge.names import is_name
    from edge.settings import ConfigError
    from edge.topics import results_filter
    from edge.types import Result

    for name, value in (("--stream", stream), ("--node", of_node)):
        if value is not None and not is_name(value):
            raise ConfigError(f"{name} {value!r}: use 1 to 64 of A-Z a-z 0-9 _ -", key=name)
    logs.set_up(settings.log.level, settings.log.format)
    stop, over = Stop(), threading.Event()
    stop.install()
    seen, heard = 0, time.monotonic()
    what, leaf = ("an event", "event") if events else ("a result", "result")

    def show(message: Any) -> None:
        nonlocal seen, heard
        if over.is_set():
            return
        try:
            if events:
                shown = event_line(Event.from_json(message.payload))
            else:
                shown = line(Result.from_json(message.payload))
        except (ResultError, EventError) as error:
            typer.echo(f"not {what} on {message.topic!a}: {error}", err=True)
            return
        try:
            typer.echo(message.payload.decode() if json_lines else shown)
        except BrokenPipeError:
            over.set()
            return
        seen, heard = seen + 1, time.monotonic()
        if count and seen >= count:
            over.set()

    link = MqttLink(
        settings.mqtt,
        f"{settings.node.base}-subscribe-{uuid.uuid4().hex[:8]}",
        on_connected=lambda: link.subscribe([results_filter(settings.node.base, stream, of_node, leaf)]),
        on_message=show,
    )
    worker = threading.Thread(target=link.run, args=(over,), name="edge-subscribe", daemon=True)
    worker.start()
    timed_out = False
    while not (stop.asked or over.is_set() or timed_out):
        time.sleep(0.1)
        timed_out = bool(timeout_s) and time.monotonic() - heard > timeout_s
    over.set()
    worker.join(3.0)
    if timed_out:
        typer.echo(f"error: no {leaf} within {timeout_s:g} s{_why(link)}", err=True)
        raise typer.Exit(1)


def _why(link: Any) -> str:
    return f" ({link.place}: {link.last_error})" if link.last_error else ""


def register(app: typer.Typer) -> None:
    app.command("subscribe")(
        with_settings(
            subscribe, lambda key: key.startswith(("mqtt.", "log.")) or key == "node.base", parts=False
        )
    )
