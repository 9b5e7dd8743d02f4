"""Fig. 1 of paper 2: a piece of one record, and the same piece attacked by PGD and by SAP, on ECG paper.

The record is chosen by a rule, not by its looks: the first of the test part, by name, that the undefended network has
right and both attacks turn; the piece is the four seconds in which PGD moved the signal most.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer.cells import write_json
from trainer.report.strip import MM_PER_MV, MM_PER_S, paper
from trainer.reproduce.ecg_cells import PGD_SHOT, SAP_SHOT, UNDEFENDED, Grid
from trainer.reproduce.ecg_evidence import Evidence

SECONDS = 4.0


def pick(evidence: Evidence) -> int | None:
    """Index of the record that is shown; None where there is none."""
    clean = evidence.right(UNDEFENDED, None)
    turned = [evidence.right(UNDEFENDED, shot) for shot in (PGD_SHOT, SAP_SHOT)]
    if clean is None or any(t is None for t in turned):
        return None
    shown = clean[0] & ~turned[0][0] & ~turned[1][0]  # type: ignore[index]
    return int(np.flatnonzero(shown)[0]) if shown.any() else None


def figure1(grid: Grid, names: tuple[str, ...], out: Path) -> dict[str, Any] | None:
    """Draw ``figure1.png`` and ``.svg`` under ``out`` with ``figure1.json`` beside them; None without a record."""
    for shot in (PGD_SHOT, SAP_SHOT):
        grid.own(0, UNDEFENDED, shot)
    grid.clean(0, UNDEFENDED)
    at = pick(Evidence(grid.out))
    if at is None:
        return None
    spec, labels = grid.windows.spec, grid.windows.spec.labels
    original = grid.windows.x[at, :, 0]
    attacked = {
        name: grid.attacked(0, UNDEFENDED, shot, at) for name, shot in (("PGD", PGD_SHOT), ("SAP", SAP_SHOT))
    }
    n = round(SECONDS * spec.rate_hz)
    moved = np.convolve(np.abs(attacked["PGD"][0] - original), np.ones(n), "valid")
    first = int(moved.argmax())
    traces = {"original": original[first : first + n]} | {
        k: x[first : first + n] for k, (x, _) in attacked.items()
    }
    answers = {"original": labels[int(grid.windows.y[at])]} | {
        k: labels[label] for k, (_, label) in attacked.items()
    }
    out.mkdir(parents=True, exist_ok=True)
    picture = _draw(traces, answers, spec.rate_hz)
    for ending in ("png", "svg"):
        picture.savefig(out / f"figure1.{ending}", dpi=130)
    largest = {k: float(np.abs(x - original).max()) for k, (x, _) in attacked.items()}
    facts = {
        "figure": 1,
        "record": names[at],
        "first_sample": first,
        "seconds": SECONDS,
        "answers": answers,
        "largest_change_uv": largest,
    }
    write_json(out / "figure1.json", facts)
    return facts


def _draw(traces: dict[str, np.ndarray], answers: dict[str, str], rate_hz: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spread = max(float(np.ptp(trace)) for trace in traces.values()) / 1000.0
    half_mv = 0.5 * (np.ceil(spread * 2) / 2 + 0.5)
    width_mm, height_mm = SECONDS * MM_PER_S, 2 * half_mv * MM_PER_MV
    picture = Figure(figsize=((width_mm + 30) / 25.4 * 1.6, (height_mm + 12) * len(traces) / 25.4 * 1.6))
    FigureCanvasAgg(picture)
    panels = picture.subplots(len(traces), 1, squeeze=False)[:, 0]
    for panel, (name, trace) in zip(panels, traces.items(), strict=True):
        middle = (float(trace.max()) + float(trace.min())) / 2
        paper(panel, SECONDS, -half_mv, half_mv)
        panel.plot(np.arange(len(trace)) / rate_hz, (trace - middle) / 1000.0, color="black", linewidth=0.8)
        panel.set_title(f"{name}: answered {answers[name]}", fontsize=9, loc="left")
    panels[-1].set_xlabel(
        f"{MM_PER_S:g} mm/s, {MM_PER_MV:g} mm/mV; small squares are 0.04 s by 0.1 mV", fontsize=8
    )
    picture.tight_layout()
    return picture
