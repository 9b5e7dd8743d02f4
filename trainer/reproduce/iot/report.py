"""``report.html``: every table and figure on one page that needs no network and no colour."""

from __future__ import annotations

import base64
import html as escape
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.evaluate.checks import WARNINGS
from trainer.reproduce.iot.plan import Wanted
from trainer.reproduce.papers import IOT as PAPER
from trainer.reproduce.papers import IOT_TABLE1 as PAPER_TABLE1

STYLE = """
body { font: 15px/1.5 Georgia, serif; max-width: 74rem; margin: 2rem auto; padding: 0 1rem; color: #111; }
h1, h2 { font-weight: normal; } h2 { border-top: 1px solid #999; padding-top: 1rem; margin-top: 2.5rem; }
table { border-collapse: collapse; font: 12px/1.4 sans-serif; display: block; overflow-x: auto; }
th, td { padding: .2rem .4rem; text-align: right; }
th { border-bottom: 1px solid #111; font-weight: 600; } td:first-child, th:first-child { text-align: left; }
tr.sum td { border-top: 1px solid #111; font-weight: 600; } .paper { color: #666; } .note { color: #444; font-size: 13px; }
small { white-space: nowrap; color: #444; } img { max-width: 100%; } .missing { border: 1px dashed #666; padding: .5rem 1rem; }
"""
TITLES = {
    4: "Pooled features of clean and attacked series in the plane",
    6: "Noise that is named with confidence",
    7: "Class activation maps",
    8: "Attacked series beside the map",
    10: "From noise through the code to a series",
    11: "The quantised curve",
    12: "Reconstruction, and its error by frequency",
    14: "Accuracy over epsilon",
    15: "Preprocessing before an undefended ResNet",
}


def html(results: Mapping[str, Any], wanted: Wanted, out: Path) -> str:
    """The page; pictures are read from ``out``/figures and put inside it."""
    scale = results["scale"]
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Paper 1</title><style>{STYLE}</style>"
    ]
    parts.append("<h1>Encode-decode and thermometer defence of IoT time series</h1>")
    parts.append(f"<p>{_scale_text(scale)}</p>")
    if results["missing"]:
        parts.append(f"<p class='missing'>Not there yet: {_e(', '.join(results['missing']))}.</p>")
    if "table4" in results:
        parts += [_table4(results), _more(results)]
    if results.get("table1"):
        parts.append(_table1(results))
    if 2 in wanted.tables:
        parts.append(_table2())
    for number in wanted.figures:
        parts.append(_figure(number, results, out))
    return "\n".join(parts) + "\n</html>\n"


def _scale_text(scale: Mapping[str, Any]) -> str:
    if scale["name"] == "full":
        return (
            "Full scale: the paper's ResNet (64, 128, 128 filters) and FCN (128, 256, 128) with the schedules of "
            f"Fawaz and others 2019; every training ends early when its training loss has not fallen by "
            f"{scale['stop_delta']:g} for {scale['stop_after']} epochs, and {scale['settle_steps']} batches let the "
            "statistics of normalisation settle on the weights of the lowest loss: the same rules for all. Products "
            f"in {scale['precision']} where the processor has units for it. No checkpoint was chosen on test series."
        )
    return (
        f"Quick scale: narrower nets (ResNet {scale['width']}, FCN {scale['fcn_width']} filters in the first block), "
        f"{scale['epochs']} epochs, {scale['restarts']} PGD run a gradient and {scale['queries']} Square queries. Its "
        "figures show that everything runs; they are not the method's."
    )


