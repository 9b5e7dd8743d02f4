"""Flight recorder: records, files, groups, recovery, export and erasure."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.build import load_bundle
from edge.bundle import signing
from edge.chain import digest
from edge.chain_check import check
from edge.config import BundleSettings
from edge.delivery.diskspool import DiskSpool
from edge.delivery.diskstore import DiskStore
from edge.engine import Engine
from edge.metrics import Metrics
from edge.recorder import files as files_module
from edge.recorder import writer as writer_module
from edge.recorder.erase import tombstones
from edge.recorder.reading import Choice, recorded, runs
from edge.recorder.record import (
    MARK,
    Decoder,
    Mark,
)
from edge.recorder.recovery import Progress, find, owed
from edge.recorder.segments import list_segments, read_segment
from edge.recorder.tracks import Tracks
from edge.recorder.writer import Recorder
from edge.types import SampleBlock, rfc3339
from firmware_bridge.recordings import open_recordings
from tests.edge.agent.helpers import FakeTime, block, result, signal
from tests.edge.agent.test_chain import Writer
from tests.edge.agent.test_cli import edge_agent
from tests.edge.recorder.test_record import BLOCKS, same
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle
from tests.integration.rig import wait_for


def recorder(folder: Path, next_number: int = 1, metrics: Metrics | None = None, **more) -> Recorder:
    more.setdefault("sync_s", 0.01)
    return Recorder(folder, Tracks(WINDOW / RATE_HZ), metrics or Metrics(), next_number=next_number, **more)


def write(made: Recorder, blocks: list[SampleBlock], *, aligned: bool = False) -> list[int]:
    """Everything on the disk, by the recorder's own thread."""
    thread = threading.Thread(target=made.run)
    thread.start()
    numbers = [made.append(each, aligned, None) for each in blocks]
    made.stop()
    thread.join(10)
    return numbers


def test_acknowledgements_come_after_the_fsync_and_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[object] = []
    real = os.fdatasync
    monkeypatch.setattr(files_module.os, "fdatasync", lambda fd: (events.append("sync"), real(fd)))
    sync_s = 2.0
    made = recorder(tmp_path, sync_s=sync_s)
    thread = threading.Thread(target=made.run)
    thread.start()
    for k in range(5):
        made.append(block([k]), False, lambda k=k: events.append(k))
    wait_for(lambda: len(events) >= 6, "the acknowledgements")
    assert events == ["sync", 0, 1, 2, 3, 4]
    began = time.monotonic()
    for k in range(writer_module.ACK_BURST):
        made.append(block([k]), False, lambda k=k: events.append(k))
    wait_for(lambda: len(events) >= 7 + writer_module.ACK_BURST, "the burst")
    assert time.monotonic() - began < sync_s / 2  # as many as a broker sends at once are not kept waiting
    made.stop()
    thread.join(5)


@pytest.mark.parametrize("group", [BLOCKS, [block([k, -k, 300 * k], first=3 * k) for k in range(9)]])
def test_a_group_of_blocks_is_on_the_disk_as_it_was(tmp_path: Path, group: list[SampleBlock]):
    made = recorder(tmp_path)
    for each in group:
        made.append(each, False, None)
    made.flush()
    decoder, (segment,) = Decoder(), list_segments(tmp_path)
    records = read_segment(segment.path, lambda size: pytest.fail(f"{size} bytes are damaged"))
    again = [decoder.block(raw.number, raw.payload) for raw in records]
    assert [each.number for each in again] == list(range(1, len(group) + 1))
    assert all(same(each.block, given) for each, given in zip(again, group, strict=True))


def test_the_oldest_file_goes_first_and_the_cap_holds(tmp_path: Path):
    made = recorder(tmp_path, cap_bytes=200_000, segment_bytes=20_000)
    for k in range(120):
        made._take([writer_module._Waiting(k + 1, block(signal(2000), first=2000 * k), False, 0.0, None)])
        made._files.retire()
    total = sum(segment.path.stat().st_size for segment in list_segments(tmp_path))
    assert 150_000 < total <= 200_000
    left = [raw.number for segment in list_segments(tmp_path) for raw in read_segment(segment.path)]
    assert left == list(range(left[0], 121))


def test_old_files_go_unless_the_clock_has_just_jumped(tmp_path: Path):
    fake = FakeTime(utc=time.time())
    made = recorder(tmp_path, keep_s=3600.0, clock=fake.clock)
    made._take([writer_module._Waiting(1, block([1]), False, 0.0, None)])
    made._files.close()
    fake.pass_s(61.0)
    made._files.retire()
    assert len(list_segments(tmp_path)) == 1
    fake.wall += 86_400.0  # a step: not an age
    fake.pass_s(61.0)
    made._files.retire()
    assert len(list_segments(tmp_path)) == 1
    fake.pass_s(2 * 3600.0)
    made._files.retire()
    assert len(list_segments(tmp_path)) == 0


