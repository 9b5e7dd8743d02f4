"""One suite for both spools; what only the disk can do is at the end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge.delivery.diskspool import KEEP_IN_MEMORY, DiskSpool
from edge.delivery.diskstore import NAME, DiskStore
from edge.delivery.spool import Entry, MemorySpool, Spool
from edge.recorder.record import Mark
from tests.edge.agent.helpers import FakeTime, result

Make = Callable[..., Spool]


class Rig:
    """Makes spools of one kind; `settle` does what the store's thread does once a second."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.time = kind, folder, FakeTime()
        self.store: DiskStore | None = None
        self.mark: Mark | None = None
        self.safe: list[Mark] = []

    def spool(self, cap: int, overflow: str = "drop_oldest", share: float = 0.5, **more) -> Spool:
        if self.kind == "memory":
            clock = self.time.clock.monotonic
            return MemorySpool(cap, overflow, clock, live_s=10.0, historical_share=share)  # type: ignore[arg-type]
        self.open()
        return DiskSpool(
            self.store, 0, cap, overflow, live_s=10.0, historical_share=share, clock=self.time.clock, **more
        )  # type: ignore[arg-type]

    def open(self, **more) -> DiskStore:
        self.store = DiskStore(
            self.folder, progress=lambda: self.mark, on_safe=self.safe.append, clock=self.time.clock, **more
        )
        return self.store

    def settle(self) -> None:
        if self.store is not None:
            assert self.store.commit(), self.store.error

    def close(self) -> None:
        if self.store is not None:
            self.store.close()


@pytest.fixture(params=["memory", "disk", "disk, each result committed"])
def rig(request: pytest.FixtureRequest, tmp_path: Path):
    made = Rig(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def disk(tmp_path: Path):
    made = Rig("disk", tmp_path)
    yield made
    made.close()


def fill(rig: Rig, spool: Spool, names: Sequence[str], stream: str = "s1") -> int:
    given_up = 0
    for name in names:
        given_up += spool.put(result(name, stream))
        if rig.kind.endswith("committed"):
            rig.settle()
    return given_up


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry.result.id for entry in entries]


def drain(rig: Rig, spool: Spool, most: int = 64) -> list[str]:
    """Deliver everything."""
    out: list[str] = []
    while entries := spool.peek(most, 0.0):
        out += ids(entries)
        spool.remove([entry.key for entry in entries])
        rig.settle()
    return out


def test_order_is_kept_and_only_what_is_named_is_removed(rig: Rig):
    spool = rig.spool(10)
    assert fill(rig, spool, "abcd") == 0
    entries = spool.peek(3, 0.0)
    assert ids(entries) == ["a", "b", "c"]
    spool.remove([entries[0].key, entries[2].key, 999])
    assert ids(spool.peek(9, 0.0)) == ["b", "d"]
    assert len(spool) == 2


@pytest.mark.parametrize(("overflow", "left"), [("drop_oldest", "cde"), ("refuse_newest", "abc")])
def test_overflow_has_an_order_and_is_counted_by_stream(rig: Rig, overflow: str, left: str):
    spool = rig.spool(3, overflow)
    assert fill(rig, spool, "abcde", "s7") == 2
    rig.settle()
    assert ids(spool.peek(9, 0.0)) == list(left)
    assert spool.drops.by_stream() == {"s7": 2}
    assert len(spool) == 3


def test_overflow_of_what_only_the_file_holds(rig: Rig):
    many = KEEP_IN_MEMORY * 3
    spool = rig.spool(many)
    names = [str(n) for n in range(many + 40)]
    fill(rig, spool, names[:many])
    rig.settle()
    assert fill(rig, spool, names[many:], "new") == 40
    rig.settle()
    assert len(spool) == many
    assert spool.drops.by_stream() == {"s1": 40}
    assert drain(rig, spool) == names[40:]
    assert len(spool) == 0


def test_overflow_goes_on_while_old_results_are_read_back(rig: Rig):
    many = KEEP_IN_MEMORY * 2
    spool = rig.spool(many)
    names = [str(n) for n in range(many + 10)]
    fill(rig, spool, names[:many])
    rig.settle()
    rig.time.pass_s(60.0)
    assert ids(spool.peek(5, 0.0)) == names[:5]
    fill(rig, spool, names[many:])
    assert len(spool) == many
    got = drain(rig, spool)
    assert sorted(got, key=int) == names[10:]
    assert spool.drops.by_stream() == {"s1": 10}


