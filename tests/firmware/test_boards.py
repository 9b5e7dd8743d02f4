"""The example firmware in emulators, seen from the other end of the line."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import CounterStore, Guard, Signer
from firmware_bridge.decoder import FrameDecoder
from tests.firmware.corpus import KEY
from tests.firmware.emulators import Line, Qemu, Uno

pytestmark = [pytest.mark.firmware, pytest.mark.slow, pytest.mark.integration]

M = TypeVar("M", bound=m.Message)
SEED = 4000


def of(line: Line, kind: type[M]) -> list[M]:
    return [message for message in line.messages if isinstance(message, kind)]


def epochs(line: Line) -> list[tuple[m.Hello, list[m.Samples]]]:
    """SAMPLES by the HELLO before them; a repeated HELLO begins nothing."""
    out: list[tuple[m.Hello, list[m.Samples]]] = []
    for message in line.messages:
        if isinstance(message, m.Hello) and (not out or out[-1][0].boot != message.boot):
            out.append((message, []))
        elif isinstance(message, m.Samples):
            out[-1][1].append(message)
    return out


def gapless(blocks: list[m.Samples]) -> np.ndarray:
    """All values, (n, channel), once it is clear that each block begins where the one before ended."""
    expected = 0
    for block in blocks:
        assert block.seq == expected
        expected += len(block.values)
    return np.concatenate([block.values for block in blocks])


class Asker:
    """Sends commands and waits for their answers."""

    def __init__(self, line: Line, signer: Signer | None = None) -> None:
        self._line, self._signer, self._id = line, signer, 100

    def frame(self, verb: int, first: int = 0, end: int = 0, *, tagged: bool = True) -> bytes:
        self._id += 1
        return codec.encode(m.Command(self._id, verb, first, end), tagger=self._signer if tagged else None)

    def __call__(self, verb: int, first: int = 0, end: int = 0) -> m.Ack:
        self._line.write(self.frame(verb, first, end))
        line, id_ = self._line, self._id
        line.read_until(lambda: any(ack.id == id_ for ack in of(line, m.Ack)), f"no answer to verb {verb}")
        ack = [ack for ack in of(line, m.Ack) if ack.id == id_][-1]
        assert ack.verb == verb
        return ack


def newest(line: Line) -> int:
    """Sample number after the newest block."""
    block = of(line, m.Samples)[-1]
    return block.seq + len(block.values)


def test_cortex_m_plays_its_records_without_a_gap(built: Path, short_path: Path, ecg: list[np.ndarray]):
    with Qemu(built / "cortex-m.elf", short_path, seed=SEED) as board, Line(board.port) as line:
        board.go()
        line.read_until(lambda: sum(b.end for b in of(line, m.Samples)) >= 2, "two records", 120)
    assert line.decoder.counters.bad == {}
    played = epochs(line)
    assert [hello.boot for hello, _ in played[:2]] == [SEED + 1, SEED + 2]
    hello = played[0][0]
    assert hello.device_id == "mps2-ecg"
    assert hello.rate_hz == 300.0
    assert hello.channels == (m.Channel("ecg", "uV", 1.0),)
    assert hello.obeys_commands
    assert hello.resend_samples >= 1200
    for (_, blocks), values in zip(played[:2], ecg, strict=True):
        assert np.array_equal(gapless(blocks)[:, 0], values)
        first = blocks[0].device_time_us
        for block in blocks:
            assert abs(block.device_time_us - first - block.seq * 1e6 / 300) < 2
    assert {status.dropped_samples for status in of(line, m.Status)} == {0}
    plain = sum(len(codec.encode(block)) for block in of(line, m.Samples))
    assert len(line.raw) < 0.85 * plain  # it packs


def test_cortex_m_keeps_time(built: Path, short_path: Path):
    """Its timer against the wall's clock: a counted interrupt would lose up to 17 %."""
    delays: list[tuple[float, float]] = []  # device time of a block, and how much later it came
    with Qemu(built / "cortex-m.elf", short_path, fast=False) as board, Line(board.port) as line:
        board.go()
        while not delays or delays[-1][0] < 6:
            seen = len(of(line, m.Samples))
            line.read_until(lambda seen=seen: len(of(line, m.Samples)) > seen, "samples")
            device_s = of(line, m.Samples)[-1].device_time_us / 1e6
            delays.append((device_s, time.monotonic() - device_s))
    # A busy host only adds: the least delay of each end is what the two clocks say.
    early = min(delay for at, delay in delays if at < 2)
    late = min(delay for at, delay in delays if at > 4)
    assert abs(late - early) / 4 < 0.08


