"""history.csv of a run as a picture: loss, and clean and robust validation accuracy, over epochs."""

from __future__ import annotations

import csv
import math
from pathlib import Path


def plot(run: Path) -> Path:
    """Draw ``run``/history.csv to ``run``/history.png and give its path."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with (run / "history.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] != "encode_decode"]
    epochs = [int(row["epoch"]) for row in rows]
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    loss.plot(epochs, [float(row["loss"]) for row in rows], color="black")
    loss.set(xlabel="epoch", ylabel="training loss", title="Loss")
    for key, label, style in (("val_clean", "clean", "-"), ("val_robust", "attacked (PGD-10)", "--")):
        points = [
            (e, float(r[key])) for e, r in zip(epochs, rows, strict=True) if math.isfinite(float(r[key]))
        ]
        if points:
            accuracy.plot(*zip(*points, strict=True), style, color="black", label=label)
    accuracy.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1), title="Validation")
    if accuracy.lines:
        accuracy.legend(frameon=False)
    for axes in (loss, accuracy):
        axes.spines[["top", "right"]].set_visible(False)
    out = run / "history.png"
    figure.savefig(out, dpi=120)
    return out
