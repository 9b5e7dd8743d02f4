"""The chain of results: whole it verifies, and every way of altering it is found at its line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import signing
from edge.chain import Chain, ChainNote, Signer, digest, is_signed
from edge.chain_check import Fault, check
from edge.delivery.spool import MemorySpool
from edge.events import message_from_json
from edge.types import Result
from tests.edge.agent.helpers import result
from tests.edge.agent.test_cli import edge_agent

pytestmark = pytest.mark.security


class Writer:
    """Results through a chain into lines, as a file sink writes them."""

    def __init__(self, boot: str = "b1", before: str = "", signer: Signer | None = None, every: int = 5) -> None:
        self.lines: list[str] = []
        self.boot, self._seq = boot, dict[str, int]()
        self.chain = Chain(
            boot, self.note, utc=lambda: 1.8e9, every=every, signer=signer, before=before, max_streams=10
        )

    def note(self, note: ChainNote) -> None:
        self.lines.append(note.to_json())

    def add(self, stream: str = "s1", count: int = 1, **changes) -> list[Result]:
        out = []
        for _ in range(count):
            seq = self._seq.get(stream, 0)
            self._seq[stream] = seq + 1
            made = result(f"{self.boot}-{stream}-{seq}", stream, boot_id=self.boot, seq=seq, **changes)
            linked = self.chain.link(made)
            self.lines.append(linked.to_json())
            self.chain.after(linked)
            out.append(linked)
        return out


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Signer]:
    path = tmp_path_factory.mktemp("keys") / "chain.key"
    public = signing.generate_keys(path)
    return path, public, Signer(signing.load_private_key(path))


def whole(signer: Signer | None = None) -> list[str]:
    """Two streams, two boots, each with its last checkpoint."""
    first = Writer(signer=signer)
    first.add("s1", 12)
    first.add("s2", 7)
    first.add("s1", 3)
    first.chain.stop()
    second = Writer("b2", first.chain.heads(), signer)
    second.add("s1", 6)
    second.add("s2", 6)
    second.chain.stop()
    return first.lines + second.lines


def at(lines: list[str], **wanted) -> int:
    """Index of the line that has these values."""
    return next(i for i, text in enumerate(lines) if wanted.items() <= json.loads(text).items())


def test_a_whole_file_is_whole_in_any_order_and_with_doubles(keys):
    _, public, signer = keys
    lines = whole(signer)
    for order in range(5):
        mixed = [*lines, *lines[3:9]]
        random.Random(order).shuffle(mixed)
        report = check(mixed, public)
        assert report.faults == []
        assert (report.results, report.chains, report.uncovered) == (34, 4, 0)
    assert check(whole()).faults == []


def test_delivery_may_mark_results_historical():
    lines = [line.replace('"historical":false', '"historical":true') for line in whole()]
    assert check(lines).faults == []


ALTERED: dict[str, Callable[[dict], None]] = {
    "label": lambda r: r.update(label="other"),
    "score": lambda r: r.update(score=r["score"] + 1e-6),
    "time": lambda r: r.update(t="2027-01-15T08:00:00.001Z"),
    "window": lambda r: r["window"].update(t0="2027-01-15T08:00:00.001Z"),
    "status": lambda r: r.update(status="abstain", reason="flat"),
    "a further key": lambda r: r.update(note="x"),
    "a key less": lambda r: r.pop("latency_ms"),
}


@pytest.mark.parametrize("what", ALTERED)
@pytest.mark.parametrize("seq", [0, 4, 8, 14])
def test_an_altered_result_is_named_by_its_line(what: str, seq: int):
    lines = whole()
    where = at(lines, boot_id="b1", stream="s1", seq=seq, schema="wavewall.result/1")
    data = json.loads(lines[where])
    ALTERED[what](data)
    lines[where] = json.dumps(data)
    assert check(lines).first == Fault(where + 1, check(lines).first.says)  # type: ignore[union-attr]


@pytest.mark.parametrize("seq", [0, 5, 13, 14])
def test_a_missing_result_is_found_at_the_line_after_it(seq: int):
    lines = whole()
    del lines[at(lines, boot_id="b1", stream="s1", seq=seq, schema="wavewall.result/1")]
    first = check(lines).first
    assert first is not None
    assert "missing" in first.says


def test_links_cannot_be_mended_without_everything_after_them():
    """Altered, and the next one's link with it: then that one has another digest, and so on to a checkpoint."""
    lines = whole()
    where = at(lines, boot_id="b1", stream="s2", seq=3, schema="wavewall.result/1")
    data = json.loads(lines[where])
    data["label"] = "other"
    lines[where] = json.dumps(data)
    for seq in range(4, 7):
        prev = digest(json.loads(lines[at(lines, boot_id="b1", stream="s2", seq=seq - 1, schema="wavewall.result/1")]))
        following = at(lines, boot_id="b1", stream="s2", seq=seq, schema="wavewall.result/1")
        lines[following] = json.dumps({**json.loads(lines[following]), "prev": prev})
    assert check(lines).first is not None


