"""One look for every picture of a report, and a figure as PNG beside it and as SVG inside the page.

The SVG keeps its text as text and takes its colours from the page's style, so that one drawing serves light and dark.
"""

from __future__ import annotations

import html
import io
import logging
import re
from pathlib import Path
from typing import Any

INK, SOFT, GRID, PAPER = "#1c2430", "#56606e", "#dfe3ea", "#d98c8c"
# Distinct for the colour-blind (Okabe and Ito), and by marker and line, too.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#7f6000")
MARKERS, GLYPHS = ("o", "s", "^", "D", "v", "P"), ("●", "■", "▲", "◆", "▼", "✚")
VARIABLES = {INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "paper", **{c: f"c{i}" for i, c in enumerate(SERIES)}}
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "wavewall", "font.family": ["DejaVu Sans"], "font.size": 9,
    "axes.edgecolor": SOFT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "axes.axisbelow": True, "axes.titlesize": 9.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "legend.frameon": False, "path.simplify_threshold": 0.3,
}  # fmt: skip


def series(index: int) -> tuple[str, str, str]:
    """Colour, marker and the marker's glyph of the ``index``-th bundle."""
    return SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)], GLYPHS[index % len(GLYPHS)]


class Drawing:
    """A figure of ``size`` inches: ``with Drawing(...) as axes`` draws, ``save`` and ``inline`` give it away."""

    def __init__(self, size: tuple[float, float], rows: int = 1, columns: int = 1, **subplots: Any) -> None:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        self._style = mpl.rc_context(STYLE)
        with mpl.rc_context(STYLE):
            self.figure = Figure(figsize=size, layout="constrained")
            FigureCanvasAgg(self.figure)
            self.axes = self.figure.subplots(rows, columns, squeeze=False, **subplots)

    def __enter__(self) -> Any:
        self._style.__enter__()
        return self.axes

    def __exit__(self, *error: Any) -> None:
        self._style.__exit__(*error)

    def save(self, file: Path) -> None:
        """A PNG on white."""
        file.parent.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(file, dpi=150, facecolor="white", metadata={"Software": None})

    def inline(self, name: str, words: str) -> str:
        """The drawing as an SVG element whose colours are the page's; ``words`` tell what it shows."""
        import matplotlib as mpl

        buffer = io.StringIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return themed(buffer.getvalue(), name, words)


def themed(svg: str, name: str, words: str) -> str:
    """Matplotlib's SVG as part of a page: no prolog, no addresses, ids of its own, colours as variables."""
    found = re.search(r"<svg.*</svg>", svg, re.S)
    assert found is not None
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", found[0], flags=re.S)
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    alt = html.escape(words, quote=True)
    svg = re.sub(r"<svg[^>]*>", f'<svg {box[0]} role="img" aria-label="{alt}">', svg, count=1)
    svg = svg.replace("xlink:href", "href").replace("'DejaVu Sans'", "system-ui, sans-serif")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return "\n".join(line.rstrip() for line in svg.splitlines())
