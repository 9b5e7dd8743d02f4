"""``report.html``: one page of the JSON's content, without a script, a font or a picture from anywhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from trainer.report.charts import attacks_of, curve_rows, row_name, unit, units_of
from trainer.report.drawing import series
from trainer.report.parts import accuracy, figure, table, warnings
from trainer.report.sections import Drawn, calibration, detector, examples

STYLE = Path(__file__).with_name("style.css")


def render(report: Mapping[str, Any], drawn: Drawn) -> str:
    """The whole page."""
    bundles = report["bundles"]
    names = [bundle["bundle"] for bundle in bundles]
    title = "Robustness of " + (", ".join(names[:-1]) + " and " if len(names) > 1 else "") + names[-1]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_about(report))}</p>",
        _cards(bundles),
        _summary(report),
        _over_epsilon(report, drawn),
        _confusions(report),
        calibration(report, drawn),
        detector(report, drawn),
        examples(report, drawn),
        _everything(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>\n<body><main>"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _about(report: Mapping[str, Any]) -> str:
    rest = "No data was given, so only figures of earlier evaluations are shown."
    if report["data"] is not None:
        rest = (
            f"Where no earlier evaluation has a figure it was computed for this page: attacks on {report['limit']} "
            f"records of {report['data']}, spread evenly, with seed {report['seed']}."
        )
    return (
        f"Accuracy is the share of records answered rightly, whatever the detector says. Brackets hold 95 % intervals "
        f"(Wilson's for shares). {rest}"
    )


def _cards(bundles: Sequence[Mapping[str, Any]]) -> str:
    cards = []
    for k, bundle in enumerate(bundles):
        _, _, glyph = series(k)
        seconds = bundle["window_samples"] / bundle["rate_hz"]
        levels = bundle["thermometer_levels"]
        limits = [
            f"{name} above {bundle[key]:.4g}{after}"
            for name, key, after in (
                ("residual", "suspect_residual", f" {unit(bundle['units'])}"),
                ("disagreement", "suspect_disagreement", ""),
            )
            if bundle[key] is not None
        ]
        facts = {
            "labels": ", ".join(bundle["labels"]),
            "window": f"{seconds:g} s at {bundle['rate_hz']:g} Hz, in {unit(bundle['units'])}",
            "file": f"{bundle['model_bytes'] / 1000:.0f} kB, {bundle['quantization']}"
            + (f", {bundle['parameters']:,} parameters" if bundle["parameters"] else ""),
            "defence": f"thermometer of {levels} levels, encode-decode" if levels else "no encode-decode",
            "suspect": " or ".join(limits) or "never",
            "abstains": "never by score" if bundle["abstain_score"] is None else f"below {bundle['abstain_score']:.3f}",
            "use": bundle["intended_use"],
            "manifest": f"sha256 {bundle['sha256'][:16]}",
        }
        items = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
        notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in bundle["notes"])
        head = f'<span class="key" style="color:var(--c{k % 6})" aria-hidden="true">{glyph}</span> '
        name = escape(bundle["bundle"])
        cards.append(f'<section class="card"><h3>{head}{name}</h3><dl>{items}</dl>{notes}</section>')
    return f'<div class="grid">{"".join(cards)}</div>'


def _summary(report: Mapping[str, Any]) -> str:
    """Each bundle at the base budget: float beside the file."""
    rows = []
    for bundle in report["bundles"]:
        base = float(bundle["base"])
        cells: dict[tuple[str, float], dict[str, Mapping[str, Any]]] = {}
        for row in bundle["rows"]:
            if row["attack"] == "clean" or float(row["epsilon"]) == base:
                place = "float" if row["target"] == "float" else "file"
                cells.setdefault((row["attack"], float(row["epsilon"])), {})[place] = row
        for pair in cells.values():
            one = pair.get("file") or pair["float"]
            both = [accuracy(pair[t]) if t in pair else "" for t in ("float", "file")]
            f1 = one.get("macro_f1")
            rows.append(
                [
                    escape(bundle["bundle"]),
                    escape(row_name(one).rsplit(",", 1)[0]),
                    *both,
                    f"{f1:.3f}" if isinstance(f1, float) else "",
                    str(one["n"]),
                    warnings(pair.values()),
                ]
            )
    head = ("bundle", "attack", "float twin", "file that ships", "macro F1 of it", "records", "masking checks")
    budgets = dict.fromkeys(f"{b['base']:g} {unit(b['units'])}" for b in report["bundles"])
    caption = f"Accuracy clean and at {' or '.join(budgets)}"
    return f"<h2>At a glance</h2>{table(caption, head, rows, (2, 3, 4, 5))}"


def _over_epsilon(report: Mapping[str, Any], drawn: Drawn) -> str:
    legend = "".join(
        f'<li><span class="key" style="color:var(--c{k % 6})">{series(k)[2]}</span> {escape(bundle["bundle"])}</li>'
        for k, bundle in enumerate(report["bundles"])
    )
    figures = []
    for attack in attacks_of(report):
        for i, units in enumerate(units_of(report)):
            name = f"epsilon-{attack}" + (f"-{i}" if i else "")
            if name not in drawn:
                continue
            sizes = {
                row["n"]
                for bundle in report["bundles"]
                if bundle["units"] == units
                for target in ("float", "file")
                for row in curve_rows(bundle, attack, target)
            }
            figures.append(figure(drawn[name], f"{attack}: {' or '.join(map(str, sorted(sizes)))} records a point"))
    if not figures:
        return ""
    return (
        "<h2>Accuracy over the budget</h2>"
        "<p>Solid: the file that ships. Dashed, hollow: its float twin. Bars are 95 % intervals; budgets are evenly "
        "spaced, whatever their size. Every value stands in the last table.</p>"
        f'<ul class="legend">{legend}</ul><div class="grid">{"".join(figures)}</div>'
    )


def shown_confusions(bundle: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Clean float, clean file, attacked float, attacked file; attacked by what left the file least right."""
    found = [row for row in bundle["rows"] if row["attack"] == "clean"]
    attacked = [row for row in bundle["rows"] if row["attack"] != "clean" and float(row["epsilon"]) == bundle["base"]]
    if attacked:
        judged = [row for row in attacked if row["target"] != "float"] or attacked
        worst = min(judged, key=lambda row: row["accuracy"])["attack"]
        found += [row for row in attacked if row["attack"] == worst]
    return found


