"""How the defence works, on the demo's synthetic recording with the demo's stored perturbation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import edge
from docs.gallery import style
from edge.bundle import preprocess
from edge.demo.stage import DATA, Stage, set_stage
from edge.pipeline import Model

DEFENDED, UNDEFENDED = "ecg-rhythm", "ecg-undefended"
SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
SHOWN = 3000  # samples, ten seconds


def stage() -> Stage:
    """What the demo plays in a minute."""
    return set_stage(60.0, 10.0, 10.0, DATA)


def windows(model: Model, played: Stage, scale: float) -> np.ndarray:
    """(m, time) windows of one round with the perturbation times ``scale`` added, in whole microvolts."""
    spec = model.manifest.input
    signal = played.recording.physical[: played.round_samples, 0]
    delta = np.resize(played.delta[:, 0], len(signal)).astype(np.float32) * scale
    attacked = np.round(signal + delta)
    starts = range(0, len(signal) - spec.window_samples + 1, spec.hop_samples)
    return np.stack([attacked[at : at + spec.window_samples] for at in starts])


def thermometer(model: Model, played: Stage) -> Path:
    """One beat over its levels, and which parts of its code 10 uV change."""
    plt = style.use()
    assert model.manifest.thermometer is not None
    levels = np.asarray(model.manifest.thermometer.thresholds)
    clean = windows(model, played, 0.0)[0]
    x = preprocess.apply(model.manifest.preprocess, clean[:, None], np.ones(len(clean), bool))[:, 0]
    peak = int(np.argmax(x[900:1500])) + 900
    beat = x[peak - 90 : peak + 150]
    t = (np.arange(len(beat)) - 90) / model.manifest.input.rate_hz * 1000
    code, other = beat[:, None] >= levels, beat[:, None] + 10.0 >= levels
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    for level in levels:
        left.axhline(level, color=style.GRID, lw=0.8)
    left.plot(t, beat, color=style.INK, lw=1.4, label="a beat")
    left.plot(t, beat + 10.0, color=style.ORANGE, lw=1, label="the same and 10 µV")
    left.set(title="32 levels, close together near zero", xlabel="ms", ylabel="µV", ylim=(-300, 750))
    left.grid(visible=False)
    left.legend(loc="upper right")
    extent = (t[0], t[-1], 0, len(levels))
    right.imshow(1.0 - 0.25 * code.T, cmap="gray", vmin=0, vmax=1, origin="lower", aspect="auto", extent=extent,
                 interpolation="nearest")  # fmt: skip
    changed = np.argwhere(code != other)
    right.plot(t[changed[:, 0]], changed[:, 1] + 0.5, "s", ms=2.4, color=style.ORANGE)
    right.set(title=f"The code: 10 µV change {100 * (code != other).mean():.1f} % of it", xlabel="ms", ylabel="level")
    right.set(xlim=(t[0], t[-1]), ylim=(0, len(levels)))
    right.grid(visible=False)
    figure.tight_layout()
    return style.save(figure, "defence-thermometer")


def attack(models: dict[str, Model], played: Stage) -> Path:
    """A window that the undefended model answers otherwise under attack, what was added, and both answers."""
    plt = style.use()
    clean, hit = (windows(models[UNDEFENDED], played, scale) for scale in (0.0, 1.0))
    pairs = list(zip(clean, hit, strict=True))
    answers = {name: [(m.classify(c), m.classify(h)) for c, h in pairs] for name, m in models.items()}
    best = max(range(len(clean)), key=lambda i: _tells(answers, i))
    t, before, after = np.arange(SHOWN) / 300, clean[best][:SHOWN], hit[best][:SHOWN]
    figure, axes = plt.subplots(3, 1, figsize=(9, 5.2), height_ratios=(2, 1, 2), sharex=True)
    axes[0].plot(t, before, color=style.INK, lw=1.2, label="clean")
    axes[0].plot(t, after, color=style.ORANGE, lw=0.6, label="attacked")
    axes[0].set(title="What the device sent, and what arrived (10 of 30 s)", ylabel="µV")
    axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2)
    delta = after - before
    axes[1].plot(t, delta, color=style.ORANGE, lw=0.7)
    axes[1].set(title=f"What was added, enlarged: at most {np.abs(delta).max():.0f} µV", ylabel="µV", ylim=(-14, 14))
    scores = models[DEFENDED].scores(hit[best])
    assert scores.reconstruction is not None
    axes[2].plot(t, scores.reconstruction[:SHOWN, 0] + hit[best].mean(), color=style.BLUE, lw=0.8)
    axes[2].set(title="What the encode-decode gives the defended classifier instead", ylabel="µV", xlabel="s")
    figure.tight_layout()
    for at, name in enumerate((UNDEFENDED, DEFENDED)):
        was, became = answers[name][best]
        text = f"{name}:  {was.label} {was.score:.2f}  →  {became.label} {became.score:.2f}, {became.status}"
        figure.text(0.03 + 0.49 * at, -0.02, text, fontsize=11, weight="bold")
    return style.save(figure, "defence-attack")


def _tells(answers: dict[str, list[Any]], i: int) -> float:
    before, after = answers[UNDEFENDED][i]
    kept = answers[DEFENDED][i][0].label == answers[DEFENDED][i][1].label
    return float((before.label != after.label) * (1 + kept) * after.score)


def fails(models: dict[str, Model], played: Stage) -> Path:
    """How many windows change their answer as the same waveform grows, and how many of those are still called ok."""
    plt = style.use()
    figure, axis = plt.subplots(figsize=(9, 3.4))
    largest = float(np.abs(played.delta).max())
    count = 0
    for name, colour in ((UNDEFENDED, style.ORANGE), (DEFENDED, style.BLUE)):
        model = models[name]
        before = [model.classify(window).label for window in windows(model, played, 0.0)]
        count, changed, unnoticed = len(before), [], []
        for scale in SCALES:
            after = [model.classify(window) for window in windows(model, played, scale)]
            flips = [a for a, b in zip(after, before, strict=True) if a.label != b]
            changed.append(len(flips) / count)
            unnoticed.append(sum(a.status == "ok" for a in flips) / count)
        budget = [scale * largest for scale in SCALES]
        axis.plot(budget, changed, "o-", color=colour, lw=1.6, ms=4, label=f"{name}: another answer")
        axis.plot(budget, unnoticed, "--", color=colour, lw=1.2, label=f"{name}: and still called ok")
    axis.axvline(largest, color=style.SOFT, lw=0.8)
    axis.text(largest + 2, 1.0, "the budget it is measured at", color=style.SOFT, va="top", fontsize=9)
    axis.set(xlabel="largest change of any sample, µV", ylabel="share of windows", ylim=(-0.03, 1.03))
    axis.set_title(f"The same waveform, larger: {count} windows of a synthetic record")
    axis.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=2)
    return style.save(figure, "defence-fails")


def make() -> list[Path]:
    """All three."""
    played = stage()
    models = {name: edge.load(name) for name in (UNDEFENDED, DEFENDED)}
    return [thermometer(models[DEFENDED], played), attack(models, played), fails(models, played)]
