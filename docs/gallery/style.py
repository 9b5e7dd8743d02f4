"""One style for every figure."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).resolve().parents[1] / "images"
INK, SOFT, GRID = "#1c2430", "#56606e", "#dfe3ea"
# Distinct for the colour-blind (Okabe and Ito), and by lightness.
BLUE, ORANGE, GREEN, PINK, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"


def use() -> Any:
    """matplotlib.pyplot with the style set; text stays text in SVG, and equal runs give equal files."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "svg.fonttype": "none", "svg.hashsalt": "wavewall", "font.family": ["DejaVu Sans"], "font.size": 10,
            "axes.edgecolor": SOFT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": SOFT,
            "ytick.color": SOFT, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
            "grid.color": GRID, "axes.axisbelow": True, "axes.titlesize": 11, "axes.titleweight": "bold",
            "axes.titlelocation": "left", "figure.facecolor": "white", "savefig.facecolor": "white",
            "legend.frameon": False, "path.simplify": True, "path.simplify_threshold": 0.6,
        }
    )  # fmt: skip
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    return plt


def save(figure: Any, name: str) -> Path:
    """docs/images/NAME.svg."""
    path = IMAGES / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.1)
    text = path.read_text(encoding="utf-8").replace("DejaVu Sans", "DejaVu Sans, Verdana, sans-serif")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    return path
