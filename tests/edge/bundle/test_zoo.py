"""Names and paths of bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import zoo
from edge.bundle import resolve_bundle
from edge.errors import BundleError


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "ecg-rhythm.bundle").touch()
    (folder / "appliances.bundle").touch()
    monkeypatch.setattr(zoo, "_FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_names(shelf: Path) -> None:
    assert zoo.names() == ("appliances", "ecg-rhythm")
    assert resolve_bundle("ecg-rhythm") == shelf / "ecg-rhythm.bundle"


def test_paths(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    (tmp_path / "ecg-rhythm").touch()
    assert resolve_bundle("mine") == Path("mine")
    assert resolve_bundle(tmp_path / "mine") == tmp_path / "mine"
    assert resolve_bundle("ecg-rhythm") == shelf / "ecg-rhythm.bundle"
    assert resolve_bundle("./ecg-rhythm") == Path("ecg-rhythm")


def test_neither(shelf: Path) -> None:
    with pytest.raises(BundleError, match=r"did you mean 'ecg-rhythm'\? shipped are appliances, ecg-rhythm"):
        resolve_bundle("ecg-rythm")
    with pytest.raises(BundleError, match=r"no/file\.bundle: no such file"):
        resolve_bundle("no/file.bundle")