def _table4(results: Mapping[str, Any]) -> str:
    table = results["table4"]
    names = {
        "resnet_clean": "ResNet",
        "resnet_fgsm": "ResNet, FGSM",
        "encdec_clean": "encode-decode",
        "encdec_fgsm_paper": "encode-decode, FGSM by the paper's path",
        "encdec_adaptive": "encode-decode, adaptive",
        "best_clean": "best",
        "best_fgsm": "best, FGSM",
        "best_adaptive": "best, adaptive",
        "ceiling": "ceiling",
    }
    paper_at = {"resnet_clean": 0, "resnet_fgsm": 1, "encdec_fgsm_paper": 2}

    def cells(row: Mapping[str, Any], paper: Sequence[float] | None, spread: Mapping[str, Any]) -> list[str]:
        found = []
        for key in names:
            low_high = f"<br><small>{'–'.join(map(_percent, spread[key]))}</small>" if key in spread else ""
            found.append(_percent(row[key]) + low_high)
            if key in paper_at:
                found.append(f"<span class='paper'>{paper[paper_at[key]]:.1f}</span>" if paper else "")
        return found

    head = ["dataset"]
    for key, text in names.items():
        head += [text, "paper"] if key in paper_at else [text]
    body = [
        [
            _e(name),
            *cells(row, PAPER.get(name), table["intervals"]["datasets"][name]),
            str(row["n_test"]),
            " / ".join(str(len(v)) for v in row["seeds"].values()),
            _e("; ".join(row["warnings"])),
        ]
        for name, row in table["datasets"].items()
    ]
    spread = table["intervals"]["means"]
    means = ["mean", *cells(table["means"], results.get("paper_means"), spread), "", "", ""]
    text = _html_table([*head, "n", "seeds: ResNet / encode-decode / best", "warnings"], body, means)
    codes = "".join(f"<li><code>{k}</code>: {_e(v)}</li>" for k, v in WARNINGS.items())
    return (
        f"<h2>Table 4: defence at epsilon {results['scale']['epsilon']:g} (percent)</h2>{text}"
        "<p class='note'>FGSM by the paper's path takes the ResNet part alone as the attack's target, with the original "
        "series as its input, and evaluates the whole: it does not know of the defence. Adaptive is the worst, series by "
        "series, of FGSM and PGD-40 with restarts through the whole (thermometer: straight-through and two BPDA "
        "surrogates), FGSM and PGD-40 made on the undefended ResNet and FCN, and Square. Nothing is random when a series "
        "is answered, so there is no expectation to take. The ceiling is the share of test series that any classifier can "
        "keep. A mean stands only where every dataset has its figure. Below each figure its 95 % interval over test series (Wilson; of a mean, MOVER). Several of the paper's last figures are whole "
        "multiples of 1/128 (49.22 = 63/128, 10.16 = 13/128, 75 = 96/128): they look like one batch of 128; here the "
        f"full test split counts.</p><p class='note'>Warnings mean that a figure may flatter the defence:</p><ul class='note'>{codes}</ul>"
    )


