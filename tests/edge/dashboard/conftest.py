"""Fixtures of the dashboard's tests: a page over a store that the test fills, without an agent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.edge.dashboard.rig import Served, serve


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Call it with settings of [dashboard]; the page is closed at the end of the test."""
    stop, made = threading.Event(), list[Served]()

    def start(**settings: object) -> Served:
        made.append(serve(tmp_path, stop, **settings))
        return made[-1]

    yield start
    stop.set()
    for one in made:
        one.thread.join(5)
        assert not one.thread.is_alive()
