"""What a notebook shows of an answer and of a bundle: self-contained HTML, no script, no network, all text escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.pipeline.answer import Answer

__all__ = ["answer_html", "card_html"]

# Not by colour alone: each status has its sign, too. Contrast on white is above 4.5.
STATUS: Final = {"ok": ("#1a6e42", "✓"), "suspect": ("#a63c06", "!"), "abstain": ("#4d5562", "?")}
_BOX: Final = (
    "font:14px/1.45 system-ui,sans-serif;color:#1c2430;background:#fff;border:1px solid #c9d0da;"
    "border-radius:8px;padding:12px 14px;max-width:760px"
)
_WIDTH, _HEIGHT = 720, 120
_CELL: Final = "padding:2px 14px 2px 0;text-align:left;border:0"
# A strip of more columns shows nothing more and makes the page heavy.
_MAX_CARD_ROWS: Final = 40


def answer_html(answer: Answer) -> str:
    """The strip of the window with the reconstruction over it, the verdict above, probabilities below."""
    colour, sign = STATUS[answer.status]
    why = f" · {escape(answer.reason)}" if answer.reason else ""
    head = (
        f'<div style="font-size:17px"><b style="color:{colour}">{sign} {answer.status}</b>{why} &nbsp; '
        f"<b>{escape(answer.label)}</b> {answer.score:.2f}</div>"
    )
    bars = "".join(_bar(label, value) for label, value in answer.probabilities.items())
    facts = [
        f"{name} {value:.3g}"
        for name, value in (("residual", answer.residual), ("disagreement", answer.disagreement))
        if value is not None
    ]
    foot = " · ".join([escape(answer.manifest.ref)] if answer.manifest is not None else []) or ""
    foot = " · ".join(part for part in (foot, *facts) if part)
    return (
        f'<div style="{_BOX}">{head}{_strip(answer)}<div style="display:flex;flex-wrap:wrap;gap:4px 18px">{bars}'
        f'</div><div style="color:#56606e;font-size:12px;margin-top:6px">{foot}</div></div>'
    )


def _bar(label: str, value: float) -> str:
    width = round(90 * min(1.0, max(0.0, value)))
    return (
        f'<span style="white-space:nowrap">{escape(label)} <span style="display:inline-block;width:90px;'
        f'background:#e6eaf0;border-radius:3px"><span style="display:block;height:9px;width:{width}px;'
        f'background:#2f5fa8;border-radius:3px"></span></span> {value:.2f}</span>'
    )


def _strip(answer: Answer) -> str:
    window, manifest = answer.window, answer.manifest
    if window is None or manifest is None:
        return ""
    from edge.bundle import preprocess

    reconstruction = answer.scores.reconstruction if answer.scores is not None else None
    shown = window.values
    if reconstruction is not None:  # it is in the unit of the model's input
        shown = preprocess.apply(manifest.preprocess, window.values, window.valid)
    seconds = window.values.shape[0] / window.rate_hz
    parts, real = [], shown[window.valid]
    low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 0.0)
    if reconstruction is not None and real.size:
        inside = reconstruction[window.valid]
        low, high = min(low, float(inside.min())), max(high, float(inside.max()))
    for start, end in _runs(~window.valid):
        left, right = (_WIDTH * side / shown.shape[0] for side in (start, end))
        parts.append(
            f'<rect x="{left:.0f}" y="0" width="{max(1.0, right - left):.0f}" height="{_HEIGHT}" fill="#dfe3ea"/>'
        )
    for channel in range(shown.shape[1]):
        parts.append(_line(shown[:, channel], window.valid, low, high, "#1c2430", 1.0))
        if reconstruction is not None:
            parts.append(_line(reconstruction[:, channel], window.valid, low, high, "#d9480f", 0.8))
    also = " Orange: what the encode-decode gives the model instead." if reconstruction is not None else ""
    kinds = {step.op for step in manifest.preprocess} if reconstruction is not None else set()
    unit = manifest.input.units.replace("uV", "µV") if kinds <= {"remove_dc"} else "as the model reads it"
    unit += ", mean removed" if kinds == {"remove_dc"} else ""
    text = f"{', '.join(manifest.input.channels)}, {seconds:g} s, {low:.4g} to {high:.4g} ({unit})."
    label = escape(f"Signal strip: {text}{also}", quote=True)
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'style="width:100%;height:auto;background:#fdf7f5;border-radius:4px;margin:8px 0 2px">{"".join(parts)}</svg>'
        f'<div style="color:#56606e;font-size:12px;margin-bottom:8px">{escape(text + also)} Grey: no sample.</div>'
    )


def _line(values: FloatArray, valid: BoolArray, low: float, high: float, colour: str, width: float) -> str:
    """A path through the least and the greatest value of each pixel column; gaps lift the pen."""
    n, span = len(values), (high - low) or 1.0
    columns = min(n, _WIDTH)
    edges = np.linspace(0, n, columns + 1).astype(int)
    points: list[str] = []
    down = False
    for column in range(columns):
        part = slice(edges[column], edges[column + 1])
        used = values[part][valid[part]]
        used = used[np.isfinite(used)]
        if not used.size:
            down = False
            continue
        x = _WIDTH * (column + 0.5) / columns
        ends = (float(used.min()), float(used.max())) if used.size > 1 else (float(used[0]),)
        for value in ends:
            y = 4 + (_HEIGHT - 8) * (1.0 - (value - low) / span)
            points.append(f"{'L' if down else 'M'}{x:.0f} {y:.1f}")
            down = True
    return f'<path d="{"".join(points)}" fill="none" stroke="{colour}" stroke-width="{width}" opacity=".85"/>'


def _runs(mask: BoolArray) -> Iterator[tuple[int, int]]:
    """(first, past the last) of each run of True."""
    steps = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    for at in range(0, len(steps), 2):
        yield int(steps[at]), int(steps[at + 1])


def card_html(bundle: Bundle) -> str:
    """Name, input, integrity and the card's accuracies of a bundle."""
    manifest, card = bundle.manifest, bundle.card
    spec = manifest.input
    signed = "signed, checked against the trusted key" if bundle.verified else "signed" if bundle.signed else "unsigned"
    levels = len(manifest.thermometer.thresholds) if manifest.thermometer else 0
    unit = spec.units.replace("uV", "µV")
    facts = {
        "labels": ", ".join(manifest.labels),
        "window": f"{spec.window_samples / spec.rate_hz:g} s of {', '.join(spec.channels)} in {unit} at "
        f"{spec.rate_hz:g} Hz",
        "defence": f"thermometer encode-decode, {levels} levels" if levels else "no encode-decode in this bundle",
        "file": f"{len(bundle.model) / 1000:.0f} kB, {manifest.quantization}, {signed}",
        "intended use": str(card.get("intended_use", "the card does not say")),
    }
    rows = "".join(
        f'<tr><th style="{_CELL};color:#56606e;font-weight:400">{name}</th>'
        f'<td style="{_CELL}">{escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    return (
        f'<div style="{_BOX}"><div style="font-size:17px"><b>{escape(manifest.ref)}</b></div>'
        f'<table style="border-collapse:collapse;margin:6px 0;font:inherit">{rows}</table>{_evaluation(card)}'
        f'<div style="color:#56606e;font-size:12px">{escape(str(card.get("limits", "")))}</div></div>'
    )


