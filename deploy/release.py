"""Build everything that a release consists of, twice, and say whether it may go out: ``make release-check``.

``python -m deploy.release [--arch amd64 ...] [--out dist]``. One line a check; exit code 1 where one fails. In `out`
lie afterwards: wheel, source distribution, Debian packages, sbom.json and SHA256SUMS.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy import deb, dist
from deploy.payload import TARGETS

ROOT = dist.REPOSITORY


class Report:
    """Findings as they come; `good` in the end."""

    def __init__(self) -> None:
        self.good = True

    def __call__(self, ok: bool, part: str, says: str) -> None:
        self.good = self.good and ok
        print(f"{'ok  ' if ok else 'FAIL'}  {part:<13} {says}", flush=True)


def version() -> str:
    """The version, from the one place where it stands."""
    found = re.search(r'^version = "([^"]+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert found, "pyproject.toml has no version"
    return found[1]


def other_versions() -> list[str]:
    """Files of the packages that state a version of their own."""
    packages = ("edge", "firmware_bridge", "trainer")
    files = [path for name in packages for path in (ROOT / name).rglob("*.py")]
    return [
        str(p.relative_to(ROOT)) for p in files if re.search(r"^__version__ *=", p.read_text("utf-8"), re.M)
    ]


def changelog(text: str, release: str, tagged: bool) -> str:
    """The entry that this release has: its own where the commit is tagged, else what is unreleased. "" if none."""
    entries = dict(
        re.findall(r"^## \[?([^\]\s]+)\]?[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    )
    return str(entries.get(release if tagged else "Unreleased", "")).strip()


def tags() -> list[str]:
    done = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def built(out: Path, archs: Sequence[str]) -> dict[str, str]:
    """Build all packages into `out`; name -> SHA-256."""
    wheel, sdist = dist.build(out)
    packages = [wheel, sdist, *(deb.package(wheel, arch, out) for arch in archs)]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in packages}


def check(out: Path, archs: Sequence[str]) -> bool:
    """Every check of a release; what is built lies in `out`."""
    report = Report()
    release, found = version(), tags()
    report(
        not other_versions(), "version", f"{release}, from pyproject.toml alone{''.join(other_versions())}"
    )
    ours = [tag for tag in found if tag.startswith("v")]
    report(
        not ours or ours == [f"v{release}"], "tag", ", ".join(ours) or f"not tagged yet: git tag v{release}"
    )
    entry = changelog((ROOT / "CHANGELOG.md").read_text("utf-8"), release, bool(ours))
    where = release if ours else "Unreleased"
    report(
        bool(entry),
        "changelog",
        f"{where}: {entry.count(chr(10) + '- ')} entries" if entry else f"no {where}",
    )
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    report(
        not ours or not changed.stdout, "working tree", "has changes" if changed.stdout else "as committed"
    )

    shutil.rmtree(out, ignore_errors=True)
    first = built(out, archs)
    with tempfile.TemporaryDirectory() as again:
        second = built(Path(again), archs)
    for name, digest in first.items():
        size = (out / name).stat().st_size / 1e6
        report(second.get(name) == digest, "reproducible", f"{name}  {size:.1f} MB  sha256 {digest[:16]}...")
    done = subprocess.run(
        [ROOT / ".ci" / "sbom", sys.executable, out / "sbom.json", next(out.glob("*.whl"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    report(done.returncode == 0 and (out / "sbom.json").is_file(), "sbom", said[-1] if said else "sbom.json")
    names = sorted(path.name for path in out.iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}" for name in names]
    (out / "SHA256SUMS").write_text("\n".join(sums) + "\n", encoding="utf-8")
    report(True, "checksums", f"{out / 'SHA256SUMS'}: {len(names)} files; sha256sum -c SHA256SUMS")
    return report.good


def main() -> int:
    parser = argparse.ArgumentParser(description="Build all packages twice and check them for a release.")
    parser.add_argument(
        "--arch", choices=sorted(TARGETS), action="append", help="Debian packages; default: all"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="emptied first")
    given = parser.parse_args()
    return 0 if check(given.out, given.arch or sorted(TARGETS)) else 1


if __name__ == "__main__":
    sys.exit(main())
