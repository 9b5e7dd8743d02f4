"""The simulator through a real pseudo-terminal."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.errors import FirmwareBridgeError, PortError
from firmware_bridge.faults import Faults
from firmware_bridge.ports import SerialStream
from firmware_bridge.recordings import Recording
from firmware_bridge.simulated_device import DeviceSettings
from firmware_bridge.simulator import PtyLine, Simulator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

SIGNAL = (np.random.default_rng(3).integers(-3000, 3000, (9000, 1))).astype(np.int16)
RECORD = Recording("r", 300.0, (m.Channel("ecg", "uV"),), digital=SIGNAL)
SHORT = Recording("s", 300.0, (m.Channel("ecg", "uV", 0.1),), digital=SIGNAL[:600])


def read_all(sim: Simulator, seconds: float = 20.0) -> tuple[list[m.Decoded], FrameDecoder]:
    """Open the port and read until everything has been played and taken."""
    decoder, stream = FrameDecoder("auto"), SerialStream(sim.port)
    items: list[m.Decoded] = []
    deadline = time.monotonic() + seconds
    done = False
    while time.monotonic() < deadline:
        data = stream.read(0.05)
        items += decoder.feed(data)
        if done and not data:
            break
        done = sim.wait(0)
    stream.close()
    assert done, "not played in time"
    return items, decoder


def values(items: list[m.Decoded]) -> np.ndarray:
    return np.concatenate([x.values for x in items if isinstance(x, (m.Samples, m.CsvSamples))])


@pytest.mark.parametrize("pack", [False, True])
def test_nothing_is_lost_at_full_speed(pack: bool):
    with Simulator(RECORD, speed=0, settings=DeviceSettings(pack=pack)) as sim:
        items, decoder = read_all(sim)
    assert np.array_equal(values(items), SIGNAL)
    assert decoder.counters.bad == {}
    assert (sim.lost_bytes, sim.played) == (0, 1)


def test_csv_gives_the_same_numbers():
    with Simulator([SHORT], speed=0, csv=True) as sim:
        items, _ = read_all(sim)
    assert {x.columns for x in items} == {("ecg",)}
    assert np.array_equal(values(items).astype(np.float32), SHORT.physical)


def test_speed_is_kept():
    with Simulator(SHORT, speed=4) as sim:
        began = time.monotonic()
        read_all(sim)
        took = time.monotonic() - began
    assert 0.5 <= took < 2.0


def test_several_recordings_in_a_row_and_in_a_loop():
    with Simulator([SHORT, SHORT], speed=0) as sim:
        items, _ = read_all(sim)
    assert sum(x.end for x in items if isinstance(x, m.Samples)) == 2
    assert len({x.boot for x in items if isinstance(x, m.Hello)}) == 2
    with Simulator(SHORT, speed=0, loop=True) as sim:
        stream, decoder, ends = SerialStream(sim.port), FrameDecoder(), 0
        while ends < 3:
            ends += sum(x.end for x in decoder.feed(stream.read(0.5)) if isinstance(x, m.Samples))
        stream.close()
        assert not sim.wait(0)


def test_it_waits_for_a_reader_and_tells_it_everything():
    with Simulator(SHORT, speed=0) as sim:
        time.sleep(0.3)
        assert not sim.wait(0)
        items, _ = read_all(sim)
    assert isinstance(next(x for x in items if not isinstance(x, m.BadFrame)), m.Hello)
    assert np.array_equal(values(items), SIGNAL[:600])


def test_a_resend_over_the_port():
    with Simulator(SHORT, speed=0) as sim:
        _, decoder = read_all(sim)
        stream = SerialStream(sim.port)
        stream.open()
        stream.write(codec.encode(m.Command(9, m.Verb.RESEND, 64, 128)))
        answer: list[m.Decoded] = []
        while len(answer) < 3:
            answer += decoder.feed(stream.read(1.0))
        stream.close()
    assert answer[0] == m.Ack(9, m.Verb.RESEND, m.AckResult.DONE, 64)
    assert np.array_equal(values(answer), SIGNAL[64:128])


def test_drop_and_corrupt_are_seeded():
    def run() -> tuple[int, dict[str, int]]:
        with Simulator(RECORD, speed=0, drop=0.05, corrupt=0.05, seed=9) as sim:
            items, _ = read_all(sim)
        return len(values(items)), dict(sim.faulty.counts)

    got, counts = run()
    assert got < 9000
    assert counts["drop"] > 5 and counts["corrupt"] > 5
    assert run() == (got, counts)


def test_without_a_reader_bytes_are_lost_as_on_a_wire():
    # More than all the kernel's queues hold.
    long = Recording("l", 300.0, RECORD.channels, digital=np.tile(SIGNAL, (6, 1)))
    with Simulator(long, speed=0, wait_for_reader=False) as sim:
        assert sim.wait(30)
        assert sim.lost_bytes > 10_000


def test_jitter_delays_but_keeps_order():
    with Simulator(SHORT, speed=10, faults=Faults(jitter_ms=30, seed=1)) as sim:
        items, _ = read_all(sim)
    assert np.array_equal(values(items), SIGNAL[:600])


def test_link_to_the_port(tmp_path: Path):
    link = tmp_path / "tty"
    link.symlink_to("/nowhere")
    with Simulator(SHORT, link=link) as sim:
        assert os.readlink(link) == sim.port
    assert not link.is_symlink()
    link.write_text("a file of mine")
    with pytest.raises(PortError, match="cannot make the link"):
        Simulator(SHORT, link=link)
    assert link.read_text() == "a file of mine"


def test_unplugging_is_noticed_by_the_reader():
    sim = Simulator(RECORD, speed=1)
    stream = SerialStream(sim.start())
    while not stream.read(0.1):
        pass
    sim.stop()
    while stream.connected:
        stream.read(0.1)
    assert stream.problem
    stream.close()


def test_what_goes_wrong_in_the_thread_is_raised():
    def tap(values: np.ndarray, first: int) -> np.ndarray:
        raise FirmwareBridgeError("the tap broke")

    with Simulator(SHORT, speed=0, tap=tap, wait_for_reader=False) as sim:
        with pytest.raises(FirmwareBridgeError, match="the tap broke"):
            sim.wait(5)


def test_impossible_speed():
    with pytest.raises(FirmwareBridgeError, match="speed"):
        Simulator(SHORT, speed=-1)


def test_opening_is_noticed_without_sending():
    line, stop, noticed = PtyLine(), threading.Event(), []
    waiter = threading.Thread(target=lambda: noticed.append(line.wait_for_open(stop)))
    waiter.start()
    time.sleep(0.1)
    assert not noticed
    stream = SerialStream(line.port)
    stream.open()
    waiter.join(5)
    assert noticed == [True]
    line.write(b"\r\n\x00\x03", stop)  # still raw at both ends
    assert stream.read(1.0) == b"\r\n\x00\x03"
    stream.close()
    stop.set()
    assert not line.wait_for_open(stop)
    line.close()
