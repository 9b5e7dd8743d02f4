"""Blocks of one device in order: gaps found, asked for again, filled or given up. PROTOCOL.md section 4.

Sans-IO: decoded messages and a monotonic time go in; blocks in order and commands for the device come out.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field, replace

from firmware_bridge.blocks import WRAP, Block, ReceiverCounters, form, part
from firmware_bridge.messages import (
    MAX_RESEND_SAMPLES,
    Ack,
    AckResult,
    Command,
    Decoded,
    Hello,
    Samples,
    Status,
    Verb,
)

__all__ = ["Block", "Receiver", "ReceiverCounters"]

ASK_EVERY_S = 0.5
ASK_TIMES = 3
HELLO_EVERY_S = 1.0
# A jump this wide is a restart, not a loss: an hour at 300 Hz.
RESTART_SAMPLES = 1 << 20
# Blocks held back behind a gap; with 255 samples of 16 channels that is 2 MB. Past it the oldest gap is given up.
MAX_HELD_BLOCKS = 256
# Boot numbers that are remembered; a device counts them up or draws them, so an old one hardly ever comes again.
MAX_BOOTS = 64
# So many repeats in a row come from a device that restarted without being heard, not from the line.
REPEATS_OF_RESTART = 3


@dataclass
class _Gap:
    first: int
    end: int
    deadline_s: float
    next_ask_s: float
    asked: int = 0
    commands: list[int] = field(default_factory=list)


class Receiver:
    """Receives one link.

    Args:
        resend: ask for what is missing, where the device can send it again; else gaps are passed on at once.

    Attributes:
        hello: the device's latest HELLO, None before.
    """

    def __init__(self, *, resend: bool = True) -> None:
        self.hello: Hello | None = None
        self.counters = ReceiverCounters()
        self._resend = resend
        self._next_id = 1
        self._next_hello_s = 0.0
        self._boot: int | None = None  # of the last HELLO, kept while the next is awaited
        self._generation = 0
        self._epoch = ""  # the name of the count since the last HELLO that began one
        self._generations: dict[int, int] = {}  # of the latest boot numbers
        self._resume: int | None = None
        self._reset(None)

    def _reset(self, expected: int | None) -> None:
        self._expected = expected  # index after the newest block
        self._held: list[Block] = []  # in order of first_index, behind a gap
        self._gaps: list[_Gap] = []
        self._repeats = 0

    @property
    def epoch(self) -> str:
        """Name of the running epoch; empty before the first HELLO. The same after a restart of the gateway.

        A device that restarts without another boot number gets a number after a dot.
        """
        return "" if self.hello is None else self._epoch

    def push(self, message: Decoded, now_s: float) -> list[Block]:
        """Take a decoded message; blocks that are in order now."""
        if isinstance(message, Samples):
            return self._samples(message, now_s)
        if isinstance(message, Hello):
            return self._new_hello(message)
        if isinstance(message, Status) and self.hello is not None and message.boot != self.hello.boot:
            return self._forget()
        if isinstance(message, Ack):
            self._ack(message)
            return self._in_order()
        return []

    def poll(self, now_s: float) -> list[Block]:
        """Blocks whose gap has been waited for long enough. Call it a few times a second."""
        for gap in [gap for gap in self._gaps if gap.deadline_s <= now_s]:
            self._give_up(gap)
        return self._in_order()

    def commands(self, now_s: float) -> list[Command]:
        """What to send to the device now: HELLO requests and RESENDs."""
        out = []
        if self.hello is None:
            if now_s >= self._next_hello_s:
                self._next_hello_s = now_s + HELLO_EVERY_S
                out.append(self._command(Verb.HELLO))
            return out
        for gap in self._gaps:
            if gap.asked < ASK_TIMES and gap.next_ask_s <= now_s:
                gap.asked += 1
                gap.next_ask_s = now_s + ASK_EVERY_S
                command = self._command(Verb.RESEND, gap.first, gap.end)
                gap.commands.append(command.id)
                self.counters.asked += 1
                out.append(command)
        return out

    def lost_connection(self) -> list[Block]:
        """The port was closed: give out what is held, ask for HELLO at the next chance.

        If the device ran on meanwhile, what it sent is a gap like any other.
        """
        resume = self._expected
        out = self._flush()
        self._resume = resume
        self._next_hello_s = 0.0
        self.hello = None
        return out

    def _command(self, verb: Verb, first: int = 0, end: int = 0) -> Command:
        id_, self._next_id = self._next_id, self._next_id % 0xFFFF + 1
        return Command(id_, verb, first % WRAP, end % WRAP)

    def _new_hello(self, hello: Hello) -> list[Block]:
        before, self.hello = self.hello, hello
        boot, self._boot = self._boot, hello.boot
        if before is None:
            resume, self._resume = self._resume, None
            if boot is None or boot != hello.boot:
                resume = None
            if resume is None:
                self._begin(hello.boot)
            self._reset(resume)
            return []
        if (before.boot, before.device_id) == (hello.boot, hello.device_id):
            if form(before) == form(hello):
                return []
            # Another rate or other channels: its samples do not continue the ones before.
            self.hello = before
            out = self._flush()
            self.hello = hello
            self._begin(hello.boot)
            return out
        self.hello = before
        out = self._flush()
        self.hello = hello
        self._begin(hello.boot)
        self.counters.restarts += 1
        # Its boot was heard, so a first block with another number than 0 has lost something before it.
        self._reset(0)
        return out

    def _begin(self, boot: int) -> None:
        """Another epoch: of a boot number that was there before it gets a name of its own."""
        self._generation = self._generations.pop(boot, -1) + 1
        self._generations[boot] = self._generation
        self._epoch = f"{boot:08x}" + (f".{self._generation}" if self._generation else "")
        if len(self._generations) > MAX_BOOTS:
            del self._generations[next(iter(self._generations))]

    def _forget(self) -> list[Block]:
        """The device has restarted, and what its samples mean now is not known."""
        out = self._flush()
        self.counters.restarts += 1
        self.hello = None
        self._resume = None
        self._next_hello_s = 0.0
        return out

    def _flush(self) -> list[Block]:
        for gap in list(self._gaps):
            self._give_up(gap)
        out = self._in_order()
        self._reset(None)
        return out

    def _samples(self, samples: Samples, now_s: float) -> list[Block]:
        hello = self.hello
        if hello is None or samples.values.shape[1] != len(hello.channels):
            self.counters.before_hello += 1
            return [] if hello is None else self._forget()
        if self._expected is None:
            can_have_start = self._can_resend(hello) and samples.seq <= hello.resend_samples
            self._expected = 0 if can_have_start else samples.seq
        away = (samples.seq - self._expected + WRAP // 2) % WRAP - WRAP // 2
        if abs(away) > RESTART_SAMPLES:
            self.counters.before_hello += 1
            return self._forget()
        block = Block(self._epoch, self._expected + away, hello, samples)
        if away < 0:
            return self._late(block)
        self._repeats = 0
        if away == 0 and not self._held and not self._gaps:  # nearly always
            self._expected = block.first_index + len(samples.values)
            self.counters.blocks += 1
            return [block]
        if away > 0:
            self._open_gap(self._expected, block.first_index, hello, now_s)
        self._expected = block.first_index + len(samples.values)
        self._hold(block)
        return self._in_order()

    def _can_resend(self, hello: Hello) -> bool:
        return self._resend and hello.obeys_commands and hello.resend_samples > 0

    def _open_gap(self, first: int, end: int, hello: Hello, now_s: float) -> None:
        self.counters.gaps += 1
        self.counters.missing_samples += end - first
        if not self._can_resend(hello):
            return
        # The ring keeps the newest samples; the block that revealed the gap is in it, too.
        reach = min(hello.resend_samples, MAX_RESEND_SAMPLES)
        first = max(first, end - reach)
        self._gaps.append(_Gap(first, end, now_s + ASK_EVERY_S * ASK_TIMES, now_s))

    def _late(self, block: Block) -> list[Block]:
        """A block from before the newest: the part of it that fills a gap is used."""
        first, end = block.first_index, block.first_index + len(block.samples.values)
        used = False
        for gap in list(self._gaps):
            low, high = max(first, gap.first), min(end, gap.end)
            if low >= high:
                continue
            used = True
            self.counters.filled_samples += high - low
            self.counters.missing_samples -= high - low
            self._hold(part(block, low, high))
            self._shrink(gap, low, high)
        if not used and len(block.samples.values):
            self.counters.repeats += 1
            self._repeats += 1
            if self._repeats >= REPEATS_OF_RESTART:
                return self._forget()
        return self._in_order()

    def _shrink(self, gap: _Gap, low: int, high: int) -> None:
        at = self._gaps.index(gap)
        pieces = []
        for first, end in ((gap.first, low), (high, gap.end)):
            if first < end:
                pieces.append(replace(gap, first=first, end=end, commands=list(gap.commands)))
        self._gaps[at : at + 1] = pieces

    def _hold(self, block: Block) -> None:
        bisect.insort(self._held, block, key=lambda held: held.first_index)
        while len(self._held) > MAX_HELD_BLOCKS and self._gaps:
            self._give_up(self._gaps[0])

    def _give_up(self, gap: _Gap) -> None:
        self._gaps.remove(gap)

    def _ack(self, ack: Ack) -> None:
        if ack.verb != Verb.RESEND or ack.result in (AckResult.DONE, AckResult.BUSY):
            return
        for gap in [gap for gap in self._gaps if ack.id in gap.commands]:
            if ack.result != AckResult.PARTIAL:
                self._give_up(gap)
                continue
            kept_from = gap.first + (ack.value - gap.first) % WRAP
            if gap.first < kept_from < gap.end:
                self._shrink(gap, gap.first, kept_from)

    def _in_order(self) -> list[Block]:
        """Held blocks with no open gap before them."""
        limit = self._gaps[0].first if self._gaps else None
        out: list[Block] = []
        while self._held and (limit is None or self._held[0].first_index < limit):
            out.append(self._held.pop(0))
        self.counters.blocks += len(out)
        return out
