"""One HTML file that opens without a network: text, tables and pictures of a reproduction."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1c1c1c; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; margin: .8rem 0; font-size: .9rem; display: block; overflow-x: auto }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 } figcaption { color: #444; font-size: .9rem }
code { background: #f3f3f3; padding: .1rem .3rem; border-radius: 3px; overflow-wrap: anywhere }
@media (prefers-color-scheme: dark) {
  body { background: #16181a; color: #e6e6e6 } th, td { border-color: #3a3d40 } code { background: #26292c }
  img { background: #fff } figcaption { color: #b8b8b8 } h2 { border-color: #444 } }
"""


class Page:
    """Collects parts in order; everything given is escaped."""

    def __init__(self, title: str) -> None:
        self._title = html.escape(title)
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def code(self, text: str) -> None:
        self._parts.append(f"<p><code>{html.escape(text)}</code></p>")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Cells that begin with a digit or a sign are set flush right."""
        top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>")

    def picture(self, file: Path, words: str) -> None:
        """A PNG with the words that say what it shows, also to those who do not see it."""
        data = base64.b64encode(file.read_bytes()).decode()
        alt = html.escape(words, quote=True)
        self._parts.append(
            f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">'
            f"<figcaption>{html.escape(words)}</figcaption></figure>"
        )

    def render(self) -> str:
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{self._title}</title><style>{STYLE}</style></head>\n<body><h1>{self._title}</h1>\n"
            + "\n".join(self._parts)
            + "\n</body></html>\n"
        )


def _cell(text: str) -> str:
    kind = ' class="number"' if text[:1].isdigit() or (text[:1] in "+-" and text[1:2].isdigit()) else ""
    return f"<td{kind}>{html.escape(text)}</td>"
