"""Build the container images without a daemon: ``python -m deploy.image [--arch ARCH] [--tag NAME]``, ``make image``.

buildah builds deploy/Dockerfile around the Debian package of each architecture; no emulator is needed, as nothing of
another architecture runs. Where no registry answers, the image to build in is made from Debian's packages and gets
the real one's name; the Dockerfile is the same either way.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from deploy import deb, dist
from deploy.mirror import mirror

ARCHS = ("amd64", "arm64")
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


def own_arch() -> str:
    """This machine's architecture, by Debian's name."""
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


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
        name_base(buildah, archive)


def name_base(buildah: Buildah, root: Path) -> None:
    """Give the base image's name to a Debian 12 that has apt, in a folder or a tar archive."""
    container = buildah("from", "scratch").stdout.strip()
    buildah("add", "-q", container, str(root), "/")
    buildah("commit", "-q", "--rm", container, BASE)


def build(buildah: Buildah, package: Path, tag: str) -> None:
    """Build the Dockerfile around `package`, for its architecture, in the image that is there."""
    arch = package.stem.rpartition("_")[2]
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        for source, place in ((package, f"dist/{package.name}"), (deb.DEPLOY / "rootfs", "deploy/rootfs")):
            (context / place).parent.mkdir()
            shutil.copy(source, context / place)
        dockerfile = (deb.DEPLOY / "Dockerfile").read_text("utf-8")
        # Debian 12's buildah does not know this argument
        dockerfile = dockerfile.replace("$BUILDPLATFORM", f"linux/{own_arch()}")
        (context / "deploy" / "Dockerfile").write_text(dockerfile, "utf-8")
        # docker's format: OCI's has no health check
        words = ["--format", "docker", "--timestamp", str(dist.epoch()), "--platform", f"linux/{arch}", "-t", tag]
        buildah("bud", "--pull=never", *words, "-f", str(context / "deploy" / "Dockerfile"), str(context))


def sizes_mb(buildah: Buildah, tag: str) -> tuple[float, float]:
    """(to pull, unpacked): the compressed layers, and on disk, in blocks of 4 KiB, what is in all of them."""
    with tempfile.TemporaryDirectory() as name:
        buildah("push", "-q", tag, f"dir:{name}")
        layers = [
            Path(name) / layer["digest"].partition(":")[2]
            for layer in json.loads((Path(name) / "manifest.json").read_text("utf-8"))["layers"]
        ]
        unpacked = 0
        for layer in layers:
            with gzip.open(layer) as raw, tarfile.open(fileobj=raw) as members:
                unpacked += sum(-(-member.size // 4096) * 4096 if member.isfile() else 4096 for member in members)
        return sum(layer.stat().st_size for layer in layers) / 1e6, unpacked / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the container images.")
    parser.add_argument("--arch", choices=sorted(ARCHS), action="append", help="default: all")
    parser.add_argument("--tag", default="wavewall", help="of this machine's own; others are TAG:ARCH")
    given = parser.parse_args()
    buildah = Buildah()
    if buildah("pull", "--policy=ifmissing", BASE, check=False).returncode:
        print(f"no registry gives {BASE}: making it from Debian's packages")
        make_base(buildah)
    out = dist.REPOSITORY / "dist"
    wheel = dist.build(out)[0]
    for arch in given.arch or ARCHS:
        tag = given.tag if arch == own_arch() else f"{given.tag}:{arch}"
        build(buildah, deb.package(wheel, arch, out), tag)
        packed, unpacked = sizes_mb(buildah, tag)
        print(f"image {tag} for {arch}: {packed:.0f} MB to pull, {unpacked:.0f} MB unpacked; buildah push {tag} TARGET")
    return 0


if __name__ == "__main__":
    sys.exit(main())