def test_what_is_put_in_is_found():
    lines = whole()
    where = at(lines, boot_id="b1", stream="s1", seq=6, schema="wavewall.result/1")
    data = json.loads(lines[where])
    lines.insert(where + 1, json.dumps({**data, "id": "another", "label": "other"}))
    first = check(lines).first
    assert first is not None
    assert first.line in (where + 1, where + 2)
    lines = whole()
    lines.insert(3, result("x").to_json())
    assert check(lines).first == Fault(4, check(lines).first.says)  # type: ignore[union-attr]
    assert check([*whole(), "garbage"]).first is not None


def test_a_boot_that_is_taken_out_is_missed():
    lines = whole()
    third = Writer("b3", "", None)
    heads = Writer("b2", "", None)
    heads.add("s1", 2)
    third = Writer("b3", heads.chain.heads())
    third.add("s1", 2)
    first = check([*lines, *third.lines]).first  # says it followed another b2
    assert first is not None
    without = [line for line in whole() if json.loads(line)["boot_id"] == "b2"]
    assert check(without).faults == []  # a file may begin anywhere
    fourth = Writer("b4", third.chain.heads())
    fourth.add("s1", 2)
    middle_gone = [*[line for line in lines if json.loads(line)["boot_id"] == "b2"], *fourth.lines]
    assert any("b3" in fault.says for fault in check(middle_gone).faults)


def test_notes_must_be_signed_by_the_key(keys, tmp_path: Path):
    _, public, signer = keys
    lines = whole(signer)
    signing.generate_keys(tmp_path / "other.key")
    other = Signer(signing.load_private_key(tmp_path / "other.key"))
    assert check(whole(), public).first is not None  # not signed at all
    assert check(whole(other), public).first is not None
    where = at(lines, kind="checkpoint")
    data = json.loads(lines[where])
    assert is_signed(data, public)
    for change in ({"seq": data["seq"] - 1}, {"digest": "0" * 64}, {"stream": "s9"}, {"signature": "AAAA"}):
        altered = [*lines[:where], json.dumps({**data, **change}), *lines[where + 1 :]]
        assert check(altered, public).first == Fault(where + 1, check(altered, public).first.says)  # type: ignore[union-attr]


def test_a_whole_file_computed_anew_is_found_by_the_key_alone(keys):
    _, public, _ = keys
    forged = Writer()
    forged.add("s1", 9, label="other")
    assert check(forged.lines).faults == []
    assert check(forged.lines, public).first is not None


@pytest.mark.parametrize("overflow", ["drop_oldest", "refuse_newest"])
def test_overflow_leaves_a_tombstone_that_closes_the_hole(keys, overflow: str):
    _, public, signer = keys
    writer = Writer(signer=signer, every=1000)
    spool = MemorySpool(10, overflow)  # type: ignore[arg-type]
    for each in writer.add("s1", 25):
        spool.put(each)
    kept = [entry.result for entry in spool.peek(99, 0.0)]
    spool.remove([entry.key for entry in spool.peek(99, 0.0)])
    later = writer.add("s1", 3)
    notes = [line for line in writer.lines if json.loads(line)["schema"] == "wavewall.chain/1"]
    lines = notes + [r.to_json() for r in [*kept, *later]]
    assert "missing" in check(lines, public).first.says  # type: ignore[union-attr]
    tombstones = [
        writer.chain.note(
            "tombstone",
            stream,
            boot,
            {"first_seq": g.first_seq, "last_seq": g.last_seq, "count": g.count, "prev": g.prev, "digest": g.digest},
        )
        for boot, stream, g in spool.drops.take_chained()
    ]
    report = check([*lines, *[note.to_json() for note in tombstones]], public)
    assert report.faults == []
    assert report.given_up == 15


def test_holes_of_a_crash_are_told_from_lines_that_were_taken_out():
    first = Writer(every=1000)
    first.add("s1", 5)
    on_disk = first.chain.heads()
    first.add("s1", 5)  # delivered or not, nobody knows
    second = Writer("b2", on_disk)
    second.add("s1", 4)
    lines = first.lines + second.lines
    hole = [line for line in lines if json.loads(line).get("id") != "b1-s1-7"]
    report = check(hole)
    assert (report.faults, report.lost) == ([], 1)
    taken = [line for line in lines if json.loads(line).get("id") != "b1-s1-3"]
    assert check(taken).first is not None


def test_notes_survive_the_spool_file():
    note = Writer().chain.note("tombstone", "s1", "b1", {"first_seq": 1, "last_seq": 2, "count": 2})
    again = message_from_json(note.to_json())
    assert again == note
    assert again.to_json() == note.to_json()


def test_verify_names_the_first_line(tmp_path: Path, keys):
    key, _, signer = keys
    lines = whole(signer)
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(lines) + "\n")
    done = edge_agent("verify", path, "--key", f"{key}.pub")
    assert done.returncode == 0, done.stderr
    assert "34 results in 4 chains" in done.stdout
    assert "whole" in done.stdout
    where = at(lines, boot_id="b1", stream="s1", seq=8, schema="wavewall.result/1")
    lines[where] = lines[where].replace('"label":"normal"', '"label":"other"')
    path.write_text("\n".join(lines) + "\n")
    done = edge_agent("verify", path)
    assert done.returncode == 1
    assert f"line {where + 1} is altered" in done.stderr
    assert edge_agent("verify", tmp_path / "absent.jsonl").returncode == 1
