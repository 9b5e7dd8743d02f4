"""The report of a tiny bundle: its page shows the numbers of its JSON, which are those of `trainer evaluate`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.commands import good, trainer
from tests.trainer.training.test_run import RECIPE, parts
from trainer.evaluate.calibration import calibration_error, fit_temperature, likelihood_loss, reliability
from trainer.evaluate.intervals import wilson
from trainer.export.pack import export_run
from trainer.report import detector
from trainer.run import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """toy.bundle with its twin beside it, toy.npz, the JSON of an evaluation, and the report on both."""
    folder = tmp_path_factory.mktemp("report")
    data = parts(80)[0]
    np.savez(folder / "toy.npz", x=np.stack(data.signals), y=[data.spec.labels[i] for i in data.y], rate_hz=50.0)
    recipe = RECIPE.replace("epochs = 4", "epochs = 6") + "max_drop = 0.5\nfalse_alarms = 0.1\n"
    (folder / "toy.toml").write_text(recipe)
    run = train(folder / "toy.toml", "", folder / "run", parts=parts())
    export_run(run, run / "toy.bundle", parts=parts())
    bundle, npz = run / "toy.bundle", folder / "toy.npz"
    good(
        "evaluate", bundle, "--data", npz, "--split", "all", "--attacks", "clean,noise", "--epsilon", "0.2",
        "--json", folder / "stored.json",
    )  # fmt: skip
    good(
        "report", bundle, "--data", npz, "--split", "all", "--evaluation", folder / "stored.json",
        "--attacks", "noise", "--epsilon", "0.2,3", "--base", 3, "--limit", 40, "--out", folder / "out",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> Any:
    return json.loads((folder / "out" / "report.json").read_text())


class Page(HTMLParser):
    """Cells of every table, addresses, ids and what has no words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.pictures: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._cell = True
        elif tag == "svg":
            self.pictures.append(dict(attrs).get("aria-label") or "")

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "out" / "report.html").read_text())


@pytest.mark.slow
def test_the_page_needs_nothing_from_elsewhere(folder: Path, page: Page) -> None:
    text = (folder / "out" / "report.html").read_text()
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"(?i)https?:|//[a-z]|@import|<script|<link|<iframe", text)
    assert all(not url.strip("'\"").startswith(("h", "/")) for url in re.findall(r"url\(([^)]*)\)", text))
    assert len(page.ids) == len(set(page.ids))
    assert len(page.pictures) >= 4
    assert all(len(words) > 20 for words in page.pictures)


@pytest.mark.slow
def test_every_accuracy_of_the_page_is_that_of_the_json(report: Any, page: Page) -> None:
    rows = report["bundles"][0]["rows"]
    shown = page.tables[-1][1:]
    assert len(shown) == len(rows) == 2 + 2 * 2
    for cells, row in zip(shown, rows, strict=True):
        low, high = wilson(round(row["accuracy"] * row["n"]), row["n"])
        assert cells[1:3] == [row["target"], row["attack"]]
        assert cells[4] == f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f})"
        assert cells[5:7] == [str(row["n"]), str(row["seed"])]
        assert row["accuracy"] == np.trace(row["confusion"]) / row["n"]


@pytest.mark.slow
def test_stored_rows_are_used_and_the_rest_is_computed_as_evaluate_does(folder: Path, report: Any) -> None:
    stored = json.loads((folder / "stored.json").read_text())
    rows = {(r["target"], r["attack"], r["epsilon"]): r for r in report["bundles"][0]["rows"]}
    for row in stored["rows"]:
        assert {**rows[row["target"], row["attack"], row["epsilon"]], **row} == rows[
            row["target"], row["attack"], row["epsilon"]
        ]
    assert {r["source"] for r in rows.values()} == {"stored.json", "this report"}
    assert {r["n"] for r in rows.values() if r["source"] == "this report"} == {40}
    good(
        "evaluate", folder / "run" / "toy.bundle", "--data", folder / "toy.npz", "--split", "all", "--attacks", "noise",
        "--epsilon", "3", "--limit", 40, "--json", folder / "again.json",
    )  # fmt: skip
    for row in json.loads((folder / "again.json").read_text())["rows"]:
        found = rows[row["target"], "noise", 3]
        assert {k: found[k] for k in row if k != "warnings"} == {k: v for k, v in row.items() if k != "warnings"}


@pytest.mark.slow
def test_calibration_detector_and_records(folder: Path, report: Any, page: Page) -> None:
    pictures = {path.name for path in (folder / "out" / "figures").glob("*.png")}
    names = {"epsilon-noise.png", "confusion-0.png", "reliability-0.png", "detector-0-3.png", "record-0-worst.png"}
    assert names <= pictures
    bundle = report["bundles"][0]
    assert [(r["target"], r["attack"]) for r in bundle["reliability"]] == [
        ("float", "clean"), ("int8", "clean"), ("int8", "pgd margin"),
    ]  # fmt: skip
    for found in bundle["reliability"]:
        assert sum(b["n"] for b in found["bins"]) == found["n"]
        assert found["error_low"] <= found["error_high"]
    large = [found for found in bundle["detector"] if found["epsilon"] == 3]
    assert [found["attacker"] for found in large] == ["blind", "aware"]
    for found in large:
        assert found["flips"] > 0
        own = found["at"][0]
        assert own["noticed"]["n"] == found["flips"]
        assert own["false_alarms"]["n"] == found["clean"]
    for example in bundle["examples"]:
        assert np.abs(example["perturbation"]).max() <= example["largest_change"] + 1e-4 <= 3 + 2e-4
        assert any(example["record"] in words for words in page.pictures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d.update(model="other@1.0.0"), "is about other@1.0.0"),
        (lambda d: d["rows"][0].pop("confusion"), "lacks confusion"),
        (lambda d: d["rows"][0].update(units="uV"), "budgets are in uV"),
        (lambda d: d.pop("rows"), "not the JSON of `trainer evaluate`"),
    ],
)
def test_a_wrong_evaluation_is_one_line(folder: Path, tmp_path: Path, change: Callable[[Any], Any], told: str) -> None:
    document = json.loads((folder / "stored.json").read_text())
    change(document)
    (tmp_path / "wrong.json").write_text(json.dumps(document))
    result = trainer(
        "report", folder / "run" / "toy.bundle", "--evaluation", tmp_path / "wrong.json", "--out", tmp_path / "out"
    )
    assert result.exit_code == 1
    assert told in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_curve_of_known_suspicions() -> None:
    found = detector.curve(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.35, 0.5]))
    assert found["auc"] == pytest.approx(7 / 8)
    assert found["points"][0] == [1.0, 1.0]
    assert found["points"][-1] == [0.0, 0.0]
    assert found["at"][0]["false_alarms"]["count"] == found["at"][0]["noticed"]["count"] == 0
    assert found["at"][1]["noticed"]["count"] == 1  # above the most suspect clean one


def test_a_temperature_that_was_planted_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = (rng.random((4000, 1)) > p.cumsum(1)).sum(1)
    assert fit_temperature(logits * 2.5, y) == pytest.approx(2.5, rel=0.1)
    assert likelihood_loss(logits, y) < likelihood_loss(logits * 2.5, y)
    score, right = p.max(1), p.argmax(1) == y
    assert calibration_error(score, right) < 0.03
    assert calibration_error(np.ones(4000), right) == pytest.approx(1 - right.mean())
    assert sum(found.n for found in reliability(score, right)) == 4000
