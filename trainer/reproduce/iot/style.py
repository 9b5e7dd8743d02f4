"""One look for every picture: greys, line styles and markers, so that print without colour loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

INKS = ("black", "0.45", "0.65", "0.25", "0.55")
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "x", "D", "v")
LABELS = {
    "grey_box": "encode-decode, the paper's path",
    "white_box": "encode-decode, white-box",
    "best_white_box": "best defence, white-box",
    "resnet": "ResNet alone",
    "none": "ResNet, no preprocessing",
    "encode_decode": "encode-decode before it",
    "moving_average_5": "moving average of 5 before it",
    "savitzky_golay_11_3": "Savitzky-Golay (11, 3) before it",
}


def look(index: int) -> dict[str, Any]:
    """Keyword arguments of the ``index``-th curve."""
    return {
        "color": INKS[index % len(INKS)],
        "linestyle": LINES[index % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.1,
    }


def picture(
    file: Path, draw: Callable[[Any], None], *, rows: int = 1, columns: int = 1, size: tuple[float, float] = (4.0, 2.8)
) -> None:
    """Draw on ``rows`` x ``columns`` axes, each of ``size`` inches; writes ``file``.png and ``file``.svg."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 8, "svg.hashsalt": "wavewall", "svg.fonttype": "path"}):
        figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
        for one in axes.flat:
            one.spines[["top", "right"]].set_visible(False)
        draw(axes)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file.with_suffix(".png"), dpi=120)
        figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})
