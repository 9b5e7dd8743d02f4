"""Tables 2 to 6 and Fig. 3 to 6 of paper 2 from result cells, the paper's figures beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.evaluate.drops import over_runs, performance_drop
from trainer.evaluate.intervals import wilson
from trainer.evaluate.metrics import measure
from trainer.reproduce.ecg_cells import (
    BUDGETS,
    HONEST,
    PGD_SHOT,
    SAP_SHOT,
    SMOOTHING,
    UNDEFENDED,
    Grid,
    Shot,
)
from trainer.reproduce.ecg_nets import ABLATION, NETS
from trainer.reproduce.papers import ECG as PAPER

TABLES: dict[int, tuple[Shot | None, str]] = {
    2: (SAP_SHOT, "I"),
    3: (SAP_SHOT, "II"),
    4: (PGD_SHOT, "I"),
    5: (PGD_SHOT, "II"),
    6: (None, "I"),
}
TITLES = {2: "SAP, situation I", 3: "SAP, situation II", 4: "PGD, situation I", 5: "PGD, situation II"}
TITLES[6] = "boundary attack"
FIGURES: dict[int, tuple[str, dict[str, list[Shot]]]] = {
    3: ("I", {"alpha 1 uV": SMOOTHING}),
    4: ("II", {"alpha 1 uV": SMOOTHING}),
    5: ("I", {"alpha 1 uV": BUDGETS, "alpha epsilon/10": HONEST}),
    6: ("II", {"alpha 1 uV": BUDGETS, "alpha epsilon/10": HONEST}),
}


def answers(
    grid: Grid, run: int, net: str, shot: Shot, situation: str, nets: Sequence[str]
) -> dict[str, Any]:
    """The cell of one figure; situation I of the undefended network is its situation II."""
    if situation == "I" and net != UNDEFENDED:
        return grid.through(run, net, shot, nets)
    return grid.own(run, net, shot)


def table(grid: Grid, number: int, runs: Sequence[int], nets: Sequence[str]) -> dict[str, Any]:
    """One table: mean, deviation and values over ``runs`` of accuracy and F1 of each net, and their drops.

    ``interval`` is the 95 % Wilson interval of the mean accuracy over the records of one run; deviations are over
    runs. ``n`` lists the windows of each run: the test records, or in Table 6 those that the attack made.
    """
    shot, situation = TABLES[number]
    sizes = [len(grid.windows) if shot else len(grid.boundary(run, nets)["y"]) for run in runs]
    rows = []
    for net in nets:
        if shot is None and net == UNDEFENDED:
            continue  # it made the windows: all of them are wrong by construction
        accuracy, f1, stuck, n = [], [], 0, 0
        drops: dict[str, list[float]] = {"accuracy": [], "f1": []}
        for run in runs:
            if shot is None:
                cell = grid.boundary(run, nets)
                if not cell["y"]:
                    continue
                y, predictions = np.array(cell["y"]), np.array(cell["predictions"][net])
            else:
                cell = answers(grid, run, net, shot, situation, nets)
                y, predictions = grid.windows.y, np.array(cell["predictions"])
                stuck += cell["stuck"]
            found = _figures(y, predictions, grid)
            accuracy.append(found[0])
            f1.append(found[1])
            n = len(y)
            if shot is not None:
                clean = _figures(y, np.array(grid.clean(run, net)["predictions"]), grid)
                for key, whole, attacked in zip(drops, clean, found, strict=True):
                    if whole > 0:
                        drops[key].append(performance_drop(whole, attacked))
        if not accuracy:
            continue
        row = {"net": net, "method": NETS[net].label, "accuracy": _spread(accuracy), "f1": _spread(f1)}
        row["interval"] = list(wilson(round(float(np.mean(accuracy)) * n), n))
        row |= {f"{key}_drop": _spread(values) for key, values in drops.items() if values}
        row["warnings"] = ["zero_gradient"] if stuck else []
        printed = PAPER.get(net, {}).get(number)
        row["paper"] = None if printed is None else {"accuracy": printed[0], "f1": printed[1]}
        rows.append(row)
    return {"table": number, "title": TITLES[number], "runs": len(runs), "n": sizes, "rows": rows}


def ablation(grid: Grid, runs: Sequence[int]) -> list[dict[str, Any]]:
    """ADT at each temperature: accuracy and F1, clean and under SAP and PGD made on the network itself."""
    rows = []
    for net in ("adt", *(name for name in ABLATION if name.startswith("adt"))):
        row: dict[str, Any] = {"net": net, "temperature": {**NETS, **ABLATION}[net].temperature}
        for name, shot in (("clean", None), ("sap", SAP_SHOT), ("pgd", PGD_SHOT)):
            cells = [grid.clean(run, net) if shot is None else grid.own(run, net, shot) for run in runs]
            found = [_figures(grid.windows.y, np.array(cell["predictions"]), grid) for cell in cells]
            n = len(grid.windows)
            mean = float(np.mean([accuracy for accuracy, _ in found]))
            row[name] = {
                "accuracy": _spread([accuracy for accuracy, _ in found]),
                "f1": _spread([f1 for _, f1 in found]),
                "interval": list(wilson(round(mean * n), n)),
            }
        rows.append(row)
    return rows


def figure(grid: Grid, number: int, runs: Sequence[int], nets: Sequence[str]) -> dict[str, Any]:
    """One figure's curves: mean accuracy and F1 over runs at every t' (Fig. 3, 4) or epsilon (Fig. 5, 6)."""
    situation, sweeps = FIGURES[number]
    smoothing = number in (3, 4)
    curves = []
    for sweep, shots in sweeps.items():
        for net in nets:
            points = [
                [
                    _figures(
                        grid.windows.y,
                        np.array(answers(grid, run, net, shot, situation, nets)["predictions"]),
                        grid,
                    )
                    for run in runs
                ]
                for shot in shots
            ]
            mean = np.mean(points, axis=1)
            curves.append(
                {
                    "net": net,
                    "sweep": sweep,
                    "x": [shot.smooth_steps if smoothing else shot.epsilon for shot in shots],
                    "accuracy": mean[:, 0].tolist(),
                    "f1": mean[:, 1].tolist(),
                }
            )
    axis = "t'" if smoothing else "epsilon, uV"
    return {"figure": number, "situation": situation, "runs": len(runs), "axis": axis, "curves": curves}


def draw(data: Mapping[str, Any], file: Path) -> None:
    """A figure's curves as a picture: accuracy and F1, the second sweep dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(picture)
    panels = picture.subplots(1, 2)
    first = data["curves"][0]["sweep"]
    names = list(NETS)
    for panel, key, title in zip(panels, ("accuracy", "f1"), ("accuracy", "mean F1"), strict=True):
        for curve in data["curves"]:
            solid = curve["sweep"] == first
            panel.plot(
                curve["x"],
                curve[key],
                "o-" if solid else "x--",
                color=f"C{names.index(curve['net'])}",
                label=NETS[curve["net"]].label if solid else None,
                markersize=3,
                linewidth=1,
            )
        panel.set(xlabel=data["axis"], title=f"{title}, situation {data['situation']}", ylim=(0, 1))
        panel.spines[["top", "right"]].set_visible(False)
    panels[1].legend(frameon=False, fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(file, dpi=130)


def markdown(tables: Sequence[Mapping[str, Any]]) -> str:
    """All tables as text."""
    lines = []
    for data in tables:
        lines += [f"## Table {data['table']}: {data['title']}", ""]
        windows = " + ".join(str(n) for n in data["n"]) if data["table"] == 6 else str(data["n"][0])
        runs = f"{data['runs']} run" + "s" * (data["runs"] > 1)
        lines += [f"{windows} windows, {runs}; mean ± deviation over runs.", ""]
        lines += ["| method | accuracy | 95 % interval | drop | F1 | drop | paper |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for row in data["rows"]:
            printed = row["paper"]
            cells = [
                row["method"] + (" (zero gradients)" if row["warnings"] else ""),
                _text(row["accuracy"]),
                "{:.3f} to {:.3f}".format(*row["interval"]),
                _text(row.get("accuracy_drop"), percent=True),
                _text(row["f1"]),
                _text(row.get("f1_drop"), percent=True),
                "" if printed is None else f"{printed['accuracy']:.4f} / {printed['f1']:.4f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _figures(y: np.ndarray, predictions: np.ndarray, grid: Grid) -> tuple[float, float]:
    found = measure(y, predictions, len(grid.windows.spec.labels))
    return found.accuracy, found.macro_f1


def _spread(values: Sequence[float]) -> dict[str, Any]:
    found = over_runs(values)
    deviation = None if found.n < 2 else found.deviation
    return {"mean": found.mean, "deviation": deviation, "values": list(values)}


def _text(spread: Mapping[str, Any] | None, *, percent: bool = False) -> str:
    if spread is None:
        return ""
    scale, digits, unit = (100.0, 2, " %") if percent else (1.0, 4, "")
    deviation = spread["deviation"]
    more = "" if deviation is None else f" ± {scale * deviation:.{digits}f}"
    return f"{scale * spread['mean']:.{digits}f}{more}{unit}"
