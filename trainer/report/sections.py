"""The sections of the page that are about the file's answers: calibration, detector, records."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from trainer.report.charts import reliability_look, row_name, unit
from trainer.report.parts import figure, share, table
from trainer.report.strip import enlargement

Drawn = Mapping[str, str]  # name of a drawing -> its SVG


def calibration(report: Mapping[str, Any], drawn: Drawn) -> str:
    figures, rows = [], []
    for k, bundle in enumerate(report["bundles"]):
        for i, found in enumerate(bundle["reliability"]):
            glyph = reliability_look(i)[2]
            mark = f'<span class="key" style="color:var(--c{(4, 0, 1)[i] if i < 3 else i})">{glyph}</span> '
            rows.append(
                [
                    escape(bundle["bundle"]),
                    mark + escape(row_name({**found, "units": bundle["units"]})),
                    share(found["error"], found["error_low"], found["error_high"]),
                    str(found["n"]),
                    str(found["seed"]),
                ]
            )
        if f"reliability-{k}" in drawn:
            sizes = ", ".join(f"{r['n']} {r['attack']} ({r['target']})" for r in bundle["reliability"])
            figures.append(figure(drawn[f"reliability-{k}"], f"Records: {sizes}"))
    if not rows:
        return ""
    head = ("bundle", "answers", "expected calibration error", "records", "seed")
    caption = "Mean distance between score and accuracy; intervals by bootstrap over records"
    return (
        "<h2>Does a score mean what it says?</h2><p>Answers in ten bins by their score. On the dotted line a score of "
        f'0.8 is right eight times of ten; below it the model is too sure.</p><div class="grid">{"".join(figures)}'
        f"</div>{table(caption, head, rows, (2, 3, 4))}"
    )


def detector(report: Mapping[str, Any], drawn: Drawn) -> str:
    figures, rows = [], []
    for k, bundle in enumerate(report["bundles"]):
        for found in bundle["detector"]:
            name = f"detector-{k}-{found['epsilon']:g}"
            budget = f"{found['epsilon']:g} {unit(found['units'])}"
            if name in drawn and found["attacker"] == "blind":
                figures.append(figure(drawn[name], f"{bundle['bundle']} at {budget}"))
            start = [escape(bundle["bundle"]), budget, found["attacker"], f"{found['flips']} of {found['right']}"]
            if "at" not in found:
                rows.append([*start, "no record was turned: nothing to notice", "", "", ""])
                continue
            auc = share(found["auc"], found["auc_low"], found["auc_high"])
            for at in found["at"]:
                alarms, noticed = at["false_alarms"], at["noticed"]
                rows.append(
                    [
                        *start,
                        at["at"],
                        f"{alarms['count']} of {alarms['n']}: {share(alarms['share'], alarms['low'], alarms['high'])}",
                        f"{noticed['count']} of {noticed['n']}: "
                        + share(noticed["share"], noticed["low"], noticed["high"]),
                        auc,
                    ]
                )
    if not rows:
        return ""
    head = (
        "bundle", "budget", "attacker", "turned", "operating point", "false alarms", "noticed", "area under the curve",
    )  # fmt: skip
    filled = table("Detector at its operating points", head, rows, (5, 6, 7))
    legend = (
        '<ul class="legend"><li><span class="key" style="color:var(--c0)">●</span> blind attacker (solid)</li>'
        '<li><span class="key" style="color:var(--c1)">■</span> attacker who knows the detector (dashed)</li></ul>'
    )
    return (
        "<h2>Does the detector notice?</h2><p>A window is suspect when its residual or disagreement passes the "
        "bundle's threshold (the marks); the curves move both thresholds together. Only records count that the attack "
        "turned from right to wrong. The aware attacker steers below the bundle's own thresholds, so only there does "
        f"its curve say all; elsewhere it flatters the detector.</p>{legend}"
        f'<div class="grid">{"".join(figures)}</div>{filled}'
    )


def example_words(example: Mapping[str, Any]) -> str:
    """The caption of a record, which also says what the picture shows."""
    clean, attacked = example["clean"], example["attacked"]

    def said(answer: Mapping[str, Any]) -> str:
        return f"{answer['label']} ({answer['score']:.3f})"

    seconds = len(example["signal"]) / example["rate_hz"]
    begin = example["first_sample"] / example["rate_hz"]
    zoom = f", drawn {enlargement(example):.0f} times larger" if example["units"] == "uV" else ""
    suspect = "suspect" if example["attacked"]["suspicion"] > 1 else "not suspect"
    return (
        f"{example['kind'].capitalize()} record, {example['record']}, truly {example['true']}; {seconds:g} s from "
        f"{begin:.1f} s on. Clean: file {said(clean['file'])}, float {said(clean['float'])}. Attacked: file "
        f"{said(attacked['file'])}, {suspect}; float {said(attacked['float'])}. Below: what was added, at most "
        f"{example['largest_change']:g} {unit(example['units'])}{zoom}."
    )


def examples(report: Mapping[str, Any], drawn: Drawn) -> str:
    figures = []
    for k, bundle in enumerate(report["bundles"]):
        for example in bundle["examples"]:
            name = f"record-{k}-{example['kind']}"
            if name in drawn:
                figures.append(figure(drawn[name], f"{bundle['bundle']}. {example_words(example)}"))
    if not figures:
        return ""
    micro = any(bundle["units"] == "uV" for bundle in report["bundles"])
    scale = " 25 mm/s and 10 mm/mV: a small square is 0.04 s by 0.1 mV." if micro else ""
    return (
        "<h2>Worst and typical record</h2><p>Of the records that the file has right, in the order of how far PGD moves "
        "the answer at the budget above: the last, and the one in the middle. The piece is that in which the signal "
        f"was moved most. Clean and attacked lie over each other.{scale}</p>"
        f'<div class="grid wide">{"".join(figures)}</div>'
    )
