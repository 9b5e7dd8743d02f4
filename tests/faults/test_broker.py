"""The broker goes away, the network is cut, results pile up."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.rig import NODE, Field, Proxy
from tests.integration.rig import wait_for

RESTARTS = 20


def test_broker_restarted_twenty_times(field: Field, tally: Tally):
    """SIGTERM: it saves its sessions, as a stopped service does."""
    field.start()
    for at in range(RESTARTS):
        time.sleep(0.2)
        field.broker.stop()
        field.broker.start()
        since = time.monotonic()
        if at % 5 == 4:
            field.live_again(since)
    tally(f"broker restarted with SIGTERM, {RESTARTS} times", field.settle(60))


def test_broker_killed_is_reported_apart(field: Field, tally: Tally):
    """With -9 it loses what it had accepted and not saved: that is the broker's loss, and is only counted here.

    The agent's part: it goes on, and what it had recorded is answered.
    """
    field.start()
    assert field.load is not None
    for _ in range(3):
        time.sleep(0.5)
        process = field.broker._process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        field.broker._process = None
        field.broker.start()
        since = time.monotonic()
        field.live_again(since)
    field.load.stop()
    time.sleep(2.0)
    counts: dict[str, object] = {"windows": len(field.load.expected()), "missing": "not counted"}
    counts["broker lost"] = len(field.missing())
    results = field.watch.results()
    assert len(results) > 100
    ids: dict[tuple[str, float], set[str]] = {}
    for r in results:
        ids.setdefault((r.stream, r.window.t0), set()).add(r.id)
    assert all(len(group) == 1 for group in ids.values())
    tally("broker killed with -9, 3 times", counts)


def test_broker_away_results_wait_old_ones_are_marked_and_live_ones_overtake(field: Field, tally: Tally):
    """The senders go on by another way in: the agent reads a file here, and only its results need the broker."""
    field.more += ["--delivery-historical-after-s", "1", "--delivery-batch", "8"]
    proxy = Proxy(field.broker.port)
    field.port = proxy.port
    field.start()
    assert field.load is not None
    time.sleep(1.0)
    field.broker.stop()
    time.sleep(20.0)
    before = len(field.watch.came)
    field.broker.start()
    since = time.monotonic()
    field.live_again(since)
    counts = field.settle(60)
    after = [r for _, r in field.watch.came[before:]]
    historical = [r for r in after if r.historical]
    assert all(not r.historical for r in field.watch.last)
    assert len({r.id for r in field.watch.last} & {r.id for r in historical}) == 0
    assert all(abs(r.t - r.window.t0) > 0 for r in historical)  # their own times, not that of the delivery
    proxy.close()
    tally("broker away for 20 s", counts)


@pytest.mark.parametrize("mode", ["slow", "bytes", "reset", "cut", "stall"])
def test_network_through_a_bad_line(field: Field, tally: Tally, mode: str):
    proxy = Proxy(field.broker.port)
    field.port = proxy.port
    field.more += ["--mqtt-keepalive-s", "5", "--mqtt-ack-timeout-s", "3"]
    field.start()
    time.sleep(0.5)
    for _ in range(3 if mode == "reset" else 1):
        proxy.mode = mode if mode != "cut" else "reset"
        time.sleep({"reset": 0.3, "stall": 9.0}.get(mode, 3.0))
        proxy.mode = "pass"
        since = time.monotonic()
        field.live_again(since, 45)
    counts = field.settle(60)
    proxy.close()
    said = {
        "slow": "network delays by 200 ms",
        "bytes": "network, 1 byte at a time",
        "reset": "network resets, 3 times",
        "cut": "network cut for 3 s",
        "stall": "connections half-open for 9 s",
    }
    tally(said[mode], counts)


@pytest.mark.parametrize("overflow", ["drop_oldest", "refuse_newest"])
@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_overflow_has_an_order_and_is_told(field: Field, tally: Tally, overflow: str, kind: str):
    """As many results as make the spool run over, with nobody to take them; then the broker is back."""
    cap = 512 if kind == "disk" else 400
    field.more += ["--delivery-overflow", overflow]
    field.more += ["--durability-spool-mb", "1"] if kind == "disk" else ["--delivery-spool-results", cap]
    if kind == "memory":
        field.more += ["--set", "durability.folder="]
    # The results alone are cut off: what goes out passes the proxy, samples come by a file.
    record = field.folder / "long.csv"
    _recording(record, 16 * (cap + 300) + 64)
    proxy = Proxy(field.broker.port)
    field.port = proxy.port
    field.more += ["--source", f"replay:{record},rate_hz=100,stream=s9"]
    proxy.mode = "stall"
    words = _words(field, kind)
    from tests.integration.rig import AgentProcess

    field.agent = AgentProcess(field.folder, words)
    time.sleep(4.0)
    proxy.mode = "pass"
    results = cap + 300
    wait_for(lambda: len({r.id for r in field.watch.results()}) >= cap, "what the spool held", 60)
    time.sleep(1.0)
    got = sorted({r.seq for r in field.watch.results()})
    dropped = results - len(got)
    health = field.wait_health(
        "drops by stream", lambda h: sum(h["sinks"][0]["given_up"].values()) >= dropped
    )
    assert set(health["sinks"][0]["given_up"]) == {"s9"}
    assert 0 < dropped <= 300
    # The gap in seq says what is missing, and which end went.
    gap = sorted(set(range(results)) - set(got))
    assert gap[-1] - gap[0] + 1 == len(gap)
    assert gap[-1] < results - 1 if overflow == "drop_oldest" else gap[-1] == results - 1
    proxy.close()
    tally(
        f"spool ({kind}) runs over, {overflow}",
        {"windows": results, "missing": 0, "double": 0, "dropped, told": dropped},
    )


def _words(field: Field, kind: str) -> list[object]:
    words: list[object] = ["--mqtt-host", "127.0.0.1", "--mqtt-port", field.port, "--bundle", field.bundle]
    words += ["--node", NODE, "--node-state-dir", field.folder, "--health-period-s", "1"]
    if kind == "disk":
        words += ["--durability-folder", field.state]
    return [*words, *[w for w in field.more if w != "--set" and w != "durability.folder="]]


def _recording(path: Path, count: int) -> None:
    import numpy as np

    values = np.random.default_rng(3).normal(0, 80, count).round(1)
    path.write_text("ecg\n" + "\n".join(map(str, values)) + "\n")
