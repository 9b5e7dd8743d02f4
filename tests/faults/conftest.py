"""Marks, the field on which a test plays, and the table of counts at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.rig import Field

Tally = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for mark in (pytest.mark.faults, pytest.mark.slow, pytest.mark.integration):
                item.add_marker(mark)


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    made = Field(tmp_path)
    yield made
    made.close()


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """`tally("what was done", counts)`: a line of the table. Travels with the report, from whatever process."""

    def add(fault: str, counts: dict[str, object]) -> None:
        record_property("fault", {"fault": fault, **counts})

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for group in ("passed", "failed") for report in terminalreporter.stats.get(group, [])]
    rows = [row for report in reports for name, row in report.user_properties if name == "fault"]
    if not rows:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    widths = [max(len(c), *(len(str(row.get(c, ""))) for row in rows)) for c in columns]
    terminalreporter.section("faults: what was owed, what was missing")
    for row in [dict(zip(columns, columns, strict=True)), *rows]:
        cells = [str(row.get(c, "")) for c in columns]
        first, rest = cells[0].ljust(widths[0]), zip(cells[1:], widths[1:], strict=True)
        terminalreporter.line("  ".join([first, *(cell.rjust(width) for cell, width in rest)]))
