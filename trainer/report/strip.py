"""A record on ECG paper, and what was added to it enlarged below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.report.drawing import INK, PAPER, SERIES, Drawing

MM_PER_S, MM_PER_MV = 25.0, 10.0
INCHES_PER_MM = 1.0 / 25.4


def paper(panel: Any, seconds: float, low_mv: float, high_mv: float) -> None:
    """ECG paper in true proportion: 1 mm squares of 0.04 s by 0.1 mV, a heavier line every five."""
    for bold, width in ((False, 0.25), (True, 0.7)):
        step_s, step_mv = (0.2, 0.5) if bold else (0.04, 0.1)
        x: list[float] = []
        y: list[float] = []
        for k in range(round(seconds / step_s) + 1):
            x += [k * step_s, k * step_s, np.nan]
            y += [low_mv, high_mv, np.nan]
        for k in range(round((high_mv - low_mv) / step_mv) + 1):
            x += [0.0, seconds, np.nan]
            y += [low_mv + k * step_mv] * 2 + [np.nan]
        panel.plot(x, y, color=PAPER, linewidth=width, zorder=0)
    panel.grid(False)
    panel.set(xlim=(0, seconds), ylim=(low_mv, high_mv), xticks=[], yticks=[])
    panel.set_aspect(MM_PER_MV / MM_PER_S)
    for side in panel.spines.values():
        side.set_visible(False)


def draw(example: Mapping[str, Any]) -> Drawing:
    """One record of ``trainer.report.examples``: clean and attacked over each other, the perturbation below."""
    signal, added = np.array(example["signal"]), np.array(example["perturbation"])
    rate, epsilon = example["rate_hz"], float(example["epsilon"])
    seconds = len(signal) / rate
    time = np.arange(len(signal)) / rate
    if example["units"] == "uV":
        middle = (signal.max() + signal.min()) / 2
        trace, change = (signal - middle) / 1000.0, added / 1000.0
        half = max(0.5, float(np.ceil((np.abs(trace).max() + 0.1) * 2) / 2))
        size = (seconds * MM_PER_S * INCHES_PER_MM * 1.08, 2 * half * MM_PER_MV * INCHES_PER_MM * 1.08 + 1.25)
        ratios = [2 * half * MM_PER_MV * INCHES_PER_MM, 0.75]
    else:
        trace, change, half, size, ratios = signal, added, 0.0, (4.2, 3.0), [2.0, 1.0]
    drawing = Drawing(size, rows=2, height_ratios=ratios)
    with drawing as axes:
        top, below = axes[0][0], axes[1][0]
        if half:
            paper(top, seconds, -half, half)
        else:
            top.set(xlim=(0, seconds), ylabel=example["units"].replace("1", "sd"))
            top.tick_params(labelbottom=False)
        top.plot(time, trace, color=INK, linewidth=1.1, label="clean")
        top.plot(time, trace + change, color=SERIES[1], linewidth=0.6, label="attacked")
        unit = example["units"].replace("uV", "µV").replace("1", "sd")
        below.plot(time, added, color=SERIES[1], linewidth=0.6)
        below.set(xlim=(0, seconds), ylim=(-1.25 * epsilon, 1.25 * epsilon), yticks=[-epsilon, 0, epsilon])
        below.set(xlabel="s", ylabel=f"added, {unit}")
    return drawing


def enlargement(example: Mapping[str, Any]) -> float:
    """How many times larger than on the strip above the perturbation is drawn (the lower panel is 0.75 inches)."""
    height_mv = 2.5 * float(example["epsilon"]) / 1000.0
    return 0.75 / (height_mv * MM_PER_MV * INCHES_PER_MM)
