"""Which bundle an agent begins with, and the trial of one that was activated a short while ago.

state.json of the model folder:
    configured  the `bundle` settings that `active` belongs to: once these change, the configuration counts again
    trial       {"file", "since", "running"}: the bundle in service may still be taken back. `running` is true while an
                agent runs it; found at a start, it means that the last run ended without stopping: it crashed
    last        {"ref", "outcome", "reason", "t"}: what became of the latest activation
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.build import load_bundle, load_file
from edge.bundle import Bundle
from edge.clock import Clock
from edge.config import BundleSettings, Settings
from edge.errors import EdgeError
from edge.models.folder import ACTIVE, PREVIOUS, ModelFolder
from edge.overlay import fitting_overlay
from edge.pipeline.classify import Classifier
from edge.sources.trust import state_dir
from edge.types import rfc3339

log = logging.getLogger("edge.models")


def model_folder(settings: Settings) -> ModelFolder:
    """The folder of this agent's models; it need not exist."""
    own = settings.model.folder
    return ModelFolder(own if own is not None else state_dir(settings.node) / "models" / settings.node.id)


def configured(settings: BundleSettings) -> str:
    """A short text that changes when the configuration asks for another bundle."""
    asked = {"name": settings.name, "path": str(settings.path) if settings.path else None}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Begun:
    """What an agent starts with. `rolled_back` tells why a trial was ended at the start, "" if none was."""

    bundle: Bundle
    classifier: Classifier
    file: str | None
    rolled_back: str = ""


def begin(settings: Settings, folder: ModelFolder, clock: Clock) -> Begun:
    """Load the active bundle of the folder, else the configured one. A bundle on trial whose agent crashed is
    taken back first; one that does not load any more gives way to the one before it. Raises EdgeError.
    """
    folder.sweep()
    state = folder.state()
    active = folder.target(ACTIVE)
    if active is None or state.get("configured") != configured(settings.bundle):
        bundle, classifier = load_bundle(settings.bundle)
        return Begun(bundle, classifier, None)
    why = ""
    trial = state.get("trial")
    if isinstance(trial, dict) and trial.get("file") == active and trial.get("running"):
        why = "the agent ended without stopping soon after the activation"
        active = take_back(folder, active, why, clock)
    if active is not None:
        try:
            bundle, classifier = _load(folder.path / active, settings.bundle)
            arm(folder, running=True)
            return Begun(bundle, classifier, active, why)
        except EdgeError as error:
            log.error("%s", error)
            why = f"{active} does not load any more: {error}"
            active = take_back(folder, active, why, clock)
    if active is not None:
        bundle, classifier = _load(folder.path / active, settings.bundle)
    else:
        bundle, classifier = load_bundle(settings.bundle)
    return Begun(bundle, classifier, active, why)


def take_back(folder: ModelFolder, file: str, reason: str, clock: Clock) -> str | None:
    """Put the previous bundle in the place of `file`; its name, or None for the configured one."""
    previous = folder.target(PREVIOUS)
    if previous is not None and previous != file:
        folder.point(ACTIVE, previous)
        folder.unpoint(PREVIOUS)
    else:
        previous = None
        folder.unpoint(ACTIVE)
    note(folder, file, "rolled_back", reason, clock)
    log.error("model %s rolled back: %s", file, reason)
    return previous


def note(folder: ModelFolder, file: str, outcome: str, reason: str, clock: Clock, **more: Any) -> dict[str, Any]:
    """Write down what became of an activation; a bundle that was kept or taken back is not on trial any more."""
    last = {"file": file, "outcome": outcome, "reason": reason, "t": rfc3339(clock.utc()), **more}
    state = folder.state()
    trial = None if outcome in ("kept", "rolled_back") else state.get("trial")
    folder.put_state({**state, "trial": trial, "last": last})
    return last


def arm(folder: ModelFolder, *, running: bool) -> None:
    """Say whether an agent runs the bundle on trial, if there is one."""
    state = folder.state()
    trial = state.get("trial")
    if isinstance(trial, dict):
        folder.put_state({**state, "trial": {**trial, "running": running}})


def put_in_service(folder: ModelFolder, file: str, old: str, settings: BundleSettings, clock: Clock) -> None:
    """Switch `active` to `file`. The trial is written first: cut between the two, it speaks of a file that is not
    active and so of nothing.
    """
    trial = {"file": file, "since": rfc3339(clock.utc()), "running": True}
    folder.put_state({**folder.state(), "configured": configured(settings), "trial": trial})
    folder.point(PREVIOUS, old)
    folder.point(ACTIVE, file)


def stay_with(folder: ModelFolder, file: str, settings: BundleSettings) -> None:
    """The configuration asks for another bundle, which was refused: begin with `file` next time, too."""
    folder.point(ACTIVE, file)
    folder.put_state({**folder.state(), "configured": configured(settings), "trial": None})


def _load(path: Path, settings: BundleSettings) -> tuple[Bundle, Classifier]:
    bundle, classifier = load_file(path, settings)
    return fitting_overlay(bundle, settings.overlay), classifier