def test_cortex_m_obeys(built: Path, short_path: Path, ecg: list[np.ndarray]):
    with Qemu(built / "cortex-m.elf", short_path, fast=False) as board, Line(board.port) as line:
        ask = Asker(line)
        board.go()
        line.read_until(lambda: newest(line) >= 240 if of(line, m.Samples) else False, "240 samples")

        hellos = len(of(line, m.Hello))
        assert ask(m.Verb.HELLO).result == m.AckResult.DONE
        line.read_until(lambda: len(of(line, m.Hello)) > hellos, "HELLO again")
        assert of(line, m.Hello)[-1] == of(line, m.Hello)[0]

        first = bytes(line.raw)
        ack = ask(m.Verb.RESEND, 65, 121)  # inside the blocks from 60, 90 and 120
        assert (ack.result, ack.value) == (m.AckResult.DONE, 60)
        late = lambda: [b for b in of(line, m.Samples)[3:] if b.seq in (60, 90, 120)]  # noqa: E731
        line.read_until(lambda: len(late()) >= 5, "three blocks again")
        again = [codec.encode(block, pack=True) for block in late()[-3:]]
        assert all(frame in first for frame in again)  # to the byte
        assert [block.seq for block in late()[-3:]] == [60, 90, 120]

        ahead = newest(line) + 3000
        assert ask(m.Verb.RESEND, ahead, ahead + 10).result == m.AckResult.BAD_ARGUMENT
        assert ask(m.Verb.RESEND, 0xFFFFFF00, 0xFFFFFFF0).result == m.AckResult.GONE
        assert ask(99).result == m.AckResult.UNKNOWN_VERB

        assert ask(m.Verb.STOP).result == m.AckResult.DONE
        stopped = newest(line)
        began = time.monotonic()
        line.read_until(lambda: time.monotonic() - began > 0.5, "a pause")
        assert ask(m.Verb.START).result == m.AckResult.DONE
        line.read_until(lambda: newest(line) > stopped, "samples again")
        block = of(line, m.Samples)[-1]
        assert block.seq > stopped + 100  # the pause is a gap of known length
        assert np.array_equal(block.values[:, 0], ecg[0][block.seq : block.seq + len(block.values)])


def test_cortex_m_shows_the_verdict(built: Path, short_path: Path):
    with Qemu(built / "cortex-m.elf", short_path, fast=False) as board, Line(board.port) as line:
        board.go()
        line.read_until(lambda: len(of(line, m.Samples)) > 0, "samples")
        line.write(codec.encode(m.Verdict(0, 9000, m.VerdictStatus.SUSPECT, "AF", 0.875, 1)))
        line.write(b"\x55\x00" + codec.encode(m.Verdict(3000, 9000, m.VerdictStatus.OK, "", 1.0)))
        line.read_until(lambda: len(of(line, m.Log)) >= 2, "two lines")
    logs = of(line, m.Log)
    assert logs[0].text == "verdict suspect AF 875/1000 of 9000 samples from 0"
    assert logs[1].text == "verdict ok  1000/1000 of 9000 samples from 3000"
    assert {log.level for log in logs} == {m.LogLevel.INFO}


