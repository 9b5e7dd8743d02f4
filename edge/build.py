"""From settings to parts: bundle, sources, sinks. Each kind's module is imported only where it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge import config
from edge.bundle import Bundle, InputSpec, resolve_bundle, signing
from edge.bundle.version import is_older
from edge.chain import Chain, ChainNote, Signer
from edge.clock import Clock
from edge.decisions import Decisions
from edge.delivery.runner import SinkRunner
from edge.delivery.sinks.base import Sink
from edge.delivery.spool import MemorySpool, Spool
from edge.engine import Engine
from edge.errors import BundleError, EdgeError, KeyFileError
from edge.metrics import Metrics
from edge.overlay import apply_overlay
from edge.overload import Overload
from edge.pipeline.attack_rate import HourOfWindows
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import load_verified
from edge.quarantine import Quarantine
from edge.rescue import Rescue
from edge.settings import ConfigError
from edge.sources.base import Source
from edge.sources.trust import SerialShared, state_dir
from edge.topics import Topics
from edge.types import Result, Window

if TYPE_CHECKING:
    from edge.durability import Durability


def bundle_path(settings: config.BundleSettings) -> Path:
    """The bundle's file. Raises BundleError."""
    return resolve_bundle(settings.path if settings.path is not None else settings.name)


def trusted_key(settings: config.BundleSettings) -> bytes | None:
    """The key that bundles must be signed with, None where any will do. Raises KeyFileError."""
    return signing.load_public_key(settings.key) if settings.key is not None else None


def load_bundle(settings: config.BundleSettings) -> tuple[Bundle, Classifier]:
    """The bundle, every check passed, with its overlay's thresholds, and its classifier. Raises EdgeError."""
    bundle, classifier = load_file(bundle_path(settings), settings)
    if settings.overlay is not None:
        bundle = apply_overlay(bundle, settings.overlay)
    return bundle, classifier


def load_file(path: Path, settings: config.BundleSettings) -> tuple[Bundle, Classifier]:
    """Any bundle file: the settings' key must have signed it, and it must not be too old. Raises EdgeError."""
    bundle, classifier = load_verified(path, trusted_key(settings), settings.threads)
    version, least = bundle.manifest.version, settings.min_version
    if least is not None and is_older(version, least):
        message = f"{path}: version {version} is older than bundle.min_version {least}; give a newer bundle"
        raise BundleError(message, member="manifest.json")
    return bundle, classifier


def make_source(
    part: config.SourceSettings,
    settings: config.Settings,
    spec: InputSpec,
    metrics: Metrics,
    clock: Clock,
    serial: SerialShared,
) -> Source:
    """One source. Raises EdgeError where its settings cannot work."""
    if isinstance(part, config.MqttSource):
        from edge.sources.mqtt import MqttSamples

        return MqttSamples(
            part,
            settings.mqtt,
            Topics(settings.node.base, settings.node.id),
            metrics,
            spec=spec,
            max_streams=settings.pipeline.max_streams,
            idle_s=settings.pipeline.stream_idle_s,
            clock=clock,
        )
    if isinstance(part, config.SerialSource):
        from edge.sources.serial import SerialDevice

        return SerialDevice(
            part, spec, metrics, clock=clock, trust=serial.trust(part, settings.node), ids=serial.ids
        )
    from edge.sources.replay import Replay

    return Replay(part, spec, clock=clock)


def make_sources(
    settings: config.Settings, spec: InputSpec, metrics: Metrics, clock: Clock, serial: SerialShared | None = None
) -> list[Source]:
    """All sources. Raises EdgeError that names the entry."""
    kinds = [part.kind for part in settings.source]
    if kinds.count("mqtt") > 1:
        raise ConfigError("two sources of kind mqtt would take each sample twice; name all streams in one")
    out = []
    serial = serial or SerialShared()
    for at, part in enumerate(settings.source):
        try:
            out.append(make_source(part, settings, spec, metrics, clock, serial))
        except ConfigError:
            raise
        except EdgeError as error:
            raise ConfigError(f"source.{at} ({part.kind}): {error}", key=f"source.{at}") from error
    return out


def make_engine(
    settings: config.Settings,
    bundle: Bundle,
    classifier: Classifier,
    *,
    boot_id: str,
    metrics: Metrics,
    clock: Clock,
    on_verdict: Callable[[Window, Result], None],
    overload: Overload,
) -> Engine:
    """The engine of an agent, with its rescue."""
    node = settings.node
    return Engine(
        bundle,
        classifier,
        node=node.id,
        boot_id=boot_id,
        metrics=metrics,
        max_streams=settings.pipeline.max_streams,
        idle_s=settings.pipeline.stream_idle_s,
        clock=clock,
        on_verdict=on_verdict,
        overload=overload,
        rescue=Rescue(
            Quarantine(state_dir(node) / f"quarantine-{node.id}"),
            metrics,
            lambda bundle: Classifier(bundle, settings.bundle.threads),
            clock,
        ),
    )


def make_decisions(
    settings: config.Settings,
    labels: Sequence[str],
    metrics: Metrics,
    clock: Clock,
    on_hour: Callable[[HourOfWindows], None],
) -> Decisions:
    """What turns results into events. Raises ConfigError for a label that the bundle does not have."""
    return Decisions(
        settings.events,
        labels,
        max_streams=settings.pipeline.max_streams,
        idle_s=settings.pipeline.stream_idle_s,
        metrics=metrics,
        clock=clock,
        on_hour=on_hour,
    )


HOLDS = {"results": ("result",), "events": ("event",), "all": ("result", "event")}


def make_durability(
    settings: config.Settings, spec: InputSpec, metrics: Metrics, clock: Clock
) -> Durability | None:
    """Recorder and spool file where a folder is set. Raises ConfigError."""
    if settings.durability.folder is None:
        return None
    from edge.durability import Durability

    return Durability(
        settings.durability,
        settings.durability.folder,
        settings.delivery,
        settings.pipeline,
        spec,
        metrics,
        clock,
    )


def make_chain(
    settings: config.Settings,
    durability: Durability | None,
    boot_id: str,
    offer: Callable[[ChainNote], None],
    clock: Clock,
) -> Chain | None:
    """The results' chain where it is wanted. Raises ConfigError."""
    wanted = settings.chain
    if not wanted.enabled:
        return None
    signer = None
    if wanted.key is not None:
        try:
            signer = Signer(signing.load_private_key(wanted.key))
        except KeyFileError as error:
            raise ConfigError(f"chain.key: {error}", key="chain.key") from error
    chain = Chain(
        boot_id,
        offer,
        utc=clock.utc,
        every=wanted.every,
        max_streams=settings.pipeline.max_streams,
        signer=signer,
        before="" if durability is None else durability.store.heads_before,
    )
    if durability is not None:
        durability.store.heads = chain.heads
    return chain


def make_runner(
    sink: Sink,
    delivery: config.DeliverySettings,
    metrics: Metrics,
    clock: Clock,
    holds: str = "all",
    spool: Spool | None = None,
) -> SinkRunner:
    """A sink with its spool; in memory unless one is given."""
    memory = MemorySpool(
        delivery.spool_results,
        delivery.overflow,
        clock.monotonic,
        live_s=delivery.historical_after_s,
        historical_share=delivery.historical_share,
    )
    return SinkRunner(
        sink,
        memory if spool is None else spool,
        metrics,
        batch=delivery.batch,
        retry_min_s=delivery.retry_min_s,
        retry_max_s=delivery.retry_max_s,
        historical_after_s=delivery.historical_after_s,
        clock=clock.monotonic,
        holds=HOLDS[holds],
    )
