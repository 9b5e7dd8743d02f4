"""Paper 2's statements, each held, not held or not decidable here, with the figure and interval that decide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.cells import write_json
from trainer.reproduce import ecg_findings as by
from trainer.reproduce.ecg_cells import PGD_SHOT, SAP_SHOT
from trainer.reproduce.ecg_evidence import Evidence
from trainer.reproduce.ecg_findings import DEFENDED, Decide


@dataclass(frozen=True)
class Claim:
    """A statement, where the paper makes it, and how it is decided."""

    name: str
    statement: str
    place: str
    decide: Decide


RIVALS = tuple(net for net in DEFENDED if net != "adt")
_BOTH = ((SAP_SHOT, "SAP"), (PGD_SHOT, "PGD"))


def _claims() -> list[Claim]:
    tables = {
        ("SAP", "I"): "Table 2",
        ("SAP", "II"): "Table 3",
        ("PGD", "I"): "Table 4",
        ("PGD", "II"): "Table 5",
    }
    out = []

    def add(name: str, statement: str, place: str, decide: Decide) -> None:
        out.append(Claim(name, statement, place, decide))

    for shot, attack in _BOTH:
        add(
            f"none-{attack}",
            f"{attack} takes about half of the undefended network's accuracy (read: over 40 %)",
            tables[attack, "II"],
            by.drop_below("none", shot, "II", 0.40, more=True),
        )
    add(
        "all-hold-I",
        "in situation I every method keeps over .75 under SAP",
        "Table 2",
        by.at_least(DEFENDED, SAP_SHOT, "I", 0.75),
    )
    for shot, attack in _BOTH:
        for situation in ("I", "II"):
            place = tables[attack, situation]
            where = f"under {attack}, situation {situation}"
            add(
                f"adt-best-{attack}-{situation}",
                f"ADT is the best method {where}",
                place,
                by.beats("adt", RIVALS, shot, situation),
            )
            add(
                f"adt-at-{attack}-{situation}",
                f"ADT is better than AT {where}",
                place,
                by.beats("adt", ("at",), shot, situation),
            )
            add(
                f"order-{attack}-{situation}",
                f"the order of methods {where} is Table 2's and 3's",
                place,
                by.order(shot, situation),
            )
    add(
        "adt-drop-I",
        "ADT loses under 1 % to SAP in situation I",
        "Table 2",
        by.drop_below("adt", SAP_SHOT, "I", 0.01),
    )
    add(
        "adt-drop-II",
        "ADT loses under 5 % to SAP in situation II",
        "Table 3",
        by.drop_below("adt", SAP_SHOT, "II", 0.05),
    )
    add("adt-f1", "SAP in situation I raises ADT's mean F1 a little", "Table 2", by.f1_rises)
    add(
        "jr-II",
        "JR defends no better than nothing against SAP made on itself",
        "Table 3",
        by.no_better_than_none("jr", SAP_SHOT),
    )
    for situation in ("I", "II"):
        add(
            f"nsr-jr-{situation}",
            f"NSR is better than JR under SAP, situation {situation}",
            tables["SAP", situation],
            by.beats("nsr", ("jr",), SAP_SHOT, situation),
        )
        add(
            f"at-80-{situation}",
            f"AT keeps over .80 under SAP, situation {situation}",
            tables["SAP", situation],
            by.at_least(("at",), SAP_SHOT, situation, 0.80),
        )
    for shot, attack in _BOTH:
        add(
            f"dist-init-{attack}",
            f"attacking the second stage's training helps more than the first's, {attack}, situation II",
            tables[attack, "II"],
            by.beats("dist_adt", ("init_adt",), shot, "II"),
        )
        add(
            f"I-II-{attack}",
            f"every method does better in situation I than in II under {attack}",
            tables[attack, "I"],
            by.situations(shot),
        )
    for situation, place in (("I", "Fig. 3"), ("II", "Fig. 4")):
        add(
            f"smooth-{situation}",
            f"smoothing (t' from 0 to 10) makes the attack weaker, situation {situation}",
            place,
            by.smoothing(situation),
        )
        add(
            f"smooth-more-{situation}",
            f"from t' = 10 on nothing changes (read: within a point), situation {situation}",
            place,
            by.no_further(situation),
        )
    for situation, place in (("I", "Fig. 5"), ("II", "Fig. 6")):
        add(
            f"flat-{situation}",
            f"from 20 uV on the accuracy stands still, situation {situation}",
            place,
            by.flat_from_twenty(situation),
        )
    add(
        "boundary",
        "every method keeps over .85 on the boundary attack's windows",
        "Table 6",
        by.boundary_level(0.85),
    )
    add(
        "boundary-adt",
        "ADT is close to the best under the boundary attack (read: within 2 points)",
        "Table 6",
        by.boundary_near_best,
    )
    add(
        "clean",
        "ADT costs no clean accuracy (read: at most a point)",
        "Tables 2 to 5, by their drops",
        by.clean_kept,
    )
    return out


CLAIMS = _claims()


def claims(out: Path) -> list[dict[str, Any]]:
    """Decide every claim by the cells under ``out``; writes ``claims.json`` and ``claims.md`` there."""
    from trainer.evaluate.report import write_text

    evidence = Evidence(out)
    rows = []
    for claim in CLAIMS:
        finding = claim.decide(evidence)
        rows.append(
            {"claim": claim.name, "statement": claim.statement, "place": claim.place, **asdict(finding)}
        )
    write_json(out / "claims.json", rows)
    write_text(out / "claims.md", markdown(evidence, rows))
    return rows


def markdown(evidence: Evidence, rows: Sequence[dict[str, Any]]) -> str:
    """The claims as a table."""
    head = (
        f"{len(evidence.y)} records, {len(evidence.runs)} run"
        + "s" * (len(evidence.runs) > 1)
        + f", scale {evidence.settings['name']}, {evidence.settings['epochs']} epochs. Differences are paired over "
        "records, 95 % intervals."
    )
    lines = [
        "## The paper's statements",
        "",
        head,
        "",
        "| statement | where | verdict | by |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row['statement']} | {row['place']} | {row['verdict']} | {row['text']} |" for row in rows]
    return "\n".join(lines) + "\n"
