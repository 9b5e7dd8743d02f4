"""`edge-agent cluster`: what the NATS servers keep for cutters and classifiers."""

from __future__ import annotations

import json

import typer

from edge.cli.options import with_settings
from edge.config import Settings

app = typer.Typer(
    help="Streams and consumer on the NATS servers of [cluster]; see docs/scale.md.", no_args_is_help=True
)


def init(settings: Settings) -> None:
    """Create the streams and the consumer, or bring them to the settings. Safe to run again."""
    import asyncio

    from edge.cluster import admin

    admin.nats_module()
    for line in asyncio.run(admin.init(settings)):
        typer.echo(line)


def status(settings: Settings, *, json_out: bool = typer.Option(False, "--json", help="As JSON.")) -> None:
    """Show lag, redeliveries and replicas."""
    import asyncio

    from edge.cluster import admin

    admin.nats_module()
    facts = asyncio.run(admin.status(settings))
    if json_out:
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(
        f"lag {facts['lag']} windows, {facts['unacknowledged']} with classifiers, {facts['redelivered']} delivered "
        f"again, {facts['classifiers_waiting']} classifiers idle"
    )
    for stream in facts["streams"]:
        typer.echo(
            f"{stream['name']}: {stream['messages']} messages, {stream['bytes']} bytes, "
            f"{stream['replicas']} replica(s), leader {stream['leader']}"
        )
        for peer in stream["followers"]:
            state = "offline" if peer["offline"] else "current" if peer["current"] else f"behind by {peer['lag']}"
            typer.echo(f"  {peer['name']}: {state}")


def _wanted(key: str) -> bool:
    return key.partition(".")[0] in ("cluster", "node")


def register(parent: typer.Typer) -> None:
    app.command("init")(with_settings(init, _wanted, parts=False))
    app.command("status")(with_settings(status, _wanted, parts=False))
    parent.add_typer(app, name="cluster")