def test_what_a_disk_refuses_is_accepted_and_written_when_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    metrics, accepted = Metrics(), []
    made = recorder(tmp_path, metrics=metrics)
    real = os.write

    def refuse(fd: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module.os, "write", refuse)
    made._take([writer_module._Waiting(1, block([1]), False, 0.0, lambda: accepted.append(1))])
    assert accepted == [1]
    assert "No space" in made.error
    assert list_segments(tmp_path) == []  # tries leave nothing behind
    monkeypatch.setattr(files_module.os, "write", real)
    made._retry_at = 0.0
    made._take([writer_module._Waiting(2, block([2], first=1), False, 0.0, lambda: accepted.append(2))])
    assert made.error == ""
    assert [each.number for each in recorded(tmp_path, Choice())] == [1, 2]
    assert metrics.count("unrecorded") == 0


# Recovery: an agent that died anywhere goes on as if nothing had been.


def engine(bundle: Path) -> Engine:
    return Engine(*load_bundle(BundleSettings(path=bundle)), node="gw1", boot_id="b", metrics=Metrics())


def stream_blocks(rng: random.Random, rate_hz: float, name: str, count: int) -> list[SampleBlock]:
    """A stream with gaps, an end now and then, and blocks of all sizes."""
    out: list[SampleBlock] = []
    values, at, first, epoch = signal(40_000, rng.randrange(99)), 0, rng.randrange(1000), 0
    for _ in range(count):
        n = rng.randrange(1, 60)
        if rng.random() < 0.05:
            first += rng.choice([3, 20, 500])
        end = rng.random() < 0.04
        out.append(
            replace(block(values[at : at + n], name, first), rate_hz=rate_hz, epoch=f"e{epoch}", end=end)
        )
        at, first = at + n, first + n
        if end:
            epoch, first = epoch + 1, rng.randrange(1000)
    return out


@pytest.mark.parametrize("seed", range(8))
def test_after_a_crash_anywhere_the_windows_are_those_of_a_run_without_one(tmp_path: Path, seed: int):
    rng = random.Random(seed)
    bundle = tiny_bundle(tmp_path / "tiny.bundle")
    aligned = seed % 2 == 1
    streams = [stream_blocks(rng, rate, f"s{k}", 60) for k, rate in enumerate([100.0, 100.0, 250.0, 60.0])]
    blocks = [
        streams[k].pop(0) for _ in range(240) for k in [rng.choice([i for i in range(4) if streams[i]])]
    ]
    whole = engine(bundle)
    wanted = [(r.id, r.label, round(r.score, 6)) for b in blocks for r in whole.push(b, aligned=aligned)]
    got: list[tuple[str, str, float]] = []
    folder, mark, at = tmp_path / "samples", None, 0
    folder.mkdir()
    spec = whole.bundle.manifest.input
    while at < len(blocks):
        tracks = Tracks(spec.window_samples / spec.rate_hz)
        found = find(folder, mark, tracks)
        run, progress = engine(bundle), Progress(spec, 1e9, found.mark.answered)
        for each, is_owed in owed(found):
            if is_owed:
                made = run.push(each.block, aligned=each.aligned, origin=each.origin)
                got += [(r.id, r.label, round(r.score, 6)) for r in made]
            else:
                run.warm(each.block, aligned=each.aligned, origin=each.origin)
            progress.done(each.number, each.block, 0.0)
        size = rng.randrange(1, 60)
        part, at = blocks[at : at + size], at + size
        writer = Recorder(folder, tracks, Metrics(), next_number=found.next_number, sync_s=0.01)
        numbers = write(writer, part, aligned=aligned)
        # Some of them are answered, the rest owed.
        answered = rng.randrange(len(part) + 1)
        for number, each in list(zip(numbers, part, strict=True))[:answered]:
            progress.begun(number)
            got += [(r.id, r.label, round(r.score, 6)) for r in run.push(each, aligned=aligned)]
            progress.done(number, each, 0.0)
        mark = progress.mark(0.0)
    run = engine(bundle)
    for each, is_owed in owed(find(folder, mark, Tracks(spec.window_samples / spec.rate_hz))):
        if is_owed:
            made = run.push(each.block, aligned=each.aligned, origin=each.origin)
            got += [(r.id, r.label, round(r.score, 6)) for r in made]
        else:
            run.warm(each.block, aligned=each.aligned, origin=each.origin)
    assert sorted(got) == sorted(wanted)
    assert len(wanted) > 100


