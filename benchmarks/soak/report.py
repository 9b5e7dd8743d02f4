"""The slope of the agent's memory, the page and the plot. ``python -m benchmarks.soak.report soak.json FOLDER`` writes
them again from a run's figures.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
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


def page(result: Mapping[str, Any]) -> str:
    """The run in words and a table, as Markdown."""
    faults = Counter(event["fault"] for event in result["events"])
    backs: dict[str, list[float]] = {}
    for event in result["events"]:
        if event["back_s"] is not None:
            backs.setdefault(event["fault"], []).append(event["back_s"])
    hours, slope_mb, over_s = result["hours"], result["rss_mb_slope_per_hour"], result["rss_mb_slope_over_s"]
    lines = [
        "# Soak",
        "",
        f"{result['streams']} streams of `{result['bundle']}` for {hours:g} hours through one agent and a real "
        f"mosquitto, {len(result['events'])} faults on the way; written by `make soak HOURS={hours:g}`. The agent's "
        f"folder was {result['disk']}. In the second half the agent is not killed, so that its memory can be seen.",
        "",
        "| | |",
        "|---|---|",
        f"| windows sent whole | {result['windows_expected']} |",
        f"| answered | {result['windows_answered']} |",
        f"| missing | {result['missing']} |",
        f"| under two ids | {result['doubles']} |",
        f"| sent more than once (same id) | {result['sent_again']} |",
        f"| answered in two ways | {result['answered_differently']} |",
        f"| with missing samples | {result['with_missing_samples']} |",
        f"| marked historical | {result['historical']} |",
        f"| starts of the agent | {result['agent_starts']} |",
        f"| memory, slope | {slope_mb} MB an hour over {over_s / 60:.0f} minutes of one life |",
        f"| memory, most | {result['rss_mb_most']} MB |",
        f"| descriptors, most: second quarter, last quarter | {result['descriptors_most']} |",
        f"| threads, most: second quarter, last quarter | {result['threads_most']} |",
        f"| state folder, most | {result['disk_mb_most']} MB |",
        f"| processor | {result['cpu_percent_of_a_core']} % of a core |",
        f"| goals missed | {', '.join(result['missed']) or 'none'} |",
        "",
        "| fault | times | seconds to the next live verdict, most |",
        "|---|---|---|",
        *(f"| {name} | {count} | {max(backs.get(name, [0.0])):.1f} |" for name, count in sorted(faults.items())),
        "",
        "![memory, descriptors and disk over the hours](soak.svg)",
        "",
        f"Python {result['python']} on {result['machine']} with {result['cores']} cores, which other work used too. "
        "Figures: [soak.json](soak.json).",
    ]
    return "\n".join(lines) + "\n"


def write(result: Mapping[str, Any], folder: Path) -> None:
    """soak.json, soak.svg and README.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "README.md").write_text(page(result))
    plot(result, folder / "soak.svg")


if __name__ == "__main__":
    figures = json.loads(Path(sys.argv[1]).read_text())
    # Paths of the machine that it ran on are nobody's business.
    figures["last_counters"] = figures.pop("last_health", {}).get("counters", figures.get("last_counters", {}))
    write(figures, Path(sys.argv[2]))
