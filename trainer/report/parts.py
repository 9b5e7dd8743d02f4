"""Pieces of HTML that every section of the page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from trainer.evaluate.checks import WARNINGS


def share(value: float, low: float, high: float) -> str:
    """A share with its 95 % interval, as every figure of the page is written."""
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def accuracy(row: Mapping[str, Any]) -> str:
    return share(row["accuracy"], row["accuracy_low"], row["accuracy_high"])


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Cells are HTML already; ``numbers`` are the columns set flush right."""
    top = "".join(f"<th scope=col{' class=n' if i in numbers else ''}>{cell}</th>" for i, cell in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if i in numbers else ''}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    words = escape(caption, quote=True)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{words}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def warnings(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the masking checks say of rows; clean ones are not checked."""
    rows = [row for row in rows if row["attack"] != "clean"]
    if not rows:
        return ""
    codes = list(dict.fromkeys(code for row in rows for code in row.get("warnings") or ()))
    if not codes:
        return "passed"
    return " ".join(f'<span class="warn">⚠ {escape(WARNINGS.get(code, code))}</span>' for code in codes)
