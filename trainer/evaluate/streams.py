"""Records joined to streams, judged clean and attacked by the device's own code, up to the events.

One record is too short to hold an event that begins and ends. A stream is made of runs of several records of one label,
in random order, each record without its mean (so that joints do not jump); runs change the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.bundle import Bundle
from edge.pipeline.attack_rate import AttackRate, RateRule
from edge.pipeline.classify import Classifier
from edge.pipeline.compare import Turned, compare
from edge.pipeline.decide import Rule, StreamDecider
from edge.pipeline.verdict import Judge
from edge.pipeline.windows import Windower
from edge.types import Result, ResultWindow, SampleBlock
from trainer.data.base import Dataset
from trainer.errors import EvaluationError

RUN_RECORDS = 5
BLOCK = 4096
T0 = 1.8e9


@dataclass(frozen=True)
class Rules:
    """How windows become events: the label rule, the labels that it is for, and the rule for suspect windows."""

    labels: tuple[str, ...]
    label: Rule = field(default_factory=Rule)
    tamper: Rule = field(default_factory=lambda: Rule(on=1.0, off=1.0))


def make_streams(
    data: Dataset, hours: float, rng: np.random.Generator, stream_s: float = 1800.0
) -> list[np.ndarray]:
    """Streams (time, channel) float32 of at most ``stream_s`` seconds, ``hours`` in all or as much as there is.

    Raises:
        EvaluationError: no signal for one stream.
    """
    runs = []
    for label in np.unique(data.y):
        members = rng.permutation(np.flatnonzero(data.y == label))
        runs += [members[at : at + RUN_RECORDS] for at in range(0, len(members), RUN_RECORDS)]
    limit, most = int(hours * 3600 * data.spec.rate_hz), int(stream_s * data.spec.rate_hz)
    streams: list[np.ndarray] = []
    parts: list[np.ndarray] = []
    taken = 0
    for at in rng.permutation(len(runs)):
        for record in runs[at]:
            values = np.asarray(data.signals[record], np.float32)
            parts.append(values - values.mean(0))
        length = sum(map(len, parts))
        if length >= min(most, limit - taken):
            streams.append(np.concatenate(parts)[: min(most, limit - taken)])
            taken += len(streams[-1])
            parts = []
        if taken >= limit:
            break
    if parts and taken < limit:
        streams.append(np.concatenate(parts))
    if not streams:
        raise EvaluationError(f"{data.spec.name}: no records for {hours:g} hours of signal; give more")
    return streams


def judge(
    bundle: Bundle, classifier: Classifier, signal: np.ndarray, rules: Rules, rate_hz: float
) -> tuple[list[Result], list]:
    """Results and events of one stream, by the code that runs on the device."""
    spec = bundle.manifest.input
    windower, weigh = Windower(spec), Judge(bundle.manifest)
    decider = StreamDecider(
        "stream", dict.fromkeys(rules.labels, rules.label), rules.tamper, AttackRate("stream", RateRule())
    )
    units = (spec.units,) * len(spec.channels)
    results: list[Result] = []
    events = []
    for at in range(0, len(signal), BLOCK):
        part = signal[at : at + BLOCK]
        end = at + BLOCK >= len(signal)
        for window in windower.push(
            SampleBlock("stream", "0", at, T0 + at / rate_hz, rate_hz, spec.channels, units, part, end=end)
        ):
            verdict = weigh.push(window, classifier.classify(window))
            results.append(
                Result(
                    id=f"w{window.first_index}",
                    t=T0,
                    boot_id="",
                    seq=len(results),
                    stream="stream",
                    label=verdict.label,
                    score=verdict.score,
                    probabilities=verdict.probabilities,
                    status=verdict.status,
                    reason=verdict.reason,
                    model=bundle.manifest.ref,
                    window=ResultWindow(window.t0, len(window.values), window.rate_hz, window.missing, 0),
                    disagreement=verdict.disagreement,
                    residual=verdict.residual,
                    latency_ms=0.0,
                )
            )
            events += decider.push(results[-1])
    return results, events + decider.stop(T0, "stream_end")


def score(
    bundle: Bundle,
    classifier: Classifier,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    rules: Rules,
    rate_hz: float,
) -> Turned:
    """Counts over (clean, attacked) streams."""
    total = Turned()
    for clean, attacked in pairs:
        (results, events), (others, changed) = (
            judge(bundle, classifier, signal, rules, rate_hz) for signal in (clean, attacked)
        )
        total += compare(results, others, events, changed, len(clean) / rate_hz / 3600.0)
    return total
