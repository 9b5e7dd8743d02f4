"""Changes the bundle of a running agent: checks, canary, switch, trial, and the way back.

The worker thread loads and checks the candidate and runs it on live windows beside the old one, fed by `saw` through
a short queue that never makes the pipeline wait. The switch is one assignment in the engine, between two windows.
`tick` runs in the agent's own thread: it takes requests from the model folder and ends trials.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edge.build import bundle_path, load_file, trusted_key
from edge.bundle import Bundle
from edge.clock import Clock
from edge.config import BundleSettings, ModelSettings, Settings
from edge.engine import Engine
from edge.errors import EdgeError
from edge.models import service
from edge.models.canary import Canary, Limits, incompatible
from edge.models.folder import PREVIOUS, ModelError, ModelFolder, read_file
from edge.overlay import fitting_overlay
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import robust_accuracy
from edge.types import Result, Window

log = logging.getLogger("edge.models")

# Live windows that wait for the candidate; when it is slower than they come, further ones are not compared.
QUEUE_WINDOWS: Final = 64
LOOK_S: Final = 1.0
INCOMING: Final = "incoming"
VERBS: Final = ("activate", "rollback")


@dataclass(frozen=True)
class Job:
    """One change that was asked for: a file of the folder, and what configuration it belongs to."""

    id: str
    file: str
    by: str
    bundle: BundleSettings
    skip_canary: bool = False


class Updater:
    """One agent's. `event` publishes what happened; `spawn(name, target)` starts a thread that the agent owns."""

    def __init__(
        self,
        settings: Settings,
        folder: ModelFolder,
        engine: Engine,
        begun: service.Begun,
        *,
        clock: Clock,
        event: Callable[[dict[str, Any]], None],
        spawn: Callable[[str, Callable[[], object]], object],
    ) -> None:
        self.folder = folder
        self._settings: ModelSettings = settings.model
        self._bundle = settings.bundle
        self._engine, self._clock, self._event, self._spawn = engine, clock, event, spawn
        self._file = begun.file
        self._stage = "serving"
        self._job: Job | None = None
        self._windows: queue.Queue[tuple[Window, Result]] | None = None
        self._stopping = False
        self._next_look = 0.0
        trial = folder.state().get("trial")
        self._watch_until = clock.monotonic() + self._settings.watch_s if isinstance(trial, dict) else None
        self._begun_with = begun
        self._last = folder.state().get("last")

    def facts(self) -> dict[str, object]:
        """For `health`: what serves, what is going on, what became of the last change."""
        return {
            "ref": self._engine.bundle.manifest.ref,
            "sha256": self._engine.bundle.sha256,
            "stage": self._stage,
            "last": self._last,
        }

    def saw(self, window: Window, result: Result) -> None:
        """From the pipeline's thread, for each answered window. Never waits."""
        windows = self._windows
        if windows is not None and not windows.full():
            windows.put_nowait((window, result))

    def started(self) -> None:
        """The agent's connections are up: tell what happened at the start."""
        begun = self._begun_with
        if begun.rolled_back:
            serving = begun.bundle.manifest.ref
            self._event({"kind": "model", "outcome": "rolled_back", "reason": begun.rolled_back, "serving": serving})

    def stopped(self) -> None:
        """The agent stops in good order: a trial goes on at the next start, and is no crash."""
        self._stopping = True
        if self._watch_until is not None:
            service.arm(self.folder, running=False)

    def apply(self, settings: Settings) -> None:
        """New settings: limits count at once; another bundle is taken in as an activation is."""
        self._settings = settings.model
        if service.configured(settings.bundle) == service.configured(self._bundle):
            self._bundle = settings.bundle
            return
        if self._job is not None:
            raise self._busy(self._job)
        file = self._install(bundle_path(settings.bundle), settings.bundle)
        old = self._own_file()
        service.stay_with(self.folder, old, settings.bundle)
        self._bundle = settings.bundle
        if file != old:
            self.start(Job("config", file, "the configuration", settings.bundle))

    def tick(self) -> None:
        """Once in a while from the agent's thread."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        failure = self._engine.take_failure()
        if failure:
            self._failed(failure)
        elif self._watch_until is not None and now >= self._watch_until:
            self._watch_until = None
            self._engine.forget_fallback()
            self._stage = "serving"
            self._tell("kept", self._file or "", f"no crash within {self._settings.watch_s:g} s")
        wanted = self.folder.take()
        if wanted is not None:
            self.ask(wanted)

    def ask(self, wanted: Mapping[str, Any]) -> str:
        """Do what a request says, as {"verb", "model", "id", "skip_canary"}; what will be done. Raises EdgeError
        where it is refused at once, which is also told as progress.
        """
        verb, job_id = str(wanted.get("verb", "")), str(wanted.get("id", ""))[:64]
        by = str(wanted.get("by", "a request"))[:64]
        try:
            if verb == "rollback":
                file = self.folder.target(PREVIOUS)
                if file is None:
                    raise ModelError("there is no previous model to go back to")
                self.start(Job(job_id, file, by, self._bundle, skip_canary=True))
            elif verb == "activate":
                file = self.folder.find(str(wanted.get("model", "")))
                self.start(Job(job_id, file, by, self._bundle, bool(wanted.get("skip_canary"))))
            else:
                raise ModelError(f"unknown verb {verb[:32]!r}; there are {', '.join(VERBS)}")
        except EdgeError as error:
            self._progress(job_id, "refused", str(error))
            raise
        return f"{verb} {file}"

    def listing(self) -> dict[str, object]:
        """For a request: what is installed and what is going on."""
        return {**self.facts(), "installed": [asdict(one) for one in self.folder.installed()]}

    def install_incoming(self, name: str) -> str:
        """Install a file that was copied into `incoming`; who asks over MQTT may name nothing else on this machine.

        Raises EdgeError; without a trusted key always, as anyone with a broker's password could change the model.
        """
        if trusted_key(self._bundle) is None:
            raise ModelError("set bundle.key first: over MQTT only signed bundles are installed")
        path = self.folder.path / INCOMING / name
        load_file(path, self._bundle)
        return self._install(path, self._bundle)

    def start(self, job: Job) -> None:
        """Begin a change. Raises ModelError while another one is under way."""
        if self._job is not None:
            raise self._busy(self._job)
        self._job, self._stage = job, "checking"
        self._progress(job.id, "checking", f"{job.file}, asked for by {job.by}")
        self._spawn("model", lambda: self._work(job))

    def _busy(self, job: Job) -> ModelError:
        return ModelError(f"{job.file} is being brought into service just now; wait for it")

    def _install(self, path: Path, settings: BundleSettings) -> str:
        return self.folder.install(
            read_file(path), trusted_key=trusted_key(settings), keep=self._settings.keep
        )

    def _own_file(self) -> str:
        """The bundle in service as a file of the folder, so that there is a way back to it."""
        if self._file is None:
            # By its bytes, which passed the key when it was loaded.
            data = read_file(Path(self._engine.bundle.name))
            self._file = self.folder.install(data, trusted_key=None, keep=self._settings.keep)
        return self._file

    def _work(self, job: Job) -> None:
        figures: dict[str, float] = {}
        try:
            why = self._bring_in(job, figures)
        except EdgeError as error:
            why = str(error)
        except Exception as error:
            log.exception("model %s", job.file)
            why = f"failed: {error!r}"
        finally:
            self._windows = None
        self._job = None
        if why:
            self._stage = "serving"
            log.error("model %s not activated: %s", job.file, why)
            self._tell("refused", job.file, why, **figures)
            self._progress(job.id, "refused", why)

    def _bring_in(self, job: Job, figures: dict[str, float]) -> str:
        """Everything up to the switch; why not, or "" when it serves."""
        if job.file == self._file:
            return f"{job.file} is in service already"
        bundle, classifier = load_file(self.folder.path / job.file, job.bundle)
        bundle = fitting_overlay(bundle, job.bundle.overlay)
        why = incompatible(self._engine.bundle, bundle) or self._weak(bundle, classifier, figures)
        if why:
            return why
        if not job.skip_canary:
            why = self._compare(job, bundle, classifier, figures)
            if why or self._stopping:
                return why or "the agent stopped during the canary; ask again"
        old = self._own_file()
        service.put_in_service(self.folder, job.file, old, job.bundle, self._clock)
        self._engine.swap(bundle, classifier)
        self._file, self._stage = job.file, "on trial"
        self._watch_until = self._clock.monotonic() + self._settings.watch_s
        log.info("model %s in service instead of %s; %s", job.file, old, figures)
        self._tell("activated", job.file, f"asked for by {job.by}", **figures)
        self._progress(job.id, "activated", f"{job.file} answers from now on", **figures)
        return ""

    def _weak(self, bundle: Bundle, classifier: Classifier, figures: dict[str, float]) -> str:
        least = self._settings.min_robust_accuracy
        accuracy = robust_accuracy(bundle, classifier)
        if accuracy is None:
            return "" if least <= 0 else (
                "holds no attacked golden windows, so that model.min_robust_accuracy cannot be checked: "
                "export the bundle again, or set that to 0"
            )
        figures["robust_accuracy"] = round(accuracy, 4)
        if accuracy >= least:
            return ""
        return f"keeps its answer on {accuracy:.3f} of its own attacked golden windows, at least {least} is set"

    def _compare(self, job: Job, bundle: Bundle, classifier: Classifier, figures: dict[str, float]) -> str:
        s = self._settings
        limits = Limits(s.canary_windows, s.min_agreement, s.max_latency_ratio, s.max_withheld_rise)
        canary = Canary(bundle, classifier, limits)
        self._stage = "canary"
        self._progress(job.id, "canary", f"{job.file} runs beside {self._engine.bundle.manifest.ref}")
        windows: queue.Queue[tuple[Window, Result]] = queue.Queue(QUEUE_WINDOWS)
        self._windows = windows
        until = time.monotonic() + s.canary_s
        while not canary.enough and not self._stopping and time.monotonic() < until:
            try:
                window, result = windows.get(timeout=0.1)
            except queue.Empty:
                continue
            canary.push(window, result)
        self._windows = None
        figures.update(canary.figures())
        return canary.objection()

    def _failed(self, reason: str) -> None:
        """The bundle on trial could not answer; the engine has gone back to the old one by itself."""
        file = self._file or ""
        self._watch_until, self._stage = None, "serving"
        self._file = service.take_back(self.folder, file, reason, self._clock)
        self._tell("rolled_back", file, reason)

    def _tell(self, outcome: str, file: str, reason: str, **figures: float) -> None:
        self._last = service.note(self.folder, file, outcome, reason, self._clock, **figures)
        serving = self._engine.bundle.manifest.ref
        self._event(
            {"kind": "model", "outcome": outcome, "file": file, "reason": reason, "serving": serving, **figures}
        )

    def _progress(self, job_id: str, stage: str, text: str, **figures: float) -> None:
        try:
            self.folder.put_progress({"id": job_id, "stage": stage, "text": text, **figures})
        except OSError as error:
            log.warning("%s: progress not written: %s", self.folder.path, error)