def test_reset_begins_an_epoch_and_a_hang_does_not(built: Path, short_path: Path, ecg: list[np.ndarray]):
    with Qemu(built / "cortex-m.elf", short_path, fast=False) as board, Line(board.port) as line:
        board.go()
        line.read_until(lambda: len(of(line, m.Samples)) >= 4, "samples")
        board.pause()
        time.sleep(0.5)
        board.go()
        before = len(of(line, m.Samples))
        line.read_until(lambda: len(of(line, m.Samples)) >= before + 4, "samples after the hang")
        board.reset()
        line.read_until(lambda: len(of(line, m.Hello)) >= 2, "HELLO after the reset")
        line.read_until(lambda: len(epochs(line)[-1][1]) >= 3, "samples after the reset")
    (first, blocks), (second, after) = epochs(line)
    assert second.boot == first.boot + 1
    for part in (blocks, after):
        values = gapless(part)[:, 0]
        assert np.array_equal(values, ecg[0][: len(values)])


def test_keyed_board_is_believed_and_believes_only_its_gateway(built: Path, short_path: Path):
    guard = Guard({"mps2-ecg": KEY}, CounterStore())
    with (
        Qemu(built / "cortex-m-keyed.elf", short_path, fast=False, seed=SEED) as board,
        Line(board.port) as line,
    ):
        line.decoder = FrameDecoder("binary", guard=guard)
        board.go()
        line.read_until(lambda: len(of(line, m.Samples)) >= 3, "tagged samples")
        assert (guard.device_id, guard.boot) == ("mps2-ecg", SEED + 1)
        ask = Asker(line, Signer(KEY, SEED + 1))
        recorded = ask.frame(m.Verb.RESEND, 0, 30)
        forged = codec.encode(m.Command(1, m.Verb.RESEND, 0, 30), tagger=Signer(bytes(16), SEED + 1, 500))
        stale = codec.encode(m.Command(2, m.Verb.RESEND, 0, 30), tagger=Signer(KEY, SEED, 500))
        untagged = ask.frame(m.Verb.RESEND, 0, 30, tagged=False)
        line.write(recorded + recorded + forged + stale + untagged)
        assert ask(m.Verb.RESEND, 30, 60).result in (m.AckResult.DONE, m.AckResult.BUSY)
        assert len(of(line, m.Ack)) == 2  # the recorded one once, and the last
        line.write(codec.encode(m.Command(9, m.Verb.HELLO)))
        line.read_until(lambda: any(ack.id == 9 for ack in of(line, m.Ack)), "HELLO needs no tag")
        bad = line.decoder.counters.bad
        assert bad == {}
        # What the board said before, said again by somebody else, is not believed a second time.
        echo = FrameDecoder("binary", guard=guard)
        assert all(
            isinstance(each, m.BadFrame) and each.reason == "replayed" for each in echo.feed(bytes(line.raw))
        )
        assert echo.counters.bad["replayed"] == echo.counters.bad_total > 3


@pytest.fixture(scope="module")
def conversions() -> np.ndarray:
    """(3000, 2): what the converter gives, and whether the electrode is off."""
    rng = np.random.default_rng(6)
    values = rng.integers(0, 1024, 3000)
    values[:2] = 0, 1023
    off = np.zeros(3000, int)
    off[1000:1500] = 1
    return np.stack([values, off], axis=1)


def adc_file(rows: np.ndarray, folder: Path) -> Path:
    path = folder / "adc.txt"
    path.write_text("".join(f"{value} {off}\n" for value, off in rows))
    return path


