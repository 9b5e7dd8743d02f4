"""The charts of a report, each from the JSON's content alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.report.drawing import INK, SERIES, SOFT, Drawing, series

PANEL = (3.5, 2.7)
Row = Mapping[str, Any]


def unit(units: str) -> str:
    return {"uV": "µV", "1": "sd"}.get(units, units)


def attacks_of(report: Mapping[str, Any]) -> list[str]:
    """Every attack that a row is of, in the order of the rows."""
    rows = (row for bundle in report["bundles"] for row in bundle["rows"])
    return list(dict.fromkeys(row["attack"] for row in rows if row["attack"] != "clean"))


def units_of(report: Mapping[str, Any]) -> list[str]:
    """Units of the bundles; budgets in different ones share no axis."""
    return list(dict.fromkeys(bundle["units"] for bundle in report["bundles"]))


def over_epsilon(report: Mapping[str, Any], attack: str, units: str) -> Drawing:
    """Accuracy over the budget of bundles in ``units``: a colour for each, the float twin dashed, the file solid."""
    bundles = report["bundles"]
    rows = [
        row for b in bundles if b["units"] == units for row in b["rows"] if row["attack"] in ("clean", attack)
    ]
    budgets = sorted({float(row["epsilon"]) for row in rows})
    drawing = Drawing(PANEL)
    with drawing as axes:
        panel = axes[0][0]
        lines = [(i, t) for i, b in enumerate(bundles) if b["units"] == units for t in ("float", "file")]
        for k, (i, target) in enumerate(lines):
            colour, marker, _ = series(i)
            shown = curve_rows(bundles[i], attack, target)
            if not shown:
                continue
            at = np.array([budgets.index(float(row["epsilon"])) for row in shown])
            at = at + (k - (len(lines) - 1) / 2) * 0.5 / max(2, len(lines))
            value = np.array([row["accuracy"] for row in shown])
            low = value - [row["accuracy_low"] for row in shown]
            high = np.array([row["accuracy_high"] for row in shown]) - value
            panel.errorbar(
                at, value, [low, high], color=colour, marker=marker, markersize=4.5, linewidth=1.3, elinewidth=0.9,
                linestyle="--" if target == "float" else "-", capsize=1.5,
                markerfacecolor="none" if target == "float" else colour,
            )  # fmt: skip
        panel.set(xticks=range(len(budgets)), xticklabels=[f"{e:g}" for e in budgets], ylim=(0, 1))
        panel.set(xlabel=f"budget, {unit(units)}", ylabel="accuracy", title=attack)
        panel.grid(axis="x", visible=False)
    return drawing


def curve_rows(bundle: Mapping[str, Any], attack: str, target: str) -> list[Row]:
    """The rows of one curve by budget, the clean one first; ``target`` is "float" or "file" (int8 or other)."""
    rows = [
        row
        for row in bundle["rows"]
        if row["attack"] in ("clean", attack) and (row["target"] == "float") == (target == "float")
    ]
    return sorted(rows, key=lambda row: float(row["epsilon"])) if len(rows) > 1 else []


def reliability(bundle: Mapping[str, Any]) -> Drawing:
    """Accuracy over the score, by bins; on the diagonal a score is what it says."""
    drawing = Drawing(PANEL)
    with drawing as axes:
        panel = axes[0][0]
        panel.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=":")
        for k, found in enumerate(bundle["reliability"]):
            colour, marker, _ = reliability_look(k)
            bins = found["bins"]
            value = np.array([b["accuracy"] for b in bins])
            low = value - [b["accuracy_low"] for b in bins]
            high = np.array([b["accuracy_high"] for b in bins]) - value
            clean = found["attack"] == "clean"
            panel.errorbar(
                np.array([b["score"] for b in bins]) + 0.006 * (k - 1), value, [low, high], color=colour,
                marker=marker, markersize=4.5, linewidth=1.1, elinewidth=0.8, capsize=1.5,
                linestyle="--" if found["target"] == "float" else "-" if clean else "-.",
            )  # fmt: skip
        panel.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="score of the answer", ylabel="share that is right")
        panel.set_title(bundle["bundle"])
    return drawing


def reliability_look(index: int) -> tuple[str, str, str]:
    return series((4, 0, 1)[index] if index < 3 else index)


def roc(found: Sequence[Mapping[str, Any]], title: str) -> Drawing:
    """Share of turned windows that is noticed over clean ones that are suspected: blind and aware attacker."""
    drawing = Drawing(PANEL)
    least = min(1.0 / found[0]["clean"], 0.01)
    with drawing as axes:
        panel = axes[0][0]
        panel.axvline(0.01, color=SOFT, linewidth=0.8, linestyle=":")
        for curve in found:
            if "points" not in curve:
                continue
            k = 0 if curve["attacker"] == "blind" else 1
            x, y = np.array(curve["points"]).T
            panel.plot(
                np.maximum(x, least), y, color=SERIES[k], linewidth=1.4, linestyle="-" if k == 0 else "--",
                drawstyle="steps-pre",
            )  # fmt: skip
            own = curve["at"][0]
            panel.plot(
                max(own["false_alarms"]["share"], least), own["noticed"]["share"], marker="os"[k], markersize=6,
                color=SERIES[k], markeredgecolor=INK, clip_on=False,
            )  # fmt: skip
        panel.set(xscale="log", xlim=(least, 1), ylim=(0, 1.02), title=title)
        panel.set(xlabel="clean windows suspected", ylabel="turned windows noticed")
        ticks = [t for t in (0.001, 0.01, 0.1, 1.0) if t >= least]
        panel.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
    return drawing


def confusions(bundle: Mapping[str, Any], shown: Sequence[Row]) -> Drawing:
    """The confusion matrices that the page has as tables, side by side, for use elsewhere."""
    drawing = Drawing((2.6 * len(shown), 2.9), columns=len(shown))
    labels = bundle["labels"]
    with drawing as axes:
        for panel, row in zip(axes[0], shown, strict=True):
            table = np.array(row["confusion"])
            share = table / np.maximum(table.sum(1, keepdims=True), 1)
            panel.imshow(share, cmap="Blues", vmin=0, vmax=1.2)
            for (i, j), count in np.ndenumerate(table):
                panel.text(j, i, str(count), ha="center", va="center", fontsize=8)
            panel.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 6 else 30)
            panel.set_yticks(range(len(labels)), labels)
            panel.grid(False)
            panel.set(xlabel="answered", ylabel="true", title=row_name(row))
    return drawing


def row_name(row: Row) -> str:
    budget = "" if row["attack"] == "clean" else f" {row['epsilon']:g} {unit(row['units'])}"
    return f"{row['attack']}{budget}, {row['target']}"
