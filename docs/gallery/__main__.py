"""``python -m docs.gallery [defence|results|terminal|dashboard]...``: all of them when none is named."""

from __future__ import annotations

import sys

from docs.gallery import dashboard, defence, results, terminal

MAKERS = {"defence": defence.make, "results": results.make, "terminal": terminal.make,
          "dashboard": dashboard.make}  # fmt: skip
LARGEST = 200_000  # bytes; pictures are in every clone


def main() -> int:
    """Make the named pictures; 1 where one is too large."""
    names = sys.argv[1:] or list(MAKERS)
    if unknown := [name for name in names if name not in MAKERS]:
        print(f"no such part: {unknown[0]}; there are {', '.join(MAKERS)}", file=sys.stderr)
        return 2
    made = [path for name in names for path in MAKERS[name]()]
    for path in made:
        print(f"docs/images/{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return int(any(path.stat().st_size > LARGEST for path in made))


if __name__ == "__main__":
    sys.exit(main())
