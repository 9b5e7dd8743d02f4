"""systemd's watchdog is fed while windows move or nothing is due."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge.watchdog import Notifier, Progress, Watchdog
from tests.edge.agent.helpers import FakeTime, Systemd


def test_progress_is_still_only_while_something_is_due():
    time_, due, done = FakeTime(), 0, 0
    progress = Progress(lambda: due, lambda: done, lambda: time_.now)
    time_.pass_s(1000)
    assert progress.still_s() == 0.0
    due = 5
    time_.pass_s(10)
    assert progress.still_s() == 10.0
    done = 1
    assert progress.still_s() == 0.0
    time_.pass_s(70)
    assert progress.still_s() == 70.0
    due = 0
    assert progress.still_s() == 0.0


@pytest.mark.parametrize("abstract", [False, True])
def test_the_watchdog_is_fed_until_something_is_stuck(tmp_path: Path, abstract: bool):
    address = f"@wavewall-{os.getpid()}" if abstract else str(tmp_path / "notify")
    systemd, time_, stuck = Systemd(address), FakeTime(), dict[str, str]()
    env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}
    watchdog = Watchdog(Notifier(env), lambda: stuck, lambda: time_.now)
    try:
        watchdog.tick()
        watchdog.tick()
        assert systemd.told() == ["WATCHDOG=1"]
        time_.pass_s(5.1)
        watchdog.tick()
        assert systemd.told() == ["WATCHDOG=1"]
        stuck["pipeline"] = "does not move"
        time_.pass_s(5.1)
        watchdog.tick()
        assert systemd.told() == ["STATUS=pipeline does not move"]
        del stuck["pipeline"]
        time_.pass_s(5.1)
        watchdog.tick()
        assert systemd.told() == ["STATUS=working", "WATCHDOG=1"]
    finally:
        systemd.close()


@pytest.mark.parametrize(
    "env", [{}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "x"}]
)
def test_without_systemd_nothing_happens(env: dict[str, str]):
    notifier = Notifier(env)
    notifier.tell("READY=1")
    assert notifier.period_s == 0.0


def test_the_watchdog_of_another_process_is_not_ours():
    assert Notifier({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}).period_s == 0.0
