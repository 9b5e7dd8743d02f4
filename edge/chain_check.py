"""Whether a file of results is whole: every link of every chain, every signed note. No IO.

A result is sound when what its `prev` names is there, and what follows it, or a checkpoint, names it. What a crash cost
before it was on the disk is known to be answered again by the next run: the `begin` note says where the disk stood.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.chain import CHAIN_SCHEMA, digest, is_signed
from edge.events import EVENT_SCHEMA
from edge.types import RESULT_SCHEMA

MAX_LINE = 1 << 20


@dataclass(frozen=True, order=True)
class Fault:
    """`line` counts from 1."""

    line: int
    says: str


@dataclass
class Report:
    """What was looked at. `uncovered`: results that no later result or checkpoint names, so that their alteration or
    removal would not show; `lost`: holes of crashes, answered again by the next run; `given_up`: under tombstones.
    """

    results: int = 0
    chains: int = 0
    signed: int = 0
    uncovered: int = 0
    lost: int = 0
    given_up: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def first(self) -> Fault | None:
        return min(self.faults, default=None)


@dataclass(slots=True)
class _Line:
    number: int
    boot: str
    stream: str
    seq: int
    prev: str
    digest: str

    @property
    def place(self) -> str:
        return f"stream {self.stream}, seq {self.seq}, boot {self.boot[:8]}"


class _Checker:
    def __init__(self, public: bytes | None) -> None:
        self._public = public
        self.report = Report()
        self.results: dict[str, _Line] = {}  # by digest
        self.at: dict[tuple[str, str, int], _Line] = {}
        self.known: dict[str, int] = {}  # digests that a `prev` may name -> line
        self.names: list[tuple[int, str, str, int, str]] = []  # line, boot, stream, seq, digest: must be there
        self.held: dict[tuple[str, str], int] = {}  # seq up to which a run that ended was on the disk
        self.after: dict[str, list[tuple[int, str]]] = {}  # by stream: line, boot that a run followed
        self.boots: dict[str, set[str]] = {}
        self.buried: dict[tuple[str, str], list[range]] = {}  # seqs under tombstones

    def fault(self, line: int, says: str) -> None:
        self.report.faults.append(Fault(line, says))

    def take(self, number: int, text: str) -> None:
        if not text.strip():
            return
        try:
            data = json.loads(text) if len(text) <= MAX_LINE else None
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            self.fault(number, "is not a line that the agent writes")
            return
        schema = data.get("schema")
        try:
            if schema == RESULT_SCHEMA:
                self._result(number, data)
            elif schema == CHAIN_SCHEMA:
                self._note(number, data)
            elif schema != EVENT_SCHEMA:
                self.fault(number, "is not a line that the agent writes")
        except (KeyError, TypeError, ValueError) as error:
            self.fault(number, f"lacks what its kind has ({error!r})")

    def _result(self, number: int, data: Mapping[str, Any]) -> None:
        prev = data.get("prev")
        if not isinstance(prev, str) or not prev:
            self.fault(number, "carries no link (`prev`): written without [chain], or taken out of its chain")
            return
        line = _Line(number, str(data["boot_id"]), str(data["stream"]), int(data["seq"]), prev, digest(data))
        self.boots.setdefault(line.stream, set()).add(line.boot)
        if line.digest in self.results:
            return  # delivered twice
        self.report.results += 1
        self.results[line.digest] = line
        self.known[line.digest] = number
        other = self.at.setdefault((line.boot, line.stream, line.seq), line)
        if other is not line and other.prev == line.prev:
            self.fault(number, f"differs from line {other.number}, which is the same result ({line.place})")

    def _note(self, number: int, data: Mapping[str, Any]) -> None:
        kind, boot, stream = data["kind"], str(data["boot_id"]), str(data["stream"])
        if self._public is not None:
            if not is_signed(data, self._public):
                self.fault(number, f"{kind} of stream {stream} is not signed by the given key")
                return
            self.report.signed += 1
        if kind == "begin":
            if digest(data) not in self.known:
                self.report.chains += 1
            self.known[digest(data)] = number
            self.boots.setdefault(stream, set()).add(boot)
            after = data["after"]
            if after is not None:
                before, seq = str(after["boot_id"]), int(after["seq"])
                self.held[before, stream] = max(seq, self.held.get((before, stream), -1))
                self.names.append((number, before, stream, seq, str(after["digest"])))
                self.after.setdefault(stream, []).append((number, before))
        elif kind == "checkpoint":
            self.names.append((number, boot, stream, int(data["seq"]), str(data["digest"])))
        elif kind == "tombstone":
            self.report.given_up += int(data["count"])
            self.known[str(data["digest"])] = number
            first, last = int(data["first_seq"]), int(data["last_seq"])
            self.buried.setdefault((boot, stream), []).append(range(first, last + 1))
            self.names.append((number, boot, stream, first - 1, str(data["prev"])))
        else:
            raise ValueError(f"kind {kind!r}")

    def finish(self) -> Report:
        named: set[str] = set()
        followers: dict[str, _Line] = {}
        for line in self.results.values():
            named.add(line.prev)
            first = followers.setdefault(line.prev, line)
            if first is not line:
                self.fault(line.number, f"follows the same result as line {first.number} ({line.place})")
            if line.prev not in self.known:
                self._broken(line)
        for number, boot, stream, seq, wanted in self.names:
            named.add(wanted)
            if wanted in self.known:
                continue
            there = self.at.get((boot, stream, seq))
            if there is not None:
                self.fault(there.number, f"is not what line {number} says was there ({there.place})")
            elif any(seq in seqs for seqs in self.buried.get((boot, stream), ())):
                continue
            elif boot in self.boots.get(stream, ()) and seq >= 0:
                self.fault(number, f"the result that it names is missing (stream {stream}, seq {seq})")
        for stream, befores in self.after.items():
            absent = sorted({(n, boot) for n, boot in befores if boot not in self.boots[stream]})
            for number, boot in absent[1:]:
                self.fault(number, f"the run before it (boot {boot[:8]}) is missing from stream {stream}")
        self.report.uncovered = sum(d not in named for d in self.results)
        return self.report

    def _broken(self, line: _Line) -> None:
        before = self.at.get((line.boot, line.stream, line.seq - 1))
        if before is not None:
            # Which of the two is altered, the one after them tells.
            after = self.at.get((line.boot, line.stream, line.seq + 1))
            own = after is not None and after.prev != line.digest
            self.fault((line if own else before).number, f"is altered ({(line if own else before).place})")
        elif line.seq - 1 > self.held.get((line.boot, line.stream), 1 << 62):
            self.report.lost += 1
        elif line.seq == 0:
            self.fault(line.number, f"the beginning of its chain is missing or altered ({line.place})")
        else:
            says = f"seq {line.seq - 1} is missing before it ({line.place})"
            self.fault(line.number, says)


def check(lines: Iterable[str], public: bytes | None = None) -> Report:
    """Look at all lines; with `public`, notes must be signed by that key."""
    checker = _Checker(public)
    for number, text in enumerate(lines, 1):
        checker.take(number, text)
    return checker.finish()
