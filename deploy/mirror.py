"""The Debian mirror that apt uses here: images and roots are made from what this machine can reach."""

from __future__ import annotations

import re
from pathlib import Path

SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
_LINE = re.compile(r"^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(https?://\S*debian/?)(?:\s|$)", re.MULTILINE)


def mirror(sources: tuple[Path, ...] = SOURCES) -> str:
    """The first Debian archive among apt's `sources`. Raises SystemExit that names the files where there is none."""
    for path in sources:
        found = _LINE.search(path.read_text(encoding="utf-8")) if path.exists() else None
        if found:
            return found[1]
    raise SystemExit(f"no Debian mirror in {' or '.join(map(str, sources))}; name one there, as apt needs it")
