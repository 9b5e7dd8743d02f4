"""Red-team replay: recordings through the deployed path, clean and attacked, and what that turned.

Attacks are the stored universal waveform of a shipped bundle, and whatever installed packages offer in the entry-point
group `wavewall.attacks`: functions `(bundle file, signal, epsilon, seed) -> attacked signal` on float32 arrays (time,
channel) at the bundle's rate and in its units. This package imports none of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from edge.bundle import Bundle
from edge.clock import Clock
from edge.config import EventSettings
from edge.decisions import Decisions
from edge.engine import Engine
from edge.errors import BlockError, EdgeError
from edge.events import Event
from edge.metrics import Metrics
from edge.pipeline.classify import Classifier
from edge.pipeline.compare import Turned, compare
from edge.pipeline.resample import Resampler
from edge.pipeline.units import match_channels
from edge.settings import suggestion
from edge.sources import replay
from edge.types import FloatArray, Result, SampleBlock
from edge.zoo import waveform_file
from firmware_bridge.recordings import Recording

GROUP = "wavewall.attacks"
UNIVERSAL = "universal"
StreamAttack = Callable[[str, FloatArray, float, int], FloatArray]
T0 = 1.8e9
STILL = Clock(lambda: 0.0, lambda: T0)  # nothing here depends on the time of day


class RedTeamError(EdgeError):
    """An attack that is not there, or a recording that it cannot be played on."""


@dataclass(frozen=True)
class Outcome:
    """What one attack did to all recordings."""

    attack: str
    epsilon: float
    recordings: int
    turned: Turned


def offered(bundle: Bundle) -> list[str]:
    """Names of the attacks that can be tried on this bundle here."""
    stored = [UNIVERSAL] if waveform_file(bundle.manifest.name) is not None else []
    return stored + sorted({entry.name for entry in metadata.entry_points(group=GROUP)} - set(stored))


def open_attack(name: str, bundle: Bundle) -> StreamAttack:
    """The attack of that name. Raises RedTeamError."""
    if name == UNIVERSAL and (path := waveform_file(bundle.manifest.name)) is not None:
        return _stored(path, bundle)
    entries = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in entries:
        raise RedTeamError(
            f"no attack is called {name!r} for {bundle.manifest.ref}{suggestion(name, offered(bundle))}; "
            "pip install 'wavewall[trainer]' brings attacks by gradient"
        )
    try:
        attack: StreamAttack = entries[name].load()
    except (ImportError, AttributeError) as error:
        raise RedTeamError(
            f"attack {name!r} of {entries[name].value} cannot be loaded ({error}): pip install 'wavewall[trainer]'"
        ) from error
    return attack


def _stored(path: Path, bundle: Bundle) -> StreamAttack:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            wave = arrays["waveform"].astype(np.float32) / 127.0
            rate_hz = float(arrays["rate_hz"])
    except (OSError, ValueError, KeyError) as error:
        raise RedTeamError(f"{path}: cannot be read ({error}); install wavewall again") from error
    spec = bundle.manifest.input
    if wave.shape[1:] != (len(spec.channels),) or not len(wave) or rate_hz != spec.rate_hz:
        raise RedTeamError(f"{path}: made for other channels or another rate than {bundle.manifest.ref} has")

    def attack(file: str, signal: FloatArray, epsilon: float, seed: int) -> FloatArray:
        start = int(np.random.default_rng(seed).integers(0, len(wave)))
        played: FloatArray = signal + np.float32(epsilon) * wave[(start + np.arange(len(signal))) % len(wave)]
        return played

    return attack


def run(
    name: str,
    bundle: Bundle,
    classifier: Classifier,
    recordings: Sequence[Recording],
    epsilon: float,
    *,
    events: EventSettings,
    seed: int = 0,
) -> Outcome:
    """Each recording clean and attacked through engine and decisions. `epsilon` is in the bundle's unit.

    Raises:
        RedTeamError: no such attack, a recording that does not fit the bundle, or an attack that gives nonsense.
    """
    if not 0.0 <= epsilon < 1e9:
        units = bundle.manifest.input.units
        raise RedTeamError(f"epsilon is {epsilon:g}; give the largest change of a sample, in {units}")
    attack, total = open_attack(name, bundle), Turned()
    for number, recording in enumerate(recordings):
        signal = _signal(recording, bundle)
        attacked = np.asarray(attack(bundle.name, signal.copy(), epsilon, seed + number), np.float32)
        if attacked.shape != signal.shape or not np.isfinite(attacked).all():
            raise RedTeamError(f"attack {name!r} gave a signal of another shape, or one that is not finite")
        # Not trusted to keep to its budget.
        attacked = signal + np.clip(attacked - signal, -epsilon, epsilon)
        before, after = (
            _judge(bundle, classifier, values, events, f"r{number}") for values in (signal, attacked)
        )
        hours = len(signal) / bundle.manifest.input.rate_hz / 3600.0
        total += compare(before[0], after[0], before[1], after[1], hours)
    return Outcome(name, epsilon, len(recordings), total)


def joined(recordings: Sequence[Recording]) -> Recording:
    """All records one after the other, each without its mean, so that joints do not jump. Raises RedTeamError."""
    first = recordings[0]
    if any((r.rate_hz, r.channels) != (first.rate_hz, first.channels) for r in recordings):
        raise RedTeamError("--join: the records have different rates or channels; choose some with --record")
    values = [np.asarray(recording.physical, np.float32) for recording in recordings]
    whole = np.concatenate([part - np.nanmean(part, axis=0, keepdims=True) for part in values])
    return Recording("joined", first.rate_hz, first.channels, analog=whole)


def _signal(recording: Recording, bundle: Bundle) -> FloatArray:
    """(time, channel) in the bundle's channels, unit and rate; what was no number is 0."""
    spec = bundle.manifest.input
    try:
        channels = match_channels(
            spec,
            [channel.name for channel in recording.channels],
            [channel.unit for channel in recording.channels],
            recording.name,
        )
    except BlockError as error:
        raise RedTeamError(str(error)) from error
    values = np.nan_to_num(channels.apply(np.asarray(recording.physical, np.float32)), nan=0.0)
    if recording.rate_hz == spec.rate_hz:
        return values
    try:
        resampler = Resampler(recording.rate_hz, spec.rate_hz, channels=values.shape[1])
    except ValueError as error:
        raise RedTeamError(f"recording {recording.name}: {error}; correct its rate") from error
    return np.concatenate([resampler.push(values), resampler.flush()])


def _judge(
    bundle: Bundle, classifier: Classifier, signal: FloatArray, rules: EventSettings, stream: str
) -> tuple[list[Result], list[Event]]:
    metrics, spec = Metrics(), bundle.manifest.input
    engine = Engine(
        bundle, classifier, node="attack", boot_id="attack", metrics=metrics, max_streams=1, clock=STILL
    )
    decisions = Decisions(
        rules, bundle.manifest.labels, max_streams=1, idle_s=1.0, metrics=metrics, clock=STILL
    )
    recording = SampleBlock(
        stream, "attack", 0, T0, spec.rate_hz, spec.channels, (spec.units,) * len(spec.channels), signal
    )
    results: list[Result] = []
    events: list[Event] = []
    for at in range(0, max(len(signal), 1), replay.BLOCK_SAMPLES):
        part = replace(
            recording,
            first_index=at,
            t0=T0 + at / spec.rate_hz,
            values=signal[at : at + replay.BLOCK_SAMPLES],
            end=at + replay.BLOCK_SAMPLES >= len(signal),
        )
        for result in engine.push(part):
            results.append(result)
            events += decisions.push(result)
    return results, events + decisions.end(stream)
