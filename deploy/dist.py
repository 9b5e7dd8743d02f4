"""Build the wheel and the source distribution into dist/, so that two builds of one commit are the same bytes.

``python -m deploy.dist [--out DIR]``, or ``make dist``. What is built is what git tracks, copied to a folder of its
own: neither an untracked file nor the modes of somebody's checkout get in. The wheel is built from the source
distribution, which so proves to be whole.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def epoch() -> int:
    """Seconds since 1970 that every file in a build bears: SOURCE_DATE_EPOCH, else the commit's time."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return int(shown.stdout)


def tracked(folder: Path) -> Path:
    """Copy what git tracks (with changes not yet committed) into `folder`; modes are 0644 or 0755."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True)
    for name in listing.stdout.decode().split("\0"):
        source = REPOSITORY / name
        if name and source.is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    return folder


def build(out: Path) -> tuple[Path, Path]:
    """Build into `out`; gives (wheel, source distribution)."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        source, built = Path(name) / "source", Path(name) / "built"
        tracked(source)
        env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch()), "PYTHONHASHSEED": "0"}
        env.pop("PYTHONPATH", None)
        done = subprocess.run(
            [sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(built), str(source)],
            env=env, umask=0o022, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"deploy.dist: the build failed:\n{done.stdout}\n{done.stderr}")
        wheel, sdist = next(built.glob("*.whl")), next(built.glob("*.tar.gz"))
        shutil.copyfile(wheel, out / wheel.name)
        repack(sdist, out / sdist.name)
    return out / wheel.name, out / sdist.name


def repack(archive: Path, target: Path) -> None:
    """The same archive without what differs from build to build: order, times, owners, gzip's own time."""
    raw = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime = epoch()
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    with target.open("wb") as file, gzip.GzipFile("", "wb", mtime=epoch(), fileobj=file) as packed:
        packed.write(raw.getvalue())


def main() -> int:
    parser = argparse.ArgumentParser(description="Build wheel and source distribution.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist")
    for path in build(parser.parse_args().out):
        print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
