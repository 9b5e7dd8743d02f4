"""Write the table of docs/platforms.md from the files that `edge-agent bench --json` made on boards.

    python -m docs.generate_platforms

The files lie in docs/results/boards, one a machine, named after it; a row holds what its file holds, nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BOARDS = ROOT / "docs" / "results" / "boards"
PAGE = ROOT / "docs" / "platforms.md"
BEGIN, END = "<!-- boards:begin -->", "<!-- boards:end -->"


def row(name: str, found: dict[str, Any]) -> str:
    runtime = " ".join(str(found[key]) for key in ("runtime", "runtime_version") if key in found)
    cells = [
        name.replace("-", " "),
        f"{found.get('cpu') or found['machine']}, {found.get('cores', '?')} cores",
        f"{runtime}, CPython {found.get('python', '?')}",
        f"`{found['bundle']}`",
        f"{found['p50_ms']} ms",
        f"{found['p99_ms']} ms",
        f"{found['rss_mb']} MB",
        f"{found.get('load_1min', '?')}",
    ]
    return f"| {' | '.join(cells)} |"


def section(folder: Path = BOARDS) -> str:
    """What stands between the markers."""
    head = "| Machine | Processor | Runtime | Bundle | One window, p50 | p99 | Memory | Load beside it |"
    rows = [row(path.stem, json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))]
    return "\n".join([BEGIN, head, "|" + "---|" * 8, *rows, END])


def page(text: str) -> str:
    """The page with its table anew."""
    before, rest = text.split(BEGIN, 1)
    return before + section() + rest.split(END, 1)[1]


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote docs/{PAGE.name}")
    return 0


if __name__ == "__main__":
    main()
