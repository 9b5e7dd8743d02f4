"""Forget a stream: its records, its waiting results and its lines in results files go; a signed tombstone stays.

For a stopped agent. Each file is written anew beside the old one and then takes its name, so a crash leaves the one or
the other. What a flash card keeps of the old blocks is not in a program's hands (docs/privacy.md).
"""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.chain import ChainNote, Signer, digest
from edge.delivery.diskstore import NAME
from edge.events import EVENT_SCHEMA
from edge.recorder.reading import Choice, RecorderError
from edge.recorder.record import BLOCK, ERASED, Decoder, Encoder, RecordError
from edge.recorder.segments import list_segments, read_segment, segment_path, sync_folder
from edge.types import RESULT_SCHEMA, parse_time, rfc3339

ERASED_SCHEMA = "wavewall.erased/1"


@dataclass
class Erased:
    """What went."""

    records: int = 0
    samples: int = 0
    waiting: int = 0
    lines: int = 0


def erase(
    folder: Path,
    choice: Choice,
    *,
    now: float,
    signer: Signer | None = None,
    results: tuple[Path, ...] = (),
) -> Erased:
    """Erase `choice` (its stream is set) from a state folder and results files. Raises RecorderError."""
    assert choice.stream is not None
    done = Erased()
    try:
        _erase_samples(folder / "samples", choice, done)
        _erase_waiting(folder / NAME, choice, done)
        for path in results:
            _erase_lines(path, choice, done, now, signer)
        _leave_tombstone(folder / "samples", choice, done, now, signer)
    except (OSError, sqlite3.Error) as error:
        raise RecorderError(
            f"{folder}: erasing broke off ({error}); free or repair it, and erase again"
        ) from error
    return done


def tombstones(folder: Path) -> list[dict[str, Any]]:
    """What was erased here before, as it was written down."""
    return [
        json.loads(bytes(raw.payload))
        for segment in list_segments(folder / "samples")
        for raw in read_segment(segment.path)
        if raw.kind == ERASED
    ]


def _erase_samples(folder: Path, choice: Choice, done: Erased) -> None:
    decoder = Decoder()
    for segment in list_segments(folder):
        kept: list[bytes] = []
        found = 0
        for raw in read_segment(segment.path):
            if raw.kind == BLOCK:
                try:
                    block = decoder.block(raw.number, raw.payload).block
                except RecordError:
                    continue
                if choice.takes(block):
                    found += 1
                    done.samples += len(block.values)
                    continue
            kept.append(bytes(raw.whole))
        if found:
            done.records += found
            _rewrite(segment.path, b"".join(kept))


def _erase_waiting(path: Path, choice: Choice, done: Erased) -> None:
    if not path.exists():
        return
    with sqlite3.connect(path, timeout=5.0) as db:
        db.execute("PRAGMA secure_delete = ON")
        rows = db.execute("SELECT sink, key, body FROM waiting WHERE stream = ?", (choice.stream,)).fetchall()
        gone = [(sink, key) for sink, key, body in rows if _is_before(json.loads(body), choice)]
        db.executemany("DELETE FROM waiting WHERE sink = ? AND key = ?", gone)
        done.waiting = len(gone)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("VACUUM")
    db.close()


def _erase_lines(path: Path, choice: Choice, done: Erased, now: float, signer: Signer | None) -> None:
    """Lines of the stream; runs of chained results leave a tombstone each, so that the rest still verifies."""
    kept: list[str] = []
    gone: dict[str, list[dict[str, Any]]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            data = json.loads(text)
        except ValueError:
            data = None
        about = isinstance(data, dict) and data.get("stream") == choice.stream
        if about and data.get("schema") == RESULT_SCHEMA and _is_before(data, choice):
            done.lines += 1
            if data.get("prev"):
                gone.setdefault(str(data["boot_id"]), []).append(data)
        elif about and data.get("schema") == EVENT_SCHEMA and _is_before(data, choice):
            done.lines += 1
        else:
            kept.append(text)
    for boot_id, items in gone.items():
        for run in _linked(items):
            facts = {
                "first_seq": run[0]["seq"],
                "last_seq": run[-1]["seq"],
                "count": len(run),
                "prev": run[0]["prev"],
                "digest": digest(run[-1]),
            }
            note = ChainNote("tombstone", now, boot_id, str(choice.stream), facts)
            kept.append((note if signer is None else signer.sign(note)).to_json() + "\n")
    _rewrite(path, "".join(kept).encode())


def _linked(items: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Results that follow each other in the chain."""
    runs: list[list[dict[str, Any]]] = []
    seen: set[str] = set()
    for data in sorted(items, key=lambda item: int(item["seq"])):
        own = digest(data)
        if own in seen:
            continue  # delivered twice
        seen.add(own)
        if runs and digest(runs[-1][-1]) == data["prev"]:
            runs[-1].append(data)
        else:
            runs.append([data])
    return runs


def _is_before(data: dict[str, Any], choice: Choice) -> bool:
    if choice.before is None:
        return True
    window = data.get("window")
    at = window.get("t0") if isinstance(window, dict) else data.get("start", data.get("t", ""))
    try:
        return parse_time(str(at)) < choice.before
    except ValueError:
        return True


def _leave_tombstone(folder: Path, choice: Choice, done: Erased, now: float, signer: Signer | None) -> None:
    facts: dict[str, Any] = {
        "schema": ERASED_SCHEMA,
        "stream": choice.stream,
        "before": None if choice.before is None else rfc3339(choice.before),
        "erased_at": rfc3339(now),
        "records": done.records,
        "samples": done.samples,
        "waiting": done.waiting,
        "lines": done.lines,
    }
    if signer is not None:
        facts["signature"] = signer.signature(facts)
    if not folder.is_dir():
        return
    segments = list_segments(folder)
    last = max((raw.number for s in segments[-1:] for raw in read_segment(s.path)), default=0)
    last = max(last, segments[-1].first if segments else 0)
    path = segment_path(folder, last)
    while path.exists():
        last += 1
        path = segment_path(folder, last)
    _rewrite(path, Encoder().erased(last, json.dumps(facts, separators=(",", ":")).encode()))


def _rewrite(path: Path, data: bytes) -> None:
    """All or nothing."""
    part = path.with_name(path.name + ".part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(part, path)
    sync_folder(path.parent)
