"""Each promise names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_test_that_a_promise_names_is_there(repository: Path):
    defined = {
        name
        for path in (repository / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    page = (repository / "docs" / "guarantees.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    assert named <= defined, named - defined
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| Promise")]
    for row in rows:
        assert "`test_" in row or "make soak" in row, row
