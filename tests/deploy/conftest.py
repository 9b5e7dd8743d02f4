"""What the packaging tests share: the built packages and the Debian roots, each made once in a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy import dist


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