def _more(results: Mapping[str, Any]) -> str:
    rows, main = results["more"]["datasets"], results["table4"]["datasets"]
    head = [
        "dataset",
        "joint: clean",
        "FGSM, paper's path",
        "adaptive",
        "two-stage: clean",
        "FGSM, paper's path",
        "adaptive",
    ]
    head += ["ResNet, FGSM by predicted label", "joint, paper's path, by predicted label"]
    head += ["best: FGSM, PGD-40 and Square, no transfer"]
    head += ["int8 best: clean", "float minus int8", "int8 best: adaptive", "float minus int8"]

    def line(name: str, more: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
        joint = [row[k] for k in ("encdec_clean", "encdec_fgsm_paper", "encdec_adaptive")]
        two = [more[k] for k in ("two_stage_clean", "two_stage_fgsm_paper", "two_stage_adaptive")]
        device = []
        for key in ("clean", "adaptive"):
            whole, small = row[f"best_{key}"], more[f"int8_{key}"]
            device += [_percent(small), "" if None in (whole, small) else f"{100 * (whole - small):.1f}"]
        predicted = [
            more["resnet_fgsm_predicted"],
            more["encdec_fgsm_predicted"],
            more["best_without_transfer"],
        ]
        return [_e(name), *map(_percent, joint + two + predicted), *device]

    body = [line(name, more, main[name]) for name, more in rows.items()]
    means = line("mean", results["more"]["means"], results["table4"]["means"])
    return (
        "<h2>Joint and two-stage training; int8 of the best</h2>"
        + _html_table(head, body, means)
        + "<p class='note'>Joint: both losses together (Fig. 9). Two-stage: the encode-decode learns alone, then the ResNet "
        "on its reconstructions. Eq. 1 takes the true label, Fig. 3 the predicted one: the true one counts elsewhere. An int8 figure under attack counts the series that stand for the float twin and whose "
        "worst window the int8 file names rightly; it is blank where export refuses the network, as it may a briefly "
        "trained one; the warnings say why.</p>"
    )


def _table1(results: Mapping[str, Any]) -> str:
    cell = results["table1"]
    keys = ("resnet_on_resnet", "resnet_on_fcn", "fcn_on_fcn", "fcn_on_resnet")
    head = ["epsilon"]
    for key in keys:
        target, source = key.split("_on_")
        head += [f"{target.replace('resnet', 'ResNet').replace('fcn', 'FCN')} on {source}'s", "paper"]
    body = []
    for row in cell["rows"]:
        line = [f"{row['epsilon']:g}"]
        for key, printed in zip(keys, PAPER_TABLE1[row["epsilon"]], strict=True):
            line += [_percent(row[key]), f"<span class='paper'>{100 * printed:.1f}</span>"]
        body.append(line)
    clean = ", ".join(f"{k} {_percent(v)}" for k, v in cell["clean"].items())
    return (
        f"<h2>Table 1: transferability, {_e(results['example'])} (percent)</h2>{_html_table(head, body)}"
        f"<p class='note'>Clean: {clean}. The scan prints the paper's last three columns run together; read row by row, as "
        "here, the last two fall with epsilon and the first does but for its first figure, which repeats the column "
        "before it.</p>"
    )


def _table2() -> str:
    from trainer.reproduce.iot.table2 import rows

    head = [
        "continuous value",
        "quantised, paper",
        "code, paper",
        "code of the quantised value here",
        "code of the value here",
    ]
    body = [
        [f"{r.value:g}", f"{r.quantised:g}", r.printed, r.code_of_quantised, r.code_of_value] for r in rows()
    ]
    return (
        "<h2>Table 2: thermometer codes</h2>"
        + _html_table(head, body)
        + "<p class='note'>Our codes set ones for the thresholds that a value has reached; shown is their complement, as the "
        "paper prints it. Eleven places with thresholds at 1/11, 2/11, ... 1 give all three printed codes from the printed "
        "quantised values; of the continuous values only 0.54 gives its own.</p>"
    )


def _figure(number: int, results: Mapping[str, Any], out: Path) -> str:
    cell = results["figures"].get(str(number))
    title = f"<h2>Figure {number}: {TITLES[number]}</h2>"
    if cell is None:
        return f"{title}<p class='missing'>Not there yet.</p>"
    image = base64.b64encode((out / "figures" / f"figure{number}.png").read_bytes()).decode()
    text = f"{title}<p><img alt='{TITLES[number]}' src='data:image/png;base64,{image}'></p>"
    return (
        text
        + f"<p class='note'>{_e(results['example'])}. {_caption(number, cell)}</p>"
        + _refusal(number, results)
    )


def _caption(number: int, cell: Mapping[str, Any]) -> str:
    if number == 4:
        return "Stress is eq. 2; separable is the share of series that a linear rule in the plane names rightly, leaving one out."
    if number == 6:
        return "Share of noise that the undefended ResNet names with more than 0.9 confidence, above; confidences below."
    if number in (7, 8):
        fooled = cell["overlap_of_fooled"]
        more = "" if fooled is None else f" ({fooled:.3f} over those that it fools)"
        return (
            f"The fifth of the points where FGSM matters most overlaps with the fifth of highest activation by "
            f"{cell['overlap']:.3f}{more}; chance gives {cell['chance']:g}."
        )
    if number == 12:
        return "The error of a noisy series' reconstruction lies below the noise where the encode-decode removes it."
    if number == 15:
        return "The attack is made on the ResNet without its preprocessing, as in the paper: it does not know of it."
    return ""


def _refusal(number: int, results: Mapping[str, Any]) -> str:
    found = results.get("refusal")
    if number != 6 or not found or not found["datasets"]:
        return ""
    points = {**found["datasets"], "pooled": found["pooled"]}
    kinds = list(dict.fromkeys(kind for p in points.values() for kind in p["accepted"]))
    head = ["dataset", "clean series", "clean refused"]
    for kind in kinds:
        head += [f"{kind} accepted", "over 0.9"]
    body = []
    for name, p in points.items():
        low, high = p["clean_refused_interval"]
        line = [
            _e(name),
            str(p["clean_series"]),
            f"{_percent(p['clean_refused'])} ({_percent(low)} to {_percent(high)})",
        ]
        for kind in kinds:
            line += [_percent(p["accepted"].get(kind)), _percent(p["accepted_confident"].get(kind))]
        body.append(line)
    return (
        "<h2>Refusing noise</h2>"
        + _html_table(head, body[:-1], body[-1])
        + f"<p class='note'>Residual, disagreement and confidence of the best network together; thresholds are set to refuse "
        f"at most {100 * found['share']:g} % of four fifths of the clean test series, without labels, and most of one half of "
        "the noise, and counted on the rest, five times. With few series the thresholds are coarse.</p>"
    )


def _html_table(
    head: Sequence[str], body: Sequence[Sequence[str]], total: Sequence[str] | None = None
) -> str:
    def line(cells: Sequence[str], tag: str, kind: str = "") -> str:
        return f"<tr{kind}>" + "".join(f"<{tag}>{c}</{tag}>" for c in cells) + "</tr>"

    rows = [line(head, "th"), *(line(r, "td") for r in body)]
    if total is not None:
        rows.append(line(total, "td", " class='sum'"))
    return "<table>" + "\n".join(rows) + "</table>"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _e(text: str) -> str:
    return escape.escape(text)
