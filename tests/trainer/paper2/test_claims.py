"""The paper's statements against cells made by hand; the report that tells them; Fig. 1's choice of a record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from trainer.cells import Cells
from trainer.cli import app
from trainer.errors import TrainingError
from trainer.evaluate.paired import mcnemar, paired
from trainer.reproduce.ecg_cells import BUDGETS, HONEST, PGD_SHOT, SAP_SHOT, SMOOTHING
from trainer.reproduce.ecg_claims import CLAIMS, claims
from trainer.reproduce.ecg_evidence import Evidence, keep_records
from trainer.reproduce.ecg_figure1 import pick
from trainer.reproduce.ecg_findings import HELD, NOT_HELD, OPEN
from trainer.reproduce.ecg_nets import ABLATION, SCALES, recipe_text

pytestmark = pytest.mark.paper2
N = 400
SETTINGS = {
    "name": "device", "model": "compact", "epochs": 20, "batch": 16, "learning_rate": 0.001, "schedule": "constant",
}  # fmt: skip
# accuracies like the paper's Tables 2 and 3, in situation I and II; the clean one is .87
LIKE_THE_PAPER = {
    "none": (0.42, 0.42),
    "jr": (0.76, 0.41),
    "dd": (0.79, 0.51),
    "nsr": (0.825, 0.70),
    "init_adt": (0.84, 0.75),
    "at": (0.85, 0.83),
    "dist_adt": (0.86, 0.845),
    "adt": (0.87, 0.86),
}


def answers(accuracy: float) -> list[int]:
    """Right on the first records, so that a better net has right what a worse one has."""
    y = np.arange(N) % 4
    wrong = np.arange(N) >= round(accuracy * N)
    return np.where(wrong, (y + 1) % 4, y).tolist()


def folder(out: Path, levels: dict[str, tuple[float, float]], runs: int = 2) -> Path:
    store = Cells(out, SETTINGS)
    keep_records(out, [f"r{k}" for k in range(N)], np.arange(N) % 4, ("normal", "af", "other", "noise"))
    shots = dict.fromkeys((*SMOOTHING, *BUDGETS, *HONEST, SAP_SHOT, PGD_SHOT))
    for run in range(runs):
        for shot in shots:
            # smoothing costs the attack 2 points; larger budgets at alpha = epsilon / 10 go on winning
            less = 0.02 if shot in SMOOTHING[1:] else 0.0
            less -= 0.04 * (shot.epsilon / 10 - 1) if shot in HONEST else 0.0
            through = {net: answers(first + less) for net, (first, _) in levels.items()}
            store.get(f"run{run}/through/{shot.name}", lambda t=through: {"predictions": t, "stuck": 0})
            for net, (_, second) in levels.items():
                got = {"predictions": answers(second + less), "stuck": 0}
                store.get(f"run{run}/{net}/{shot.name}", lambda g=got: g)
        for net in levels:
            store.get(f"run{run}/{net}/clean", lambda: {"predictions": answers(0.87), "stuck": 0})
        y = (np.arange(200) % 4).tolist()
        store.get(
            f"run{run}/boundary",
            lambda y=y: {"y": y, "predictions": {net: y if net != "none" else [9] * 200 for net in levels}},
        )
    return out


def verdicts(out: Path) -> dict[str, str]:
    return {row["claim"]: row["verdict"] for row in claims(out)}


def test_cells_like_the_papers_hold_its_statements(tmp_path: Path) -> None:
    found = verdicts(folder(tmp_path, LIKE_THE_PAPER))
    assert set(found) == {claim.name for claim in CLAIMS}
    assert NOT_HELD not in found.values()
    # .76 on 400 records twice does not say that .75 was passed
    assert {name for name, verdict in found.items() if verdict == OPEN} == {"all-hold-I"}


def test_the_other_way_round_is_not_held(tmp_path: Path) -> None:
    upside_down = LIKE_THE_PAPER | {"adt": LIKE_THE_PAPER["jr"], "jr": LIKE_THE_PAPER["adt"]}
    found = verdicts(folder(tmp_path, upside_down))
    for name in ("adt-best-SAP-I", "adt-at-PGD-II", "nsr-jr-I", "jr-II", "adt-drop-I", "order-SAP-II"):
        assert found[name] == NOT_HELD, name


def test_what_was_not_run_decides_nothing(tmp_path: Path) -> None:
    found = verdicts(folder(tmp_path, {net: LIKE_THE_PAPER[net] for net in ("none", "at")}, runs=1))
    assert found["none-SAP"] == HELD
    assert found["at-80-I"] == HELD
    assert all(verdict == OPEN for name, verdict in found.items() if "adt" in name)


def test_paired_by_hand() -> None:
    first = np.array([True] * 30 + [False] * 10 + [True] * 60)
    second = np.array([False] * 30 + [True] * 10 + [True] * 60)
    found = paired(first, second)
    assert (found.only_first, found.only_second, found.n) == (30, 10, 100)
    assert found.difference == pytest.approx(0.2)
    assert found.low < 0.2 < found.high
    assert found.p == pytest.approx(binomtest(30, 40).pvalue)
    assert mcnemar(0, 0) == 1.0
    with pytest.raises(ValueError, match="not the same records"):
        paired(first, second[:5])


def test_the_interval_of_a_difference_covers(tmp_path: Path) -> None:
    """Nine in ten of many draws at least: the intervals are 95 %."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        both = rng.random((150, 2))
        found = paired(both[:, 0] < 0.8, (both[:, 0] < 0.6) | (both[:, 1] < 0.25))
        truth = 0.8 - (0.6 + 0.4 * 0.25)
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / 400 <= 0.985


def test_figure_1_shows_the_first_record_that_both_attacks_turn(tmp_path: Path) -> None:
    out = folder(tmp_path, {"none": (0.42, 0.42)}, runs=1)
    at = pick(Evidence(out))
    smoothed = round((0.42 + 0.02) * N)  # SAP leaves two points more
    assert at == smoothed
    nothing = folder(tmp_path / "b", {"none": (0.9, 0.9)}, runs=1)
    assert pick(Evidence(nothing)) is None


@pytest.mark.parametrize("net", list(ABLATION))
def test_the_temperature_is_that_of_both_stages(net: str) -> None:
    text = recipe_text(net, SCALES["device"], 1)
    temperature = net.rpartition("t")[2]
    stage = 2 if net.startswith("adt") else 1
    assert f"[distillation]\nstage = {stage}\ntemperature = {temperature}\n" in text


def test_claims_on_the_command_line(tmp_path: Path) -> None:
    out = folder(tmp_path / "out", LIKE_THE_PAPER)
    result = CliRunner().invoke(app, ["reproduce", "ecg", "--claims", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "| ADT is better than AT under SAP, situation II | Table 3 | held |" in result.stdout
    assert json.loads((out / "claims.json").read_text())[0]["claim"] == "none-SAP"
    page = (out / "report.html").read_text()
    assert "McNemar" in page
    assert "http" not in page.replace("http-equiv", "")
    empty = CliRunner().invoke(app, ["reproduce", "ecg", "--claims", "--out", str(tmp_path / "none")])
    assert empty.exit_code == 1
    assert "no results here" in empty.stderr
    with pytest.raises(TrainingError, match="no results here"):
        Evidence(tmp_path / "none")
