"""The broker goes away, the network is cut, results pile up."""

from __future__ import annotations

import signal
import time

import pytest

from benchmarks.proxy import Proxy
from tests.faults.conftest import Tally
from tests.faults.rig import Field
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
    """Samples go on, by a file that is played: what is made while the broker is away waits, and comes."""
    windows, away_s = 900, 12.0
    field.more += [
        "--delivery-historical-after-s",
        "1",
        "--delivery-batch",
        "8",
        "--delivery-historical-share",
        "0.25",
    ]
    field.play(windows, speed=5.0)  # 31 windows a second
    wait_for(lambda: len(field.watch.came) > 60, "the first results")
    field.broker.stop()
    time.sleep(away_s)
    before = len(field.watch.came)
    field.broker.start()
    since = time.monotonic()
    field.live_again(since)
    wait_for(lambda: len({r.id for r in field.watch.results()}) == windows, "every window", 60)
    after = field.watch.results()[before:]
    historical = [at for at, r in enumerate(after) if r.historical]
    live = [at for at, r in enumerate(after) if not r.historical]
    assert len(historical) > 200
    assert live[0] < historical[-1]  # live ones overtook
    # Their own times: spread over the outage, not gathered at its end.
    times = [after[at].t for at in historical]
    assert max(times) - min(times) > away_s - 5.0
    assert not any(r.historical for r in field.watch.last)
    newest = [r.seq for r in field.watch.last]
    assert newest == sorted(newest)  # `last` never goes back
    assert sorted({r.seq for r in field.watch.results()}) == list(range(windows))
    tally(
        f"broker away for {away_s:g} s",
        {
            "windows": windows,
            "missing": 0,
            "double": 0,
            "sent again": len(field.watch.came) - windows,
            "historical": len(historical),
            "live again, s": f"{field.live_s[-1]:.1f}",
        },
    )


@pytest.mark.parametrize("mode", ["slow", "bytes", "reset", "cut", "stall"])
def test_network_through_a_bad_line(field: Field, tally: Tally, mode: str):
    proxy = Proxy(field.broker.port)
    field.port = proxy.port
    field.more += ["--mqtt-keepalive-s", "5", "--mqtt-ack-timeout-s", "3"]
    field.start()
    time.sleep(0.5)
    for _ in range(3 if mode == "reset" else 1):
        proxy.mode = mode
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
    """More results than the spool holds, with nobody to take them; then the broker is there."""
    cap = 512 if kind == "disk" else 400
    field.more += ["--delivery-overflow", overflow]
    field.more += ["--durability-spool-mb", "1"] if kind == "disk" else ["--delivery-spool-results", cap]
    field.durable = kind == "disk"
    proxy = Proxy(field.broker.port)
    field.port, proxy.mode = proxy.port, "stall"
    results = cap + 300
    field.play(results, ready=False)
    assert field.agent is not None
    wait_for(lambda: "spool is full" in field.agent.said(), "the spool to run over")
    time.sleep(2.0)
    proxy.mode = "pass"
    wait_for(lambda: len({r.id for r in field.watch.results()}) >= cap, "what the spool held", 60)
    time.sleep(0.5)
    got = {r.seq for r in field.watch.results()}
    gap = sorted(set(range(results)) - got)
    assert gap
    # The gap in seq says what is missing, and which end went.
    assert gap[-1] - gap[0] + 1 == len(gap)
    assert (gap[-1] == results - 1) == (overflow == "refuse_newest")
    assert field.agent.process.wait(20) == 0  # a recording that is played to its end
    told = max(
        (h["sinks"][0]["given_up"] for h in field.watch.health), key=lambda up: up.get("s9", 0), default={}
    )
    assert set(told) == {"s9"}
    assert told["s9"] >= len(gap)
    proxy.close()
    tally(
        f"spool ({kind}) runs over, {overflow}",
        {"windows": results, "missing": 0, "double": 0, "dropped": len(gap), "told": told["s9"]},
    )
