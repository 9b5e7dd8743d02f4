"""The slope of the agent's memory, and the plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SLOPE_MB_H = 2.0
WARM_S = 600.0  # of a life: until every stream's window, every cache and SQLite's pages are filled


def slope(samples: Sequence[Mapping[str, float]], warm_s: float) -> tuple[float | None, float]:
    """MB an hour by least squares, over the longest life of the agent without its first `warm_s`; its length in s."""
    lives: dict[float, list[Mapping[str, float]]] = {}
    for sample in samples:
        lives.setdefault(sample["life"], []).append(sample)
    if not lives:
        return None, 0.0
    longest = max(lives.values(), key=lambda life: life[-1]["at_s"] - life[0]["at_s"])
    used = [s for s in longest if s["at_s"] >= longest[0]["at_s"] + warm_s]
    if len(used) < 12:
        return None, 0.0
    at = np.array([s["at_s"] for s in used]) / 3600.0
    rss = np.array([s["rss_mb"] for s in used])
    return float(np.polyfit(at, rss, 1)[0]), float(used[-1]["at_s"] - used[0]["at_s"])


def judge(samples: Sequence[Mapping[str, float]], seconds: float) -> dict[str, object]:
    """Figures from the samples; `missed` names goals that were not met."""
    grows, over_s = slope(samples, min(WARM_S, seconds / 12.0))
    if not samples:
        return {"missed": ["no samples"]}
    # In the last quarter against the second: what leaks shows, what a fault took and gave back does not.
    quarter = [s for s in samples if seconds * 0.25 <= s["at_s"] < seconds * 0.5]
    last = [s for s in samples if s["at_s"] >= seconds * 0.75]

    def most(part: Sequence[Mapping[str, float]], key: str) -> float:
        return max((s[key] for s in part), default=0.0)

    cpu = 0.0
    for before, after in pairwise(samples):
        if before["life"] == after["life"]:
            cpu += after["cpu_s"] - before["cpu_s"]
    missed = []
    if grows is not None and over_s >= 1800 and grows > SLOPE_MB_H:
        missed.append("memory slope")
    return {
        "rss_mb_slope_per_hour": None if grows is None else round(grows, 3),
        "rss_mb_slope_over_s": round(over_s),
        "rss_mb_most": round(most(samples, "rss_mb"), 1),
        "descriptors_most": [most(quarter, "descriptors"), most(last, "descriptors")],
        "threads_most": [most(quarter, "threads"), most(last, "threads")],
        "disk_mb_most": round(most(samples, "disk_mb"), 1),
        "cpu_percent_of_a_core": round(100.0 * cpu / max(1.0, samples[-1]["at_s"]), 1),
        "missed": missed,
    }


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Memory, descriptors and threads, disk, over the hours, with the faults as lines. Needs matplotlib."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'wavewall[trainer]')")
        return
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    samples = result["samples"]
    hours = [s["at_s"] / 3600.0 for s in samples]
    figure, axes = plt.subplots(3, 1, figsize=(9, 7), sharex=True)
    colors = dict(
        zip(sorted({e["fault"] for e in result["events"]}), plt.get_cmap("tab10").colors, strict=False)
    )
    for axis, keys, label in (
        (axes[0], ("rss_mb",), "resident, MB"),
        (axes[1], ("descriptors", "threads"), "count"),
        (axes[2], ("disk_mb",), "state folder, MB"),
    ):
        for event in result["events"]:
            axis.axvline(event["at_s"] / 3600.0, color=colors[event["fault"]], alpha=0.35, linewidth=1)
        for key in keys:
            axis.plot(hours, [s[key] for s in samples], ".", markersize=2, label=key.removesuffix("_mb"))
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.legend(loc="lower right", fontsize=8)
    for name, color in colors.items():
        axes[0].plot([], [], color=color, label=name)
    axes[0].legend(loc="lower right", fontsize=7, ncol=2)
    axes[2].set_xlabel("hours")
    slope_text = result["rss_mb_slope_per_hour"]
    figure.suptitle(
        f"{result['streams']} streams, {len(result['events'])} faults: {result['missing']} of "
        f"{result['windows_expected']} windows missing, memory {slope_text} MB an hour",
        fontsize=10,
    )
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
