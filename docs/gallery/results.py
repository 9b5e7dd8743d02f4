"""Accuracy of every evaluated bundle, clean and attacked, and the poster of one card."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import edge
from docs.gallery import style

RESULTS = style.IMAGES.parent / "results" / "zoo"
ATTACKS = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD", "sap": "SAP"}
# What a constant answer scores on the same records (README): below it a model is worth nothing.
CONSTANT = {"ecg": 0.59, "appliances": 0.33}


def rows_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that the figures show, at the smallest budget."""
    rows = [r for r in document["rows"] if r["attack"] in ATTACKS]
    least = min((r["epsilon"] for r in rows if r["attack"] != "clean"), default=0.0)
    return [r for r in rows if r["attack"] == "clean" or r["epsilon"] == least]


def bars(axis: Any, rows: list[dict[str, Any]], name: str) -> None:
    """Float beside int8 for each attack, with 95 % intervals."""
    shown = [a for a in ATTACKS if any(r["attack"] == a for r in rows)]
    for offset, target, colour in ((-0.19, "float", style.SKY), (0.19, "int8", style.BLUE)):
        for at, attack in enumerate(shown):
            row = next((r for r in rows if (r["target"], r["attack"]) == (target, attack)), None)
            if row is None or row["accuracy"] is None:
                continue
            value = row["accuracy"]
            span = [[value - row["accuracy_low"]], [row["accuracy_high"] - value]]
            axis.bar(at + offset, value, 0.36, color=colour, label=target if at == 0 else None)
            axis.errorbar(at + offset, value, span, color=style.INK, lw=1, capsize=2)
            ink = "white" if target == "int8" else style.INK
            axis.text(at + offset, 0.03, f"{value:.3f}", ha="center", va="bottom", fontsize=8, color=ink, rotation=90)
    constant = next((v for key, v in CONSTANT.items() if name.startswith(key)), None)
    if constant is not None:
        axis.axhline(constant, color=style.ORANGE, lw=1, ls="--")
    attacked = next((r for r in rows if r["attack"] != "clean"), None)
    unit = "" if attacked is None else f"{attacked['epsilon']:g} {'µV' if attacked['units'] == 'uV' else 'sd'}"
    axis.set(xticks=range(len(shown)), ylim=(0, 1), title=name)
    axis.set_xticklabels([ATTACKS[a] + ("" if a == "clean" else f"\n{unit}") for a in shown])
    axis.grid(axis="x", visible=False)


def figure() -> Path:
    """All bundles side by side."""
    plt = style.use()
    files = sorted(RESULTS.glob("*.json"))
    made, axes = plt.subplots(1, len(files), figsize=(3.2 * len(files), 3.3), sharey=True, squeeze=False)
    for axis, path in zip(axes[0], files, strict=True):
        bars(axis, rows_of(json.loads(path.read_text(encoding="utf-8"))), path.stem)
    axes[0][0].set_ylabel("accuracy")
    handles, _ = axes[0][0].get_legend_handles_labels()
    made.tight_layout()
    made.legend(handles, ["float model", "int8 file"], loc="upper center", ncols=2, bbox_to_anchor=(0.5, 0.02))
    return style.save(made, "results")


def poster(name: str = "ecg-rhythm") -> Path:
    """One bundle's robustness card as a page."""
    plt = style.use()
    bundle = edge.load(name).bundle
    card, manifest = bundle.card, bundle.manifest
    made = plt.figure(figsize=(7.2, 9.4))
    made.text(0.06, 0.95, manifest.ref, fontsize=24, weight="bold")
    made.text(0.06, 0.92, "robustness card", fontsize=12, color=style.SOFT)
    spec, model, evaluation = manifest.input, card["model"], card["evaluation"]
    seconds, unit = spec.window_samples / spec.rate_hz, spec.units.replace("uV", "µV")
    levels = len(manifest.thermometer.thresholds) if manifest.thermometer else 0
    limits = manifest.decision
    facts = [
        ("Tells", ", ".join(manifest.labels)),
        ("From", f"{seconds:g} s of {', '.join(spec.channels)} in {unit} at {spec.rate_hz:g} Hz"),
        ("Defence", f"thermometer of {levels} levels, encode-decode, adversarial training" if levels else "none"),
        ("Size", f"{model['parameters']:,} parameters, {model['file_bytes'] / 1000:.0f} kB, {model['quantization']}"),
        ("Trained on", f"{card['data']['train_records']:,} records of {card['data']['name']}"),
        ("Measured on", f"{evaluation['rows'][0]['n']} records of {evaluation['data']} that no training saw"),
        ("Suspect", f"residual above {limits.suspect_residual or 0:.0f} {unit} or disagreement above "
         f"{limits.suspect_disagreement or 0:.2f}"),
    ]  # fmt: skip
    for at, (what, value) in enumerate(facts):
        made.text(0.06, 0.865 - 0.036 * at, what, fontsize=11, color=style.SOFT)
        made.text(0.24, 0.865 - 0.036 * at, value, fontsize=11)
    axis = made.add_axes((0.1, 0.21, 0.84, 0.34))
    bars(axis, rows_of(evaluation), name)
    axis.set_title("Accuracy, 95 % interval; dashed: a constant answer")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
    text = f"{card['intended_use']} {card['limits']}"
    made.text(0.06, 0.1, "\n".join(textwrap.wrap(text, 84)), fontsize=10, va="top")
    made.text(0.06, 0.025, f"manifest sha256 {bundle.sha256}", fontsize=7.5, color=style.SOFT)
    return style.save(made, f"card-{name}")


def make() -> list[Path]:
    """Figure and poster."""
    return [figure(), poster()]