def _evaluation(card: Mapping[str, Any]) -> str:
    """The card's table of accuracies; whatever is malformed in it is left out rather than shown wrong."""
    evaluation = card.get("evaluation")
    rows = evaluation.get("rows") if isinstance(evaluation, dict) else None
    if not isinstance(rows, list):
        return '<div style="margin:4px 0">The card holds no evaluation: nothing is known of its robustness.</div>'
    shown = "".join(_row(row) for row in rows[:_MAX_CARD_ROWS] if isinstance(row, dict))
    heads = ("attack", "budget", "model", "accuracy", "95 %", "")
    head = "".join(f'<th style="{_CELL};border-bottom:1px solid #c9d0da">{name}</th>' for name in heads)
    return f'<table style="border-collapse:collapse;margin:6px 0;font:inherit"><tr>{head}</tr>{shown}</table>'


def _row(row: Mapping[str, Any]) -> str:
    accuracy, low, high = (row.get(key) for key in ("accuracy", "accuracy_low", "accuracy_high"))
    if not all(isinstance(value, (int, float)) for value in (accuracy, low, high)):
        return ""
    clean = row.get("attack") == "clean"
    budget = "" if clean else f"{row.get('epsilon', '')} {str(row.get('units', '')).replace('uV', 'µV')}"
    cells = (
        row.get("attack", ""), budget, row.get("target", ""), f"{accuracy:.3f}", f"{low:.3f} to {high:.3f}",
        " ".join(map(str, row.get("warnings") or ())),
    )  # fmt: skip
    return "<tr>" + "".join(f'<td style="{_CELL}">{escape(str(cell))}</td>' for cell in cells) + "</tr>"