def test_arduino_ecg_sends_what_its_converter_gives(built: Path, tmp_path: Path, conversions: np.ndarray):
    options = ("--fast", "--adc", str(adc_file(conversions, tmp_path)))
    with Uno(built / "runner", built / "arduino-ecg.elf", *options) as board, Line(board.port) as line:
        line.read_until(lambda: of(line, m.Samples) and newest(line) >= 3000, "3000 samples")
    assert line.decoder.counters.bad == {}
    hello = of(line, m.Hello)[0]
    assert hello.device_id == "uno-ecg"
    assert hello.rate_hz == pytest.approx(16e6 / 53333)
    (channel,) = hello.channels
    assert (channel.name, channel.unit) == ("ecg", "uV")
    assert channel.scale == pytest.approx(5e6 / 1024 / 1100)
    assert channel.offset == -1500
    blocks = of(line, m.Samples)
    assert np.array_equal(gapless(blocks)[:3000, 0], conversions[:, 0])
    # After the first conversion, which takes longer, the times are the timer's, but for other interrupts.
    start = blocks[1].device_time_us - blocks[1].seq * 53333 / 16
    late = [block.device_time_us - start - block.seq * 53333 / 16 for block in blocks[1:]]
    assert max(np.abs(late)) < 60
    for block in blocks:
        touched = conversions[block.seq : block.seq + len(block.values), 1]
        if len(touched) == len(block.values):
            assert block.lead_off == touched.max()
    assert {0, 1} <= {status.lead_off for status in of(line, m.Status)}


def test_arduino_ecg_obeys_and_counts_its_starts(built: Path, tmp_path: Path, conversions: np.ndarray):
    options = ("--adc", str(adc_file(conversions, tmp_path)))
    with Uno(built / "runner", built / "arduino-ecg.elf", *options) as board, Line(board.port) as line:
        ask = Asker(line)
        line.read_until(lambda: len(of(line, m.Samples)) >= 6, "samples")
        seq = newest(line) - 45
        ack = ask(m.Verb.RESEND, seq, seq + 15)
        assert (ack.result, ack.value) == (m.AckResult.DONE, seq)
        line.read_until(lambda: sum(b.seq == seq for b in of(line, m.Samples)) == 2, "the block again")
        one, two = (b for b in of(line, m.Samples) if b.seq == seq)
        assert one == two
        assert ask(m.Verb.RESEND, newest(line) - 900, newest(line) - 880).result == m.AckResult.GONE
        line.write(codec.encode(m.Verdict(0, 9000, m.VerdictStatus.SUSPECT, "AF", 0.875, 1)))
        board.reset()
        line.read_until(
            lambda: len({hello.boot for hello in of(line, m.Hello)}) == 2, "HELLO after the reset"
        )
        hellos = of(line, m.Hello)
        assert hellos[-1].boot == hellos[0].boot + 1
        line.read_until(lambda: len(epochs(line)[-1][1]) >= 3, "samples after the reset")
        gapless(epochs(line)[-1][1])


def test_arduino_meter_measures_the_time_between_pulses(built: Path, tmp_path: Path):
    # 1000 pulses a kWh: 3.6 s apart is 1000 W, 1.8 s is 2000 W, and then none comes
    times = [2000 + 3600 * n for n in range(5)]
    times += [times[-1] + 1800 * n for n in range(1, 6)]
    pulses = tmp_path / "pulses.txt"
    pulses.write_text(" ".join(map(str, times)))
    options = ("--fast", "--pulses", str(pulses))
    with Uno(built / "runner", built / "arduino-meter.elf", *options) as board, Line(board.port) as line:
        line.read_until(lambda: len(of(line, m.Samples)) >= 5, "five samples", 120)
    hello = of(line, m.Hello)[0]
    assert (hello.device_id, hello.rate_hz) == ("meter", 0.1)
    assert hello.channels == (m.Channel("power", "W", 1.0),)
    watts = gapless(of(line, m.Samples)[:5])[:, 0]
    # at 10, 20, 30, 40 and 50 s; the last pulse came at 25.4 s
    waiting = [3600e3 / (10e3 * n - times[-1]) for n in (3, 4, 5)]
    assert watts == pytest.approx([1000, 2000, *waiting], abs=2)


def test_runner_says_what_is_wrong(built: Path, tmp_path: Path):
    done = subprocess.run(
        [built / "runner", tmp_path / "none.elf"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert re.search(r"usage: runner|cannot", done.stderr)