def test_live_results_overtake_and_the_backlog_keeps_its_share(rig: Rig):
    spool = rig.spool(5000, share=0.25)
    old = [f"old{n}" for n in range(600)]
    fill(rig, spool, old)
    rig.settle()
    rig.time.pass_s(11.0)
    new = [f"new{n}" for n in range(100)]
    fill(rig, spool, new)
    first = spool.peek(40, 0.0)
    assert ids(first) == new[:30] + old[:10]
    spool.remove([entry.key for entry in first])
    got = ids(first) + drain(rig, spool, 40)
    assert [name for name in got if name.startswith("old")] == old
    assert [name for name in got if name.startswith("new")] == new
    assert got.index("new99") < 160  # not after the whole backlog


def test_results_marked_historical_do_not_overtake(rig: Rig):
    spool = rig.spool(100)
    spool.put(result("recovered", historical=True))
    spool.put(result("live"))
    assert ids(spool.peek(9, 0.0)) == ["live", "recovered"]


def test_a_waiting_reader_is_woken(rig: Rig):
    import threading

    spool = rig.spool(3)
    threading.Timer(0.05, spool.wake).start()
    assert spool.peek(1, 10.0) == []
    threading.Timer(0.05, lambda: spool.put(result("a"))).start()
    assert ids(spool.peek(1, 10.0)) == ["a"]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_doubled_whatever_the_order_of_events(rig: Rig, seed: int):
    import random

    random = random.Random(seed)
    spool = rig.spool(100_000)
    put: list[str] = []
    got: list[str] = []
    for _ in range(400):
        what = random.random()
        if what < 0.5:
            names = [str(len(put) + n) for n in range(random.randrange(1, 30))]
            put += names
            for name in names:
                spool.put(result(name))
        elif what < 0.8:
            entries = spool.peek(random.randrange(1, 80), 0.0)
            took = random.sample(entries, random.randrange(len(entries) + 1))
            spool.remove([entry.key for entry in took])
            got += ids(took)
        else:
            rig.settle()
            rig.time.pass_s(random.choice([0.1, 5.0]))
        assert len(spool) == len(put) - len(got)
    rig.settle()
    got += drain(rig, spool)
    assert sorted(got, key=int) == put


# The disk alone.


def test_what_waits_is_there_at_the_next_start_and_what_was_delivered_is_not(disk: Rig):
    spool = disk.spool(10_000)
    names = [str(n) for n in range(700)]
    fill(disk, spool, names)
    disk.settle()
    taken = spool.peek(100, 0.0)
    spool.remove([entry.key for entry in taken])
    disk.settle()
    disk.mark = Mark(41, 7)
    disk.settle()
    disk.close()
    again = disk.spool(10_000)
    assert disk.store is not None and disk.store.mark == Mark(41, 7)
    assert len(again) == 600
    again.put(result("newer"))
    assert [name for name in drain(disk, again) if name != "newer"] == names[100:]


def test_what_is_delivered_before_the_commit_never_touches_the_disk(disk: Rig):
    spool = disk.spool(100)
    for name in "abc":
        spool.put(result(name))
        spool.remove([entry.key for entry in spool.peek(9, 0.0)])
    disk.settle()
    assert disk.store is not None and disk.store.commits == 0


def test_age_counts_over_a_restart_and_a_clock_set_back_makes_it_old(disk: Rig):
    fill(disk, disk.spool(10), "ab")
    disk.settle()
    disk.close()
    disk.time.pass_s(3.0)
    limit = disk.time.now - 10.0
    assert all(entry.queued_s > limit for entry in disk.spool(10).peek(9, 0.0))
    disk.close()
    disk.time.wall -= 3600.0
    assert all(entry.queued_s < limit for entry in disk.spool(10).peek(9, 0.0))


