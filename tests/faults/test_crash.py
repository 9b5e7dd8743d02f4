"""The agent dies, or the power does: nothing that was acknowledged is missing, nothing is double."""

from __future__ import annotations

import random
import time

from edge.bundle import signing
from edge.chain_check import check
from edge.delivery.diskstore import NAME
from tests.faults.conftest import Tally
from tests.faults.rig import Field, Shim
from tests.integration.rig import wait_for

KILLS, CUTS = 50, 6


def test_killed_at_fifty_random_moments_under_load(field: Field, tally: Tally):
    moments = random.Random(7)
    field.start()
    for kill in range(KILLS):
        # Also while it starts, and while it answers what it owed; often enough it lives to deliver.
        time.sleep(moments.uniform(0.0, 0.9))
        field.kill()
        since = time.monotonic()
        field.start(ready=False)
        if kill % 5 == 4:
            field.live_again(since)
    tally(f"agent killed with -9, {KILLS} times", field.settle(60))


def test_power_cut_loses_what_was_not_fsynced_and_nothing_that_was_acknowledged(field: Field, tally: Tally):
    """kill -9 leaves the page cache; here everything goes that no fsync has returned for, names of files included."""
    shim = Shim(field.folder, field.state, shadow=True)
    field.env = shim.env
    moments, lost = random.Random(11), 0
    field.start()
    for _ in range(CUTS):
        time.sleep(moments.uniform(0.2, 1.2))
        field.kill()
        lost += shim.power_cut()
        field.comes_back()
    counts = field.settle()
    shim.close()
    assert lost > 0, "nothing was unsynced: this would prove nothing"
    tally(f"power cut, {CUTS} times ({lost} bytes not fsynced)", counts)


def test_a_stop_leaves_nothing_to_be_answered_twice(field: Field, tally: Tally):
    field.start()
    for _ in range(3):
        time.sleep(0.7)
        assert field.agent is not None
        assert field.agent.stop()[0] == 0
        field.comes_back()
    tally("agent stopped with SIGTERM, 3 times", field.settle())


def test_damaged_spool_file_is_answered_again_from_the_recorder(field: Field, tally: Tally):
    field.start()
    time.sleep(1.0)
    field.broker.stop()
    time.sleep(1.5)  # results wait in the file
    field.kill()
    for suffix in ("", "-wal"):  # a sound -wal would heal the file
        file = field.state / (NAME + suffix)
        file.write_bytes(b"\xfe" * max(4096, file.stat().st_size))
    field.broker.start()
    field.comes_back()
    assert list(field.state.glob("*.bad-*"))
    tally("spool file overwritten", field.settle())


def test_spool_wal_cut_off(field: Field, tally: Tally):
    field.start()
    time.sleep(1.0)
    field.broker.stop()
    time.sleep(1.0)
    field.kill()
    wal = field.state / (NAME + "-wal")
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])
    field.broker.start()
    field.comes_back()
    tally("spool's -wal cut in half", field.settle())


def test_segment_cut_in_the_middle_costs_its_records_alone(field: Field, tally: Tally):
    """Its samples are gone; windows over the hole come with `missing` counted, and those around it are whole."""
    field.start()
    time.sleep(1.5)
    assert field.load is not None
    field.load.pause()
    time.sleep(0.3)
    wait_for(lambda: not field.missing(), "all windows")
    field.kill()
    segment = max((field.state / "samples").glob("*.seg"), key=lambda path: path.stat().st_size)
    data = segment.read_bytes()
    middle = len(data) * 9 // 10
    segment.write_bytes(data[:middle] + data[middle + 3000 :])
    field.load.go_on()
    field.comes_back()
    time.sleep(0.5)
    counts = field.settle(gaps=True)
    counts["with gaps"] = sum(r.window.missing > 0 for r in field.watch.results())
    tally("recorder's segment cut in the middle", counts)


def test_the_chain_is_whole_over_crashes_with_the_holes_told(field: Field, tally: Tally):
    """Signed and chained results of a run with kills: every line verifies, and one that is taken out is missed."""
    public = signing.generate_keys(field.folder / "chain.key")
    field.more += ["--chain-enabled", "true", "--chain-key", field.folder / "chain.key", "--chain-every", "20"]
    field.start()
    for _ in range(3):
        time.sleep(1.0)
        field.kill()
        field.comes_back()
    counts = field.settle()
    assert field.agent is not None
    assert field.agent.stop()[0] == 0
    boot = field.watch.results()[-1].boot_id

    def is_covered() -> bool:
        return not check([line for line in field.watch.lines if boot in line], public).uncovered

    wait_for(is_covered, "the last checkpoints", 10)
    report = check(field.watch.lines, public)
    assert report.faults == []
    assert report.results >= counts["windows"]  # type: ignore[operator]
    found = {(r.boot_id, r.stream, r.seq) for r in field.watch.results()}
    # one that has another behind it: the last one before a crash may be a hole that is told
    one = next(r.id for r in field.watch.results() if (r.boot_id, r.stream, r.seq + 1) in found and r.seq > 2)
    text = next(line for line in field.watch.lines if one in line)
    assert check([line for line in field.watch.lines if line != text], public).faults
    counts["holes told"] = report.lost
    tally("agent killed, 3 times, results chained", counts)
