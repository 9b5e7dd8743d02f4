"""Where packages come from is read from apt's own lists, and never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.mirror import mirror


@pytest.mark.parametrize(
    "text",
    [
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n",
        "# a note\ndeb http://mirror.example/debian bookworm main\n",
        "deb [signed-by=/x.gpg] http://mirror.example/debian bookworm main\n",
        "deb http://mirror.example/debian-security bookworm-security main\n"
        "deb http://mirror.example/debian bookworm main\n",
    ],
)
def test_the_archive_that_apt_has(tmp_path: Path, text: str) -> None:
    (tmp_path / "sources").write_text(text)
    assert mirror((tmp_path / "absent", tmp_path / "sources")) == "http://mirror.example/debian"


def test_none_is_told_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "sources").write_text("# deb http://mirror.example/debian bookworm main\n")
    with pytest.raises(SystemExit, match="no Debian mirror"):
        mirror((tmp_path / "sources",))
