"""What the packaging tests share: the built packages and the Debian roots, each made once in a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import deb, dist, image, payload
from tests.deploy.roots import Images, debian, remove


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(wheel, source distribution) of the working tree."""
    return dist.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def wheel(packages: tuple[Path, Path]) -> Path:
    return packages[0]


@pytest.fixture
def clean_env(tmp_path: Path) -> dict[str, str]:
    """The environment of someone who has no copy of the sources: a home of their own, no PYTHONPATH."""
    keep = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "WAVEWALL", "COV"))
    }
    (tmp_path / "home").mkdir()
    # the download cache may be shared: what is fetched is the same
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return {**keep, "HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": cache}


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for Debian roots and packages: a root is some 300 MB, so it is emptied at the end of the run.

    WAVEWALL_KEEP names a folder that is neither: for work on these tests, with what is stale removed by hand.
    """
    given = os.environ.get("WAVEWALL_KEEP")
    if given:
        Path(given).mkdir(parents=True, exist_ok=True)
        yield Path(given)
        return
    folder = tmp_path_factory.mktemp("kept")
    yield folder
    remove(folder)


@pytest.fixture(scope="session")
def debs(wheel: Path, kept: Path) -> dict[str, Path]:
    """The Debian package of each architecture, packed with gzip, which is faster."""
    found = {path.stem.split("_")[2]: path for path in kept.glob("wavewall_*.deb")}
    return found or {arch: deb.package(wheel, arch, kept, "gzip") for arch in sorted(payload.TARGETS)}


@pytest.fixture(scope="session")
def gateway_root(kept: Path) -> Path:
    """A small Debian with systemd, as a gateway has it before anything of ours is there. Copy it, don't change it."""
    packages = (
        "systemd systemd-sysv dbus udev python3 python3-venv python3-apt adduser ca-certificates libstdc++6"
    )
    return debian(kept / "gateway", packages.split())


@pytest.fixture(scope="session")
def images(kept: Path, debs: dict[str, Path], gateway_root: Path) -> Iterator[Images]:
    """buildah with our images built, in a folder of its own; the gateway's Debian serves as what they are built in."""
    buildah = image.Buildah(kept / "images")
    if buildah("inspect", "--type", "image", image.BASE, check=False).returncode:
        image.name_base(buildah, gateway_root)
    images = Images(buildah)
    for arch in image.ARCHS:
        image.build(buildah, debs[arch], images.tag(arch))
    yield images
    buildah("rm", "--all")
    buildah("rmi", *map(images.tag, image.ARCHS))