def test_without_the_spool_files_mark_that_of_the_recorder_counts(tmp_path: Path):
    made = recorder(tmp_path)
    made.mark(Mark(3, 2))
    write(made, [block([k], first=k) for k in range(6)])
    found = find(tmp_path, None, Tracks(1.0))
    assert found.mark == Mark(3, 2)
    assert found.next_number == 7
    assert [(each.number, is_owed) for each, is_owed in owed(found)] == [
        (2, False), (3, False), (4, True), (5, True), (6, True)
    ]  # fmt: skip
    kinds = [raw.kind for segment in list_segments(tmp_path) for raw in read_segment(segment.path)]
    assert kinds.count(MARK) == 1


# Commands.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder with two streams, one of them with a gap."""
    samples = tmp_path / "state" / "samples"
    samples.mkdir(parents=True)
    values = signal(600).round()
    blocks = [block(values[at : at + 50], "a", at) for at in range(0, 600, 50)]
    blocks += [block(values[at : at + 50], "b", at) for at in range(0, 600, 50) if at not in (200, 250)]
    write(recorder(samples), blocks)
    return tmp_path / "state"


def test_replay_from_recorder_gives_the_same_ids_and_answers(folder: Path, tmp_path: Path):
    bundle = tiny_bundle(tmp_path / "tiny.bundle")
    live = engine(bundle)
    wanted = [r.id for each in recorded(folder, Choice()) for r in live.push(each.block)]
    words = ["replay", "--from-recorder", folder, "--bundle", bundle, "--node", "gw1", "--json"]
    done = edge_agent(*words)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == wanted
    late = edge_agent(*words, "--stream", "a", "--since", rfc3339(1.8e9 + 3.0))
    assert 0 < len(late.stdout.splitlines()) < len(wanted) / 2
    assert edge_agent(*words, "--since", "yesterday").returncode == 2
    assert edge_agent("replay", "--from-recorder", tmp_path / "absent").returncode == 1


@pytest.mark.parametrize("suffix", [".hea", ".csv", ".npz"])
def test_export_recording(folder: Path, tmp_path: Path, suffix: str):
    out = tmp_path / f"out{suffix}"
    done = edge_agent("export-recording", out, "--stream", "a", "--folder", folder)
    assert done.returncode == 0, done.stderr
    records = open_recordings(out)
    got = records.read(records.names[0])
    assert np.array_equal(got.physical[:, 0], signal(600).round())
    assert got.rate_hz == RATE_HZ
    done = edge_agent("export-recording", tmp_path / f"gap{suffix}", "--stream", "b", "--folder", folder)
    assert (tmp_path / f"gap-2{suffix}").exists()
    assert [len(run.values) for run in runs(folder, Choice("b"))] == [200, 300]
    assert edge_agent("export-recording", out, "--stream", "c", "--folder", folder).returncode == 1


def test_erase_leaves_a_signed_tombstone_and_the_other_streams(folder: Path, tmp_path: Path):
    public = signing.generate_keys(tmp_path / "key")
    store = DiskStore(folder)
    spool = DiskSpool(store, 0, 100)
    for stream in ("a", "b", "a"):
        spool.put(result("x", stream))
    assert store.commit()
    store.close()
    writer = Writer()
    writer.add("a", 6)
    writer.add("b", 3)
    writer.add("a", 3)
    writer.chain.stop()
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(writer.lines) + "\n")
    words = ["erase", "--stream", "a", "--folder", folder, "--results", results, "--key", tmp_path / "key"]
    done = edge_agent(*words)
    assert done.returncode == 0, done.stderr
    assert "12 records (600 samples), 2 waiting results and 9 lines erased; tombstone signed" in done.stdout
    assert {each.block.stream for each in recorded(folder, Choice())} == {"b"}
    (tombstone,) = tombstones(folder)
    assert (tombstone["stream"], tombstone["samples"]) == ("a", 600)
    signing.verify(digest(tombstone).encode(), _signature(tombstone), public)
    text = results.read_text()
    assert '"id":"b1-a-' not in text
    assert text.count('"id":"b1-b-') == 3
    assert check(text.splitlines()).faults == []  # what is left still verifies
    store = DiskStore(folder)
    assert DiskSpool(store, 0, 100).peek(9, 0.0)[0].result.stream == "b"
    store.close()


def test_erase_before_a_time_keeps_what_came_after(folder: Path):
    done = edge_agent("erase", "--stream", "a", "--folder", folder, "--before", rfc3339(1.8e9 + 3.0))
    assert done.returncode == 0, done.stderr
    left = [each.block.first_index for each in recorded(folder, Choice("a"))]
    assert left == list(range(300, 600, 50))


def test_erase_is_refused_while_an_agent_runs(folder: Path):
    from edge.durability import lock_folder

    lock = lock_folder(folder)
    try:
        done = edge_agent("erase", "--stream", "a", "--folder", folder)
    finally:
        os.close(lock)
    assert done.returncode == 2
    assert "in use" in done.stderr


def _signature(data: dict) -> bytes:
    import base64

    return base64.b64decode(data["signature"])


assert HOP < WINDOW  # the streams above are cut into windows that overlap
