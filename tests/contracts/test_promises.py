"""What the pages of promises name exists: tests in docs/guarantees.md, files in docs/threat-model.md."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_test_that_a_guarantee_names_exists(repository: Path):
    page = (repository / "docs" / "guarantees.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    there = {
        name
        for path in (repository / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 15
    assert named <= there, named - there


def test_every_promise_names_a_test(repository: Path):
    page = (repository / "docs" / "guarantees.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| Promise .*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 8
    assert [row for row in rows if "`test_" not in row] == []


def test_every_place_that_the_threat_model_names_exists(repository: Path):
    page = (repository / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = {
        name
        for row in page.splitlines()
        if row.startswith("| ")
        for name in re.findall(r"`([a-z_]+/[\w/]*(?:\.py)?)`", row.rsplit("|", 2)[1])
    }
    assert len(named) > 8
    assert [name for name in named if not (repository / "tests" / name).exists()] == []
