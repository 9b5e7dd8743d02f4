"""Build the container image without a daemon: ``python -m deploy.image [--tag NAME]``, or ``make image``.

buildah builds deploy/Dockerfile around the Debian package for amd64. Where no registry answers, the base image is
made from Debian's packages and gets the real one's name; the Dockerfile is the same either way.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy import deb, dist
from deploy.mirror import mirror

BASE = "docker.io/library/debian:bookworm-slim"
# What the real base image leaves out, too.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


class Buildah:
    """buildah with images in a folder of its own, or in its usual place (None)."""

    def __init__(self, storage: Path | None = None) -> None:
        if shutil.which("buildah") is None:
            raise SystemExit("deploy.image: buildah is not installed; run: make deps, or use docker build")
        self._where = ["--storage-driver", "vfs"]
        if storage is not None:
            self._where += ["--root", str(storage / "root"), "--runroot", str(storage / "run")]
        # This and the driver vfs work without a daemon, inside of virtual machines and containers.
        self._env = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def __call__(self, command: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["buildah", *self._where, command, *words], env=self._env, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode:
            raise SystemExit(
                f"deploy.image: buildah {command} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done


def make_base(buildah: Buildah) -> None:
    """A minimal Debian 12 under the name of the base image."""
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "base.tar"
        options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
        command = [
            "unshare", "--mount", "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *options,
            "--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Languages \"none\"", "bookworm", str(archive), mirror(),
        ]  # fmt: skip
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        container = buildah("from", "scratch").stdout.strip()
        buildah("add", "-q", container, str(archive), "/")
        buildah("commit", "-q", "--rm", container, BASE)


def build(buildah: Buildah, package: Path, tag: str) -> None:
    """Build the Dockerfile around `package` (amd64), from the base image that is there."""
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        (context / "dist").mkdir()
        shutil.copyfile(package, context / "dist" / package.name)
        # docker's format: OCI's has no health check
        words = ["--format", "docker", "--timestamp", str(dist.epoch()), "-t", tag]
        buildah("bud", "--pull=never", *words, "-f", str(deb.DEPLOY / "Dockerfile"), str(context))


def size_mb(buildah: Buildah, tag: str) -> float:
    """What the image takes once unpacked."""
    container = buildah("from", "--pull=never", tag).stdout.strip()
    try:
        place = buildah("mount", container).stdout.strip()
        listing = subprocess.run(
            ["du", "-sx", "--block-size=1", place], capture_output=True, text=True, check=True
        )
        return int(listing.stdout.split()[0]) / 1e6
    finally:
        buildah("rm", container)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the container image.")
    parser.add_argument("--tag", default="wavewall")
    given = parser.parse_args()
    buildah = Buildah()
    if buildah("pull", "--policy=ifmissing", BASE, check=False).returncode:
        print(f"no registry gives {BASE}: making it from Debian's packages")
        make_base(buildah)
    out = dist.REPOSITORY / "dist"
    package = deb.package(dist.build(out)[0], "amd64", out)
    build(buildah, package, given.tag)
    print(
        f"image {given.tag}  {size_mb(buildah, given.tag):.0f} MB unpacked; buildah push {given.tag} TARGET"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
