"""`make release-check`: what it builds, and what it refuses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import release

CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Added\n\n- a\n- b\n\n## [0.1.0] - 2026-01-01\n\n- first\n"


def test_the_entry_that_counts():
    assert release.changelog(CHANGELOG, "0.1.0", tagged=False).count("- ") == 2
    assert release.changelog(CHANGELOG, "0.1.0", tagged=True) == "- first"
    assert release.changelog(CHANGELOG, "0.2.0", tagged=True) == ""
    assert release.changelog("# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- x\n", "0.1.0", tagged=False) == ""


def test_the_version_stands_in_one_place():
    assert release.version().count(".") == 2
    assert release.other_versions() == []


@pytest.mark.package
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_release_check_builds_twice_the_same(
    tmp_path: Path, repository: Path, packages: tuple[Path, Path]
):
    out = tmp_path / "dist"
    done = subprocess.run(
        [sys.executable, "-m", "deploy.release", "--arch", "armhf", "--out", str(out)],
        cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("ok    reproducible") == 3
    sums = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines())
    assert {Path(name).suffix for name in sums} == {".whl", ".gz", ".deb", ".json"}
    for name, digest in sums.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    # and what this process built from the same files
    for package in packages:
        assert (out / package.name).read_bytes() == package.read_bytes()
