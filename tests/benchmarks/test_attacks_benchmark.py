"""The comparison of attacks runs, and both sides fool the same series."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import attacks


@pytest.mark.slow
def test_the_same_success_in_one_run(tmp_path: Path) -> None:
    file = tmp_path / "attacks.json"
    # so small a run says nothing about speed, and the exit code says whether speed's goals were met
    arguments = ["--json", str(file), "--series", "24", "--samples", "48", "--widths", "4", "--runs", "1"]
    assert attacks.main(arguments) in (0, 1)
    found = json.loads(file.read_text())
    rows = {row["name"]: row for row in found["figures"]}
    assert found["toolbox"].startswith("1.20")
    for name in ("FGSM", "PGD-20"):
        assert rows[f"{name}, width 4, success apart"]["value"] <= attacks.POINTS
        assert rows[f"{name}, width 4, ours"]["value"] > 0
