"""How far a long command is, with the time left: on standard error where that is a terminal, else nothing at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# With fewer, a bar would say nothing that the end does not.
LEAST = 2


def steps(items: Sequence[Item], what: str, *, quiet: bool = False) -> Iterator[Item]:
    """The items one after the other, behind a bar. `quiet`: none, as when results go to the same screen."""
    if quiet or len(items) < LEAST or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield from items
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield from items
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=len(items))
        for item in items:
            yield item
            bar.advance(task)
