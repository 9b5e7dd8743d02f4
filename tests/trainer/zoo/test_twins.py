"""Every shipped bundle's twin, where there is one, is the twin of that very bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge import zoo as edge_zoo
from trainer import zoo


def test_lookup_by_the_bundle_s_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "_FOLDER", tmp_path)
    (tmp_path / "net").mkdir()
    assert zoo.twin_folder("net") is None
    (tmp_path / "net" / zoo.TWIN).write_bytes(b"")
    assert zoo.names() == ("net",)
    assert zoo.twin_folder("net") == tmp_path / "net"
    assert zoo.twin_folder("../net") is None


def test_every_twin_belongs_to_its_bundle() -> None:
    from trainer.evaluate.subject import open_subject

    assert set(zoo.names()) <= set(edge_zoo.names())
    for name in zoo.names():
        subject = open_subject(name)
        assert subject.twin_at == zoo.twin_folder(name)
        assert subject.twin.name == subject.name
