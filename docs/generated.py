"""Pages that are written from the code: written, or compared with what is there (``--check``)."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: Path, text: str) -> bool:
    """Whether the page is now (or, with ``--check``, was) what it must be; says what it did."""
    if "--check" not in sys.argv[1:]:
        page.write_text(text, encoding="utf-8")
        print(f"wrote docs/{page.name}")
        return True
    if page.is_file() and page.read_text(encoding="utf-8") == text:
        return True
    print(f"docs/{page.name} is out of date; run: make docs", file=sys.stderr)
    return False
