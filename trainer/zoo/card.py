"""Put what was measured of a shipped bundle on its card, without exporting it again.

``python -m trainer.zoo.card NAME [--evaluation FILE] [--speed FILE] [--detector FILE]`` takes what ``trainer export``
takes: the JSON of ``trainer evaluate``, of ``edge-agent bench --json`` and the report.json of ``trainer report``. What
is not given stays as it is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.bundle import Bundle, read_bundle
from edge.errors import EdgeError
from edge.zoo import resolve_bundle
from trainer.errors import TrainerError
from trainer.export import stored
from trainer.export.card import measured
from trainer.zoo.rewrite import rewrite

COMMANDS = {
    "evaluation": "trainer evaluate",
    "speed": "edge-agent bench --json",
    "detector": "trainer report",
}


def add(path: Path, **files: Path | None) -> Bundle:
    """Write the bundle anew with ``evaluation``, ``speed`` and ``detector`` from the JSON ``files``.

    Raises:
        ExportError: a file cannot be read, or is about another bundle.
    """
    bundle = read_bundle(path)
    given = {name: stored.read(file, COMMANDS[name]) for name, file in files.items() if file is not None}
    found = {key: value for key, value in measured(bundle.manifest.ref, **given).items() if value is not None}
    card = dict(bundle.card)
    if "speed" in found:
        card["model"] = {**card["model"], "speed": found.pop("speed")}
    return rewrite(path, card={**card, **found})


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer.zoo.card", description=__doc__)
    parser.add_argument("name")
    for what in COMMANDS:
        parser.add_argument(f"--{what}", type=Path)
    given = vars(parser.parse_args(argv))
    try:
        path = resolve_bundle(given.pop("name"))
        add(path, **given)
    except (EdgeError, TrainerError) as error:
        sys.stderr.write(f"card: {error}\n")
        return 1
    sys.stdout.write(f"{path}: {', '.join(k for k, v in given.items() if v) or 'nothing'} put on the card\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
