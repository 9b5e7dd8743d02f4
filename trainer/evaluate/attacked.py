"""Streams under attack, by the attack's name."""

from __future__ import annotations

import numpy as np

from trainer.attacks import registry
from trainer.attacks.pgd import wrong_margin
from trainer.attacks.streaming import blockwise, play
from trainer.attacks.universal import Universal, learn
from trainer.data.base import Dataset
from trainer.errors import EvaluationError
from trainer.evaluate.subject import Subject
from trainer.evaluate.windows import choose, fit
from trainer.models.wrap import AttackModel

LEARN_RECORDS = 256
LEARN_STEPS = 60
PERIOD_SHARE = 30  # of a window: 1 s of ECG. Longer waveforms turned fewer windows in trials


def attack_streams(
    name: str, subject: Subject, data: Dataset, streams: list[np.ndarray], epsilon: float, seed: int
) -> list[np.ndarray]:
    """Each stream (time, channel) attacked within ``epsilon``.

    Raises:
        EvaluationError: streams at another rate, or with other channels, than the model takes.
        AttackError: an unknown attack, or a model that hides its gradient.
    """
    made = registry.make(name, epsilon=epsilon)
    spec = subject.spec
    if data.spec.rate_hz != spec.rate_hz or len(data.spec.channels) != len(spec.channels):
        raise EvaluationError(
            f"{data.spec.name}: {len(data.spec.channels)} channel(s) at {data.spec.rate_hz:g} Hz; {subject.name} "
            f"takes {len(spec.channels)} at {spec.rate_hz:g} Hz, and streams are attacked at the model's rate"
        )
    rng = np.random.default_rng(seed)
    if isinstance(made, Universal):
        wave = learn_waveform(subject, data, epsilon, rng)
        return [play(wave, epsilon, stream, rng) for stream in streams]
    return [blockwise(made, subject.twin, stream, spec.window_samples, rng) for stream in streams]


def learn_waveform(
    subject: Subject, data: Dataset, epsilon: float, rng: np.random.Generator, steps: int = LEARN_STEPS
) -> np.ndarray:
    """A waveform (a thirtieth of a window, channel) learned on training records: of those by each surrogate the one
    that moves them furthest from the model's own answers, by the mean margin.
    """
    windows = fit(choose(data.part("train"), None, LEARN_RECORDS), subject.spec)
    model, x, valid = subject.twin, windows.x, windows.valid
    y = model.predict(x, valid).argmax(-1)
    mask, budget = valid[..., None].astype(np.float32), np.full((len(y), 1, 1), epsilon, np.float32)
    period = max(1, x.shape[1] // PERIOD_SHARE)
    best, most = np.zeros((period, x.shape[-1]), np.float32), -np.inf
    for surrogate in model.surrogates:
        with model.surrogate(surrogate):
            wave = learn(model, x, y, mask, budget, rng, period, steps)
        margin = float(_margins(model, x, y, valid, wave, epsilon).mean())
        if margin > most:
            best, most = wave, margin
    return best


def count_turned(
    model: AttackModel, x: np.ndarray, valid: np.ndarray, wave: np.ndarray, epsilon: float
) -> int:
    """How many windows (n, time, channel) a waveform turns, at a fixed draw of phases."""
    y = model.predict(x, valid).argmax(-1)
    return int((_margins(model, x, y, valid, wave, epsilon) > 0).sum())


def _margins(
    model: AttackModel, x: np.ndarray, y: np.ndarray, valid: np.ndarray, wave: np.ndarray, epsilon: float
) -> np.ndarray:
    attacked = Universal(epsilon=epsilon, waveform=wave).run(model, x, y, valid, np.random.default_rng(1))
    return wrong_margin(model.predict(attacked, valid), y)
