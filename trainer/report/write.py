"""Page, pictures and JSON of a report into one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import EvaluationError
from trainer.evaluate.report import write_text
from trainer.report import charts, page, sections, strip
from trainer.report.drawing import Drawing


def write(report: Mapping[str, Any], out: Path) -> Path:
    """Write ``report.json``, ``figures/*.png`` and ``report.html`` under ``out``; gives the page's path.

    Raises:
        EvaluationError: the folder cannot be written.
    """
    write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    drawn = {}
    try:
        for name, words, drawing in drawings(report):
            drawing.save(out / "figures" / f"{name}.png")
            drawn[name] = drawing.inline(name, words)
    except OSError as error:
        raise EvaluationError(f"{out}: cannot be written: {error.strerror or error}") from error
    write_text(out / "report.html", page.render(report, drawn))
    return out / "report.html"


def drawings(report: Mapping[str, Any]) -> Iterator[tuple[str, str, Drawing]]:
    """Name, words and drawing of every picture."""
    for attack in charts.attacks_of(report):
        for i, units in enumerate(charts.units_of(report)):
            words = _words(report, attack, units)
            if words:
                name = f"epsilon-{attack}" + (f"-{i}" if i else "")
                yield name, words, charts.over_epsilon(report, attack, units)
    for k, bundle in enumerate(report["bundles"]):
        name = bundle["bundle"]
        confusions = page.shown_confusions(bundle)
        if confusions:
            yield f"confusion-{k}", f"confusion matrices of {name}", charts.confusions(bundle, confusions)
        if bundle["reliability"]:
            told = "; ".join(f"{charts.row_name({**r, 'units': bundle['units']})}: error {r['error']:.3f}"
                             for r in bundle["reliability"])  # fmt: skip
            yield f"reliability-{k}", f"Reliability diagram of {name}: {told}", charts.reliability(bundle)
        for epsilon in dict.fromkeys(found["epsilon"] for found in bundle["detector"]):
            found = [f for f in bundle["detector"] if f["epsilon"] == epsilon]
            if any("points" in f for f in found):
                told = "; ".join(f"{f['attacker']} attacker: area {f['auc']:.3f}" for f in found if "auc" in f)
                words = f"Detector of {name} at {epsilon:g} {charts.unit(bundle['units'])}: {told}"
                yield f"detector-{k}-{epsilon:g}", words, charts.roc(found, f"{name}, {epsilon:g}")
        for example in bundle["examples"]:
            yield f"record-{k}-{example['kind']}", sections.example_words(example), strip.draw(example)


def _words(report: Mapping[str, Any], attack: str, units: str) -> str:
    told = []
    for bundle in report["bundles"]:
        for target in ("float", "file"):
            rows = charts.curve_rows(bundle, attack, target) if bundle["units"] == units else []
            values = ", ".join(f"{row['accuracy']:.2f} at {row['epsilon']:g}" for row in rows)
            if values:
                told.append(f"{bundle['bundle']} {'float twin' if target == 'float' else 'file'}: {values}")
    return f"Accuracy over the budget in {charts.unit(units)} under {attack}. {'; '.join(told)}" if told else ""
