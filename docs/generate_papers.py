"""Write the tables of docs/results.md: the papers' printed figures beside ours, `python -m docs.generate_papers`.

Ours are read from docs/results; a file that is not there leaves its column out. The papers' are facts from their
tables: Table 4 of the paper on IoT series, Tables 3 and 5 of the one on adversarial distillation training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.reproduce import papers

PAGE = Path(__file__).resolve().parent / "results.md"
RESULTS = PAGE.parent / "results"
# Of paper 2, the methods of the page.
ECG = {
    "none": "No defence",
    "jr": "Jacobian regularization",
    "nsr": "NSR regularization",
    "dd": "Defensive distillation",
    "at": "Adversarial training",
    "adt": "ADT",
}

# Columns of our own Table 4, by their key in its file.
IOT_OWN = {
    "resnet_clean": "ResNet clean",
    "resnet_fgsm": "ResNet, FGSM",
    "encdec_clean": "encode-decode clean",
    "encdec_fgsm_paper": "as in the paper, FGSM",
    "encdec_adaptive": "attacked through it",
    "best_clean": "our best clean",
    "best_fgsm": "our best, FGSM",
    "best_adaptive": "our best, worst attack",
}


def rows_of(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of one evaluation file by (target, attack)."""
    path = RESULTS / "zoo" / f"{name}.json"
    if not path.exists():
        return {}
    return {(r["target"], r["attack"]): r for r in json.loads(path.read_text(encoding="utf-8"))["rows"]}


def _ours(row: dict[str, Any] | None) -> str:
    if row is None or row["accuracy"] is None:
        return ""
    low, high = row["accuracy_low"], row["accuracy_high"]
    return f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f}), F1 {row['macro_f1']:.3f}"


def ecg() -> str:
    """Paper 2's situation II beside the shipped bundles' int8 files."""
    lines = ["| Model | clean | SAP, 10 µV | PGD, 10 µV |", "|---|---|---|---|"]
    for net, name in ECG.items():
        (sap, sap_f1), (pgd, pgd_f1) = papers.ECG[net][3], papers.ECG[net][5]
        clean = sap / (1.0 - papers.ECG_SAP_DROP[net])
        lines.append(
            f"| {name} (paper) | {clean:.3f} | {sap:.3f}, F1 {sap_f1:.3f} | {pgd:.3f}, F1 {pgd_f1:.3f} |"
        )
    for name in ("ecg-undefended", "ecg-rhythm", "ecg-rhythm-nano"):
        rows = rows_of(name)
        if rows:
            cells = [_ours(rows.get(("int8", attack))) for attack in ("clean", "sap", "pgd")]
            lines.append(f"| **`{name}`, int8 file (ours)** | {' | '.join(cells)} |")
    return "\n".join(lines)


def further() -> str:
    """Attacks on shipped bundles beside those of README's table: other models as their source, budgets, suites."""
    lines = [
        "| Bundle | attack | made on | records | accuracy (95 %) | macro F1 | balanced |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted((RESULTS / "further").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        for row in found["rows"]:
            if row["accuracy"] is None:
                continue
            model = row.get("model", found.get("model"))
            name, source = (text.partition("@")[0] for text in (model, found.get("through", model)))
            budget, made = "", ""
            if row["attack"] == "boundary":  # an L2 walk without a budget (trainer.zoo.boundary)
                budget, made = f" as in Table 6, {found['queries']} queries", f"`{source}`"
            elif row["attack"] != "clean":
                budget, made = f", {row['epsilon']:g} µV, {row['steps']} steps", f"`{source}`"
            accuracy = f"{row['accuracy']:.3f} ({row['accuracy_low']:.3f} to {row['accuracy_high']:.3f})"
            warned = "".join(f", {code}" for code in row.get("warnings", ()))
            lines.append(
                f"| `{name}`, {row['target']} | {row['attack']}{budget}{warned} | {made} | {row['n']} | {accuracy} "
                f"| {row['macro_f1']:.3f} | {row['balanced_accuracy']:.3f} |"
            )
    return "\n".join(lines) if len(lines) > 2 else "None are published yet."


def iot() -> str:
    """Paper 1's Table 4 beside our appliances bundle."""
    rows = rows_of("appliances")
    head = "| Data set | ResNet clean (paper) | ResNet, FGSM (paper) | encode-decode, FGSM (paper) | ours clean | "
    lines = [head + "ours, FGSM | ours, PGD |", "|---|---|---|---|---|---|---|"]
    for name, (clean, attacked, defended) in papers.IOT.items():
        cells = ["", "", ""]
        if name == "SmallKitchenAppliances" and rows:
            cells = [_ours(rows.get(("int8", attack))) for attack in ("clean", "fgsm", "pgd")]
        paper = " | ".join(f"{value / 100:.3f}" for value in (clean, attacked, defended))
        lines.append(f"| {name} | {paper} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ecg_own() -> str:
    """Tables and claims that `trainer reproduce ecg` wrote, headings one level below the page's."""
    files = [RESULTS / "ecg" / name for name in ("tables.md", "claims.md")]
    texts = [path.read_text(encoding="utf-8").strip() for path in files if path.exists()]
    if not texts:
        return (
            "`trainer reproduce ecg` makes the paper's own tables and figures; none are published here yet."
        )
    return re.sub(r"^#+ ", "#### ", "\n\n".join(texts), flags=re.MULTILINE)


def _share(value: float | None, interval: Sequence[float] | None) -> str:
    """A share with its 95 % interval; blank where it is not finished."""
    if value is None:
        return ""
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def iot_own() -> str:
    """What is finished of Table 4; a blank is a figure that is not finished."""
    path = RESULTS / "iot" / "table4.json"
    table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known, spread = table.get("datasets", {}), table.get("intervals", {"datasets": {}, "means": {}})
    finished = {name: row for name, row in known.items() if any(row[key] is not None for key in IOT_OWN)}
    if not finished:
        return (
            "`trainer reproduce iot` makes the paper's own tables and figures; none are published here yet."
        )
    lines = ["| Data set | " + " | ".join(IOT_OWN.values()) + " |", "|---" * (1 + len(IOT_OWN)) + "|"]
    for name, row in finished.items():
        cells = [_share(row[key], spread["datasets"].get(name, {}).get(key)) for key in IOT_OWN]
        lines.append(f"| {name} ({row['n_test']} series) | {' | '.join(cells)} |")
    means = [_share(table["means"][key], spread["means"].get(key)) for key in IOT_OWN]
    lines.append(f"| **mean** | {' | '.join(means)} |")
    return "\n".join([*lines, "", "A blank is not finished. [The report so far](results/iot/report.html)."])


def render(page: str) -> str:
    """The page with its tables replaced."""
    parts = (("ecg", ecg()), ("ecg-further", further()), ("iot", iot()), ("ecg-own", ecg_own()), ("iot-own", iot_own()))
    for name, table in parts:
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, rest = page.split(begin, 1)
        page = f"{before}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}"
    return page


def main() -> None:
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote docs/{PAGE.name}")


if __name__ == "__main__":
    main()
