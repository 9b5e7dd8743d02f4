"""Write the tables of docs/results.md: the papers' printed figures beside ours, `python -m docs.generate_papers`.

Ours are read from docs/results; a file that is not there leaves its column out. The papers' are facts from their
tables: Table 4 of the paper on IoT series, Tables 3 and 5 of the one on adversarial distillation training.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "results.md"
RESULTS = PAGE.parent / "results"
# Situation II: accuracy under SAP with its printed drop (a share of the clean accuracy, which is not printed), macro
# F1 under SAP, accuracy and macro F1 under PGD.
ECG = (
    ("No defence (paper)", (0.4256, 0.5069), 0.2839, (0.3906, 0.2558)),
    ("Jacobian regularization (paper)", (0.4223, 0.5108), 0.2958, (0.3805, 0.2582)),
    ("NSR regularization (paper)", (0.7339, 0.1543), 0.5323, (0.7102, 0.5067)),
    ("Defensive distillation (paper)", (0.5079, 0.4184), 0.3397, (0.4577, 0.3028)),
    ("Adversarial training (paper)", (0.8040, 0.0701), 0.6477, (0.7855, 0.6191)),
    ("ADT (paper)", (0.8270, 0.0435), 0.6845, (0.8115, 0.6595)),
)
# Accuracy in per cent: ResNet clean, ResNet under FGSM (Fawaz and others), encode-decode ResNet under FGSM.
IOT = {
    "ArrowHead": (85.1, 33.1, 75.0),
    "Beef": (76.7, 20.0, 30.0),
    "BeetleFly": (85.0, 15.0, 60.0),
    "BirdChicken": (95.0, 55.0, 65.0),
    "Car": (93.3, 21.7, 35.0),
    "CBF": (98.9, 86.1, 98.0),
    "Coffee": (100.0, 50.0, 75.0),
    "SmallKitchenAppliances": (78.9, 40.5, 65.4),
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
    for name, (sap, drop), sap_f1, (pgd, pgd_f1) in ECG:
        clean = sap / (1.0 - drop)
        lines.append(f"| {name} | {clean:.3f} | {sap:.3f}, F1 {sap_f1:.3f} | {pgd:.3f}, F1 {pgd_f1:.3f} |")
    for name in ("ecg-undefended", "ecg-rhythm"):
        rows = rows_of(name)
        if rows:
            cells = [_ours(rows.get(("int8", attack))) for attack in ("clean", "sap", "pgd")]
            lines.append(f"| **`{name}`, int8 file (ours)** | {' | '.join(cells)} |")
    return "\n".join(lines)


def iot() -> str:
    """Paper 1's Table 4 beside our appliances bundle."""
    rows = rows_of("appliances")
    head = "| Data set | ResNet clean (paper) | ResNet, FGSM (paper) | encode-decode, FGSM (paper) | ours clean | "
    lines = [head + "ours, FGSM | ours, PGD |", "|---|---|---|---|---|---|---|"]
    for name, (clean, attacked, defended) in IOT.items():
        cells = ["", "", ""]
        if name == "SmallKitchenAppliances" and rows:
            cells = [_ours(rows.get(("int8", attack))) for attack in ("clean", "fgsm", "pgd")]
        paper = " | ".join(f"{value / 100:.3f}" for value in (clean, attacked, defended))
        lines.append(f"| {name} | {paper} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reproduction(paper: str) -> str:
    """What `trainer reproduce` wrote as Markdown into docs/results/PAPER, headings one level below the page's."""
    files = sorted((RESULTS / paper).glob("*.md"))
    if not files:
        return f"`trainer reproduce {paper}` makes the paper's own tables and figures; none are published here yet."
    texts = [path.read_text(encoding="utf-8").strip() for path in files]
    return re.sub(r"^#+ ", "#### ", "\n\n".join(texts), flags=re.MULTILINE)


def render(page: str) -> str:
    """The page with its tables replaced."""
    parts = (("ecg", ecg()), ("iot", iot()), ("ecg-own", reproduction("ecg")), ("iot-own", reproduction("iot")))
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