def _confusions(report: Mapping[str, Any]) -> str:
    parts = []
    for bundle in report["bundles"]:
        shown = shown_confusions(bundle)
        if not shown:
            continue
        labels = bundle["labels"]
        tables = []
        for row in shown:
            head = "".join(f"<th scope=col class=n>{escape(label)}</th>" for label in labels)
            body = ""
            for label, counts in zip(labels, row["confusion"], strict=True):
                total = max(1, sum(counts))
                cells = "".join(f'<td style="--w:{count / total:.2f}">{count}</td>' for count in counts)
                body += f"<tr><th scope=row>{escape(label)}</th>{cells}</tr>"
            words = escape(f"{bundle['bundle']}: {row_name(row)}, {row['n']} records", quote=True)
            caption = escape(f"{row_name(row)}: {accuracy(row)}, {row['n']} records, seed {row['seed']}")
            tables.append(
                f'<div class="scroll" tabindex="0" role="region" aria-label="{words}"><table class="matrix">'
                f"<caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            )
        parts.append(f"<h3>{escape(bundle['bundle'])}</h3><div class='grid four'>{''.join(tables)}</div>")
    if not parts:
        return ""
    return (
        "<h2>What is taken for what</h2><p>Rows are the true class, columns the answer; the darker, the larger the "
        "share of the row. Attacked: by the attack that left fewest right at the budget above.</p>" + "".join(parts)
    )


def _everything(report: Mapping[str, Any]) -> str:
    rows = []
    for bundle in report["bundles"]:
        for row in bundle["rows"]:
            suite = row.get("suite")
            steps = str(row.get("steps", "")) + (f" x {row['restarts']}" if row.get("restarts", 1) > 1 else "")
            rows.append(
                [
                    escape(bundle["bundle"]),
                    escape(row["target"]),
                    escape(row["attack"]) + (f" v{suite['version']}" if isinstance(suite, Mapping) else ""),
                    "" if row["attack"] == "clean" else f"{row['epsilon']:g} {unit(row['units'])}",
                    f"<ins>{row['accuracy']:.3f}</ins> ({row['accuracy_low']:.3f} to {row['accuracy_high']:.3f})",
                    str(row["n"]),
                    str(row["seed"]),
                    escape(steps),
                    escape(str(row.get("gradient", ""))),
                    escape(f"{row['data']}, {row['source']}"),
                    warnings([row]),
                ]
            )
    head = (
        "bundle", "target", "attack", "budget", "accuracy", "records", "seed", "steps", "gradient", "from",
        "masking checks",
    )  # fmt: skip
    filled = table("Every accuracy of this page", head, rows, (3, 4, 5, 6))
    return f"<h2>Every figure</h2><details><summary>{len(rows)} rows</summary>{filled}</details>"
