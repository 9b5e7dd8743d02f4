"""The suite of record: its members, that the worst of all counts, and that the int8 file is asked itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.evaluate.test_runner import records, run, subject, windows  # noqa: F401  (fixtures)
from trainer.data.base import DataSpec, Windows
from trainer.errors import EvaluationError
from trainer.evaluate import standard
from trainer.evaluate.pieces import Asked
from trainer.evaluate.plan import Plan
from trainer.evaluate.rows import rows_of
from trainer.evaluate.runner import Runner
from trainer.evaluate.scope import limits
from trainer.evaluate.standard import Member
from trainer.evaluate.subject import Subject
from trainer.evaluate.targets import DeviceTarget

SHORT = (
    Member("apgd-ce", "apgd", {"steps": 6}, every_surrogate=True),
    Member("apgd-t", "apgd", {"steps": 4, "loss": "targeted"}),
    Member("square", "square", {"queries": 40}),
    Member("transfer", "pgd", {"steps": 4}, transfer=True),
)


def test_the_suite_is_version_1() -> None:
    spec = DataSpec("x", ("a", "b"), "uV", 250.0, 100)
    found = standard.members(spec)
    assert standard.VERSION == 1
    assert [m.label for m in found] == ["apgd-ce", "apgd-t", "sap", "pgd-50x5", "band", "square", "transfer"]
    assert [m.label for m in found if m.every_surrogate] == ["apgd-ce"]
    band = next(m for m in found if m.label == "band").settings
    assert (band["low"], band["high"]) == (0.5 / 250, 40 / 250)
    assert next(m for m in found if m.label == "pgd-50x5").settings == {"steps": 50, "restarts": 5, "keep": "worst"}


@pytest.mark.slow
def test_the_worst_of_all_members_counts(
    subject: Subject, windows: Windows, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr(standard, "members", lambda spec: SHORT)
    plan = Plan(("clean", "pgd", "standard"), (0.4,), settings={"pgd": {"steps": 4}})
    trials = Runner(subject, windows, plan, undefended=subject).run()
    rows = {(r["target"], r["attack"]): r for r in rows_of(trials, "1")}
    for target in ("float", "int8"):
        row = rows[target, "standard"]
        assert row["accuracy"] <= rows[target, "clean"]["accuracy"]
        members = {m["attack"]: m for m in row["suite"]["members"]}
        assert list(members) == [m.label for m in SHORT]
        assert members["apgd-ce"]["attacked"] == len(windows)
        # who is wrong on both targets is left alone, so fewer and fewer are attacked
        attacked = [m["attacked"] for m in members.values()]
        assert attacked == sorted(attacked, reverse=True)
        turned = sum(m["turned"][target] for m in members.values())
        assert turned == len(windows) - round(row["accuracy"] * len(windows))
    assert rows["float", "standard"]["suite"]["strongest"].startswith("bpda:")
    assert rows["float", "standard"]["accuracy"] < rows["float", "clean"]["accuracy"]
    alone = Runner(subject, windows, Plan(("standard",), (0.4,))).run()[0]
    assert [m["attacked"] for m in alone.about["suite"]["members"]][-1] == 0  # no network to transfer from


@pytest.mark.slow
def test_the_file_is_asked_itself(
    subject: Subject, windows: Windows, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    assert subject.device is not None
    target = DeviceTarget(subject.device)
    logits = Asked(target).predict(windows.x[:4], windows.valid[:4])
    np.testing.assert_array_equal(logits.argmax(1), target.probabilities(windows.x[:4], windows.valid[:4]).argmax(1))
    plan = Plan(("clean", "square"), (0.8,), ("int8",), settings={"square": {"queries": 60}})
    asked: list[int] = []
    real = DeviceTarget.probabilities

    def counting(self: DeviceTarget, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return real(self, x, valid)

    monkeypatch.setattr(DeviceTarget, "probabilities", counting)
    clean, square = Runner(subject, windows, plan).run()
    assert sum(asked) > 10 * len(windows)  # not once a record, with windows made elsewhere
    assert square.outcome().correct < clean.outcome().correct
    assert square.about["gradient"] == "none"


def test_transfer_from_other_windows_is_refused(subject: Subject, windows: Windows, tmp_path: Path) -> None:  # noqa: F811
    from dataclasses import replace

    other = replace(subject, spec=replace(subject.spec, rate_hz=7.0))
    with pytest.raises(EvaluationError, match="rate_hz"):
        Runner(subject, windows, Plan(("standard",), (0.4,)), undefended=other)


@pytest.mark.slow
def test_joint_rows_tell_what_went_unnoticed_and_l2_rows_their_ball(
    subject: Subject, windows: Windows  # noqa: F811
) -> None:
    found = limits(subject)
    assert set(found) == {"residual", "disagreement", "score"}
    plan = Plan(("clean", "joint"), (0.8,), ("int8",), settings={"joint": {"steps": 20}})
    rows = rows_of(Runner(subject, windows, plan).run(), "1")
    told = rows[1]["detector"]
    assert 0 <= told["unnoticed"] <= told["turned"] <= len(windows)
    assert told["turned"] > 0
    with pytest.raises(EvaluationError, match="one suite for all"):
        Runner(subject, windows, Plan(("standard",), (0.8,), ball={"norm": "l2"}))
    l2 = Plan(("pgd",), (4.0,), ("float",), ball={"norm": "l2"}, settings={"pgd": {"steps": 4}})
    row = rows_of(Runner(subject, windows, l2).run(), "1")[0]
    assert row["ball"] == {"norm": "l2"}


@pytest.mark.slow
def test_without_a_twin_the_suite_asks_the_file(
    subject: Subject, windows: Windows, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    from dataclasses import replace

    monkeypatch.setattr(standard, "members", lambda spec: SHORT)
    lone = replace(subject, twin_at=None)
    row = rows_of(Runner(lone, windows, Plan(("standard",), (0.8,), ("int8",))).run(), "1")[0]
    members = {m["attack"]: m for m in row["suite"]["members"]}
    assert [name for name, m in members.items() if m["attacked"]] == ["square"]
    assert members["square"]["turned"]["int8"] == len(windows) - round(row["accuracy"] * len(windows))
