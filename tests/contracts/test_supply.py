"""`make audit` tells three things apart: no known holes, known holes, and nobody to ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Stands in for pip-audit, which asks a service that tests must not depend on: gives what it is told to.
DOUBLE = """
import json, os, sys
answers = json.loads(os.environ["ANSWERS"])
answer = answers["control" if "-r" in sys.argv else "all"]
print("no network" if answer is None else json.dumps({"dependencies": answer}))
"""
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0"]}
CONTROL = [{"name": "jinja2", "version": "2.4.1", "vulns": [HOLE]}]


def audit(
    repository: Path, folder: Path, control: Any, told: Any, **env: str
) -> subprocess.CompletedProcess[str]:
    (folder / "pip_audit.py").write_text(DOUBLE)
    answers = json.dumps({"control": control, "all": told})
    return subprocess.run(
        [sys.executable, str(repository / ".ci" / "audit")],
        env={**os.environ, "PYTHONPATH": str(folder), "ANSWERS": answers, **env},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def package(*vulns: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"name": "numpy", "version": "1.0", "vulns": list(vulns), **more}


def test_no_known_holes(repository: Path, tmp_path: Path):
    done = audit(repository, tmp_path, CONTROL, [package(), {"name": "own", "skip_reason": "not on PyPI"}])
    assert done.returncode == 0
    assert "1 packages asked for at pypi, 0 with known holes; not known there: own" in done.stdout


def test_a_known_hole_fails(repository: Path, tmp_path: Path):
    done = audit(repository, tmp_path, CONTROL, [package(HOLE)])
    assert done.returncode == 1
    assert "numpy 1.0: PYSEC-1, repaired in 2.0" in done.stderr


@pytest.mark.parametrize(
    "control", [None, [{"name": "jinja2", "skip_reason": "not on PyPI"}], [{"name": "jinja2", "vulns": []}]]
)
def test_nobody_to_ask_is_never_taken_for_no_holes(repository: Path, tmp_path: Path, control: Any):
    done = audit(repository, tmp_path, control, [package()])
    assert done.returncode == 0
    assert "NOT AUDITED" in done.stderr
    assert audit(repository, tmp_path, control, [package()], AUDIT="required").returncode == 1
