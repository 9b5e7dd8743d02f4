"""`edge-agent model`: bundles side by side, and which one answers."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import typer

from edge.cli.options import with_settings
from edge.config import Settings

if TYPE_CHECKING:
    from edge.models.folder import ModelFolder

POLL_S = 0.2
# An agent looks for requests once a second.
TAKEN_WITHIN_S = 5.0
_TEXTS = ("id", "stage", "text")
_DONE = ("activated", "refused")

app = typer.Typer(
    help="Installed bundles, and which one answers. The agent looks at the same folder; nothing is interrupted.",
    no_args_is_help=True,
)


def list_models(
    settings: Settings, *, json_out: bool = typer.Option(False, "--json", help="As JSON.")
) -> None:
    """List installed bundles and what became of the last activation."""
    from dataclasses import asdict

    from edge.models.service import model_folder

    folder = model_folder(settings)
    have, state = folder.installed(), folder.state()
    if json_out:
        facts = {"folder": str(folder.path), "installed": [asdict(one) for one in have], **state}
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(f"{folder.path}: {len(have)} installed")
    for one in have:
        role = "active" if one.active else "previous" if one.previous else ""
        typer.echo(f"{role:<9} {one.ref:<32} {one.sha}  {one.bytes} bytes")
    if not any(one.active for one in have):
        typer.echo(
            f"none is active: the configured bundle answers ({settings.bundle.path or settings.bundle.name})"
        )
    last = state.get("last")
    if isinstance(last, dict):
        typer.echo(f"last: {last.get('file')} {last.get('outcome')} at {last.get('t')}: {last.get('reason')}")


def install(
    settings: Settings,
    *,
    file: str = typer.Argument(..., metavar="FILE", help="Bundle file, or the name of a shipped bundle."),
) -> None:
    """Check a bundle (hashes, signature, golden vectors) and put it beside the others; nothing else changes."""
    from edge.build import load_file, trusted_key
    from edge.bundle import resolve_bundle
    from edge.models.folder import read_file
    from edge.models.service import model_folder

    key, path = trusted_key(settings.bundle), resolve_bundle(file)
    load_file(path, settings.bundle)
    folder = model_folder(settings)
    name = folder.install(read_file(path), trusted_key=key, keep=settings.model.keep)
    typer.echo(f"installed {name}; activate it with: edge-agent model activate {name[:-20]}")


def pull(
    settings: Settings,
    *,
    url: str = typer.Argument(
        ...,
        metavar="URL",
        help="A bundle, or a rollout file (.json) that says which one and for how many percent.",
    ),
    and_activate: bool = typer.Option(
        False, "--activate", help="And let the agent change to it, as activate does."
    ),
) -> None:
    """Fetch a signed bundle over HTTP when it changed and it is this node's turn, and install it."""
    from edge.build import load_file, trusted_key
    from edge.models import pull as puller
    from edge.models.folder import ModelError, read_file
    from edge.models.service import model_folder

    key, folder = trusted_key(settings.bundle), model_folder(settings)
    if key is None:
        raise ModelError("set bundle.key first: what comes over a network is installed only if it is signed")
    rollout = puller.read_rollout(url)
    at = puller.turn(settings.node.id, rollout.bundle_url)
    if at >= rollout.percent:
        typer.echo(
            f"not this node's turn: {settings.node.id} is at {at:.1f} %, the rollout at {rollout.percent:g} %"
        )
        return
    came = puller.fetch(rollout.bundle_url, folder.path / "pull")
    if came is None:
        typer.echo(f"nothing new at {rollout.bundle_url}")
        return
    path, etag = came
    try:
        load_file(path, settings.bundle)
        name = folder.install(read_file(path), trusted_key=key, keep=settings.model.keep)
        puller.done(rollout.bundle_url, folder.path / "pull", etag)
    finally:
        path.unlink(missing_ok=True)
    typer.echo(f"installed {name} from {rollout.bundle_url}")
    if and_activate:
        _ask(folder, {"verb": "activate", "model": name, "skip_canary": False}, 0.0)


def activate(
    settings: Settings,
    *,
    model: str = typer.Argument(..., metavar="MODEL", help="Name, name@version or hash of an installed one."),
    skip_canary: bool = typer.Option(
        False, "--skip-canary", help="Do not wait for live windows to compare on."
    ),
    wait_s: float = typer.Option(
        3600.0, "--wait-s", metavar="X", min=0.0, help="Wait so long for the outcome; 0 does not wait."
    ),
) -> None:
    """Let the agent change to an installed bundle: checks, a canary on live windows, the switch; or say why not."""
    from edge.models.service import model_folder

    folder = model_folder(settings)
    file = folder.find(model)
    _ask(folder, {"verb": "activate", "model": file, "skip_canary": skip_canary}, wait_s)


def rollback(
    settings: Settings,
    *,
    wait_s: float = typer.Option(
        60.0, "--wait-s", metavar="X", min=0.0, help="Wait so long for the outcome."
    ),
) -> None:
    """Let the agent go back to the bundle before."""
    from edge.models.folder import PREVIOUS, ModelError
    from edge.models.service import model_folder

    folder = model_folder(settings)
    if folder.target(PREVIOUS) is None:
        raise ModelError(f"{folder.path}: there is no previous model to go back to")
    _ask(folder, {"verb": "rollback"}, wait_s)


def _ask(folder: ModelFolder, wanted: dict[str, Any], wait_s: float) -> None:
    from edge.models.folder import ModelError

    job = uuid.uuid4().hex
    folder.ask({**wanted, "id": job, "by": "edge-agent model"})
    began, said = time.monotonic(), ""
    while time.monotonic() - began < wait_s:
        progress = folder.progress()
        if progress.get("id") == job:
            stage, text = str(progress.get("stage")), str(progress.get("text"))
            if stage == "refused":
                raise ModelError(f"not activated: {text}")
            if stage != said:
                measured = [f"{name} {value}" for name, value in progress.items() if name not in _TEXTS]
                typer.echo(f"{stage}: {text}" + (f" ({', '.join(measured)})" if measured else ""))
                said = stage
            if stage in _DONE:
                return
        elif time.monotonic() - began > TAKEN_WITHIN_S:
            typer.echo("no agent has taken this up yet: the next one that starts on this folder will")
            return
        time.sleep(POLL_S)
    typer.echo("asked; the outcome is in health, in event, and in: edge-agent model list")


def _wanted(key: str) -> bool:
    return key.partition(".")[0] in ("model", "bundle", "node")


def register(parent: typer.Typer) -> None:
    for name, command in (
        ("list", list_models),
        ("install", install),
        ("pull", pull),
        ("activate", activate),
        ("rollback", rollback),
    ):
        app.command(name)(with_settings(command, _wanted, parts=False))
    parent.add_typer(app, name="model")