@pytest.mark.parametrize("damage", ["zeros", "text", "cut", "wal cut", "index"])
def test_a_damaged_file_is_set_aside_with_its_wal_and_the_agent_starts(disk: Rig, damage: str):
    spool = disk.spool(10_000)
    fill(disk, spool, [str(n) for n in range(500)])
    disk.settle()
    # As after a crash: the file as it is now, without the closing checkpoint.
    crashed = disk.folder / "crashed"
    crashed.mkdir()
    for path in disk.folder.glob(NAME + "*"):
        (crashed / path.name).write_bytes(path.read_bytes())
    disk.close()
    file, wal = crashed / NAME, crashed / (NAME + "-wal")
    if damage == "wal cut":
        wal.write_bytes(wal.read_bytes()[: wal.stat().st_size * 2 // 3])
    elif damage == "index":
        with sqlite3.connect(file) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        data = bytearray(file.read_bytes())
        data[8192 : 8192 + 64] = b"\xff" * 64
        file.write_bytes(data)
    else:
        wal.unlink(missing_ok=True)
        data = {"zeros": bytes(9000), "text": b"hello " * 900, "cut": file.read_bytes()[:5000]}[damage]
        file.write_bytes(data if damage != "cut" else b"SQLite format 3\0" + b"\xfe" * 3000)
    disk.folder = crashed
    again = disk.spool(10_000)
    assert disk.store is not None and not disk.store.error
    assert disk.store.quarantined == (damage != "wal cut")
    assert bool(list(crashed.glob("*.bad-*"))) == (damage != "wal cut")
    fill(disk, again, ["x"])
    assert drain(disk, again)[-1] == "x"


def test_damage_while_running_keeps_what_is_in_memory_and_holds_the_mark_back(disk: Rig):
    spool = disk.spool(10_000)
    disk.mark = Mark(10, 5)
    disk.settle()
    assert disk.safe == [Mark(10, 5)]
    fill(disk, spool, [str(n) for n in range(600)])
    disk.mark = Mark(20, 15)
    disk.settle()
    assert disk.store is not None and disk.store._db is not None
    disk.store._failed(sqlite3.DatabaseError("database disk image is malformed"))
    disk.settle()
    assert disk.store.quarantined == 1
    assert len(drain(disk, spool)) == KEEP_IN_MEMORY
    disk.close()
    disk.open()
    # What went with the file is owed again.
    assert disk.store.mark == Mark(10, 5)


def test_the_recorder_hears_of_a_mark_once_all_before_it_has_left(disk: Rig):
    spool = disk.spool(100)
    fill(disk, spool, "ab")
    disk.mark = Mark(3, 1)
    disk.settle()
    assert disk.safe == []
    spool.remove([entry.key for entry in spool.peek(9, 0.0)])
    fill(disk, spool, "c")
    disk.mark = Mark(5, 1)
    disk.settle()
    assert disk.safe == [Mark(3, 1)]


def test_two_sinks_share_the_file_and_nothing_else(disk: Rig):
    first = disk.spool(100)
    assert disk.store is not None
    second = DiskSpool(disk.store, 1, 100, clock=disk.time.clock)
    for name in "abc":
        first.put(result(name))
        second.put(result(name))
    disk.settle()
    assert drain(disk, first) == ["a", "b", "c"]
    disk.close()
    assert len(disk.spool(100)) == 0
    assert disk.store is not None
    assert ids(DiskSpool(disk.store, 1, 100, clock=disk.time.clock).peek(9, 0.0)) == ["a", "b", "c"]


def test_a_folder_that_cannot_be_written_leaves_results_in_memory_until_it_can(disk: Rig, monkeypatch):
    import edge.delivery.diskstore as module

    monkeypatch.setattr(module, "RETRY_S", 0.0)
    disk.folder = disk.folder / "absent"
    spool = disk.spool(100)
    fill(disk, spool, "abc")
    assert disk.store is not None and not disk.store.commit()
    assert "wait in memory" in disk.store.error
    assert ids(spool.peek(9, 0.0)) == ["a", "b", "c"]
    disk.folder.mkdir()
    disk.settle()
    assert disk.store.error == ""
    disk.close()
    assert ids(disk.spool(100).peek(9, 0.0)) == ["a", "b", "c"]


def test_what_has_waited_for_too_long_goes_and_is_counted(disk: Rig):
    disk.open(keep_s=86_400.0)
    spool = DiskSpool(disk.store, 0, 5000, clock=disk.time.clock)  # type: ignore[arg-type]
    fill(disk, spool, [str(n) for n in range(600)], "old")
    disk.settle()
    disk.time.pass_s(90_000.0)
    fill(disk, spool, ["new"], "new")
    disk.settle()
    disk.settle()
    assert ids(spool.peek(999, 0.0)) == ["new"]
    assert spool.drops.by_stream() == {"old": 600}


def test_a_file_that_could_not_be_read_at_the_start_is_delivered_once_it_can(disk: Rig, monkeypatch):
    import edge.delivery.diskstore as module

    monkeypatch.setattr(module, "RETRY_S", 0.0)
    fill(disk, disk.spool(1000), [f"old{n}" for n in range(300)])
    disk.settle()
    disk.close()
    away = disk.folder.rename(disk.folder.with_name("away"))
    spool = disk.spool(1000)
    fill(disk, spool, ["a", "b"])
    away.rename(disk.folder)
    disk.settle()
    assert len(spool) == 302
    assert sorted(drain(disk, spool)) == sorted(["a", "b", *[f"old{n}" for n in range(300)]])
