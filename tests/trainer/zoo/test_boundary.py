"""Boundary windows made on one shipped network and put to others: who is asked, and what is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.pipeline.classify import Classifier
from trainer.attacks.boundary import BoundarySet
from trainer.evaluate.subject import open_subject
from trainer.evaluate.targets import DeviceTarget
from trainer.zoo import boundary

NAME = "ecg-rhythm-nano"


def test_file_and_twin_are_asked_and_right_and_fooled_answers_counted() -> None:
    subject = open_subject(NAME)
    assert subject.bundle is not None
    x, valid = subject.bundle.vectors.windows, subject.bundle.vectors.valid
    said = DeviceTarget(Classifier(subject.bundle)).probabilities(x, valid).argmax(-1)
    y, target = said.copy(), (said + 1) % 4
    y[0], target[0] = (said[0] + 1) % 4, said[0]  # one window that turned as the walk wanted
    n = len(y)
    rows = boundary.answers(subject, BoundarySet(x, valid, y, target, np.ones(n), n))
    by_target = {row["target"]: row for row in rows}
    assert set(by_target) == {"float", "int8"}
    assert by_target["int8"]["accuracy"] == pytest.approx((n - 1) / n)
    assert by_target["int8"]["fooled_alike"] == 1
    assert by_target["int8"]["accuracy_low"] < (n - 1) / n < by_target["int8"]["accuracy_high"]
    assert all(row["model"].startswith(f"{NAME}@") and row["n"] == n for row in rows)


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["--data", str(tmp_path / "none.zip"), "--json", str(tmp_path / "b.json")]
    assert boundary.main([NAME, "--through", "ecg-undefended", *call]) == 1
    assert "none.zip" in capsys.readouterr().err
    assert boundary.main([NAME, "--through", "ecg-undefnded", *call]) == 1
    assert "did you mean ecg-undefended" in capsys.readouterr().err
    # what cannot be asked is told before the data are looked at, and so before the walk
    for name, told in (("ecg-rythm", "did you mean ecg-rhythm"), ("appliances", "units is uV")):
        assert boundary.main([NAME, name, "--through", "ecg-undefended", *call]) == 1
        assert told in capsys.readouterr().err
    assert not (tmp_path / "b.json").exists()
