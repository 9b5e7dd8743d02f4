"""From the emulated board's pin to a subscriber of the broker, through the real agent."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.types import Result
from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import Signer
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle
from tests.firmware.corpus import KEY
from tests.firmware.emulators import Qemu, Uno, holders, wait_until
from tests.integration.rig import AgentProcess, Listener, agent, listener

pytestmark = [pytest.mark.firmware, pytest.mark.slow, pytest.mark.integration, pytest.mark.e2e]

BUNDLE = "ecg-undefended"
SAME = ("label", "score", "probabilities", "status", "reason", "disagreement", "residual", "model")
PATIENCE_S = 120.0
Passes = Callable[[m.Message], bool]


def replayed(recording: Recording, folder: Path) -> list[dict[str, Any]]:
    """What `edge-agent replay` makes of a recording."""
    path = folder / f"{recording.name}.npz"
    write_recording(recording, path)
    command = [sys.executable, "-m", "edge.cli", "replay", str(path), "--bundle", BUNDLE, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(result: Result, replay: dict[str, Any]) -> None:
    live = json.loads(result.to_json())
    assert {key: live[key] for key in SAME} == {key: replay[key] for key in SAME}
    assert (result.window.missing, result.window.crc_errors) == (0, 0)


@contextmanager
def agent_on(
    folder: Path,
    broker: int,
    port: str,
    bundle: str,
    options: Sequence[str] = (),
    more: Sequence[object] = (),
) -> Iterator[tuple[AgentProcess, Listener]]:
    """An agent that has ``port`` open, and a subscriber. The agent must end well."""
    source = ",".join([f"serial:{port}", *options])
    words = [*more, "--source", source, "--sink", "mqtt", "--mqtt-port", broker, "--bundle", bundle]
    with listener(broker) as subscriber, agent(folder, *words) as process:
        real = os.path.realpath(port)
        wait_until(lambda: process.process.pid in holders(real), f"the agent does not open {port}")
        yield process, subscriber
        code, _ = process.stop()
        assert code == 0, process.said()


class Relay:
    """A line between a board and the agent's port that loses what the test says.

    Args:
        port: the board's.
        up: whether a frame of the board comes through.
        down: whether a frame of the agent comes through.
    """

    def __init__(self, port: str, up: Passes = lambda _: True, down: Passes = lambda _: True) -> None:
        self._board = os.open(port, os.O_RDWR | os.O_NOCTTY)
        self._here, self._slave = os.openpty()
        for fd in (self._board, self._slave):
            tty.setraw(fd, termios.TCSANOW)
        for fd in (self._board, self._here):
            os.set_blocking(fd, False)
        self.port = os.ttyname(self._slave)
        self.lost = 0
        self.asked = threading.Event()  # the agent has sent something
        self.recorded = b""  # a frame of the board, as it was on the wire
        self._injected: deque[bytes] = deque()
        self._ways = {self._board: (self._here, up), self._here: (self._board, down)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        rest = dict.fromkeys(self._ways, b"")
        while not self._stop.is_set():
            while self._injected:  # between two frames, so that it damages none
                self._write(self._here, self._injected.popleft())
            for fd in select.select(list(self._ways), [], [], 0.05)[0]:
                *frames, rest[fd] = (rest[fd] + os.read(fd, 65536)).split(b"\x00")
                to, passes = self._ways[fd]
                for frame in frames:
                    if frame and not passes(codec.decode(frame)):
                        self.lost += 1
                        continue
                    if fd == self._here:
                        self.asked.set()
                    elif frame:
                        self.recorded = frame + b"\x00"
                    self._write(to, frame + b"\x00")

    def inject(self, frame: bytes) -> None:
        """Somebody else speaks to the agent."""
        self._injected.append(frame)

    def _write(self, fd: int, data: bytes) -> None:
        while data and not self._stop.is_set():
            try:
                data = data[os.write(fd, data) :]
            except BlockingIOError:  # the agent is slow
                time.sleep(0.002)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        for fd in (self._board, self._here, self._slave):
            os.close(fd)


class FirstOf:
    """Loses a block every so often when it comes for the first time."""

    def __init__(self, every: int) -> None:
        self._every, self._seen = every, set[int]()

    def __call__(self, message: m.Message) -> bool:
        if not isinstance(message, m.Samples) or message.seq in self._seen:
            return True
        self._seen.add(message.seq)
        return len(self._seen) % self._every != 0


def test_cortex_m_gives_the_labels_of_replay(
    built: Path, short_path: Path, tmp_path: Path, mosquitto: int, ecg: list[np.ndarray]
):
    channel = (m.Channel("ecg", "uV", 1.0),)
    expected = [
        replayed(Recording(f"record{n}", 300.0, channel, values[:, None]), tmp_path)[0]
        for n, values in enumerate(ecg)
    ]
    assert len({result["label"] for result in expected}) == 2
    with Qemu(built / "cortex-m.elf", short_path) as board, Relay(board.port) as relay:
        with agent_on(tmp_path, mosquitto, relay.port, BUNDLE) as (_, subscriber):
            assert relay.asked.wait(PATIENCE_S)
            board.go()
            results = subscriber.wait_results(2, PATIENCE_S)
    for result, replay in zip(results[:2], expected, strict=True):
        same(result, replay)
        assert result.stream == "mps2-ecg"


def test_arduino_gives_the_labels_of_replay(
    built: Path, tmp_path: Path, mosquitto: int, ecg: list[np.ndarray]
):
    """The second record, as an AD8232 would put it on pin A0."""
    scale = 4.43892045
    values = np.round((ecg[1] + 1500.0) / scale).astype(np.int16)
    values = np.concatenate([values, np.full(300, values[-1])])
    path = tmp_path / "adc.txt"
    path.write_text("\n".join(map(str, values)) + "\n")
    channel = (m.Channel("ecg", "uV", scale, -1500.0),)
    expected = replayed(Recording("adc", 16_000_000 / 53_333, channel, values[:, None]), tmp_path)[0]
    with Uno(built / "runner", built / "arduino-ecg.elf", "--fast", "--await", "--adc", str(path)) as board:
        with agent_on(tmp_path, mosquitto, board.port, BUNDLE) as (_, subscriber):
            results = subscriber.wait_results(1, PATIENCE_S)
    same(results[0], expected)
    assert results[0].stream == "uno-ecg"


@pytest.fixture
def quick_bundle(tmp_path: Path) -> str:
    """Windows of 0.64 s, so that a board in real time fills some within a second."""
    return str(tiny_bundle(tmp_path / "tiny.bundle"))


@pytest.mark.parametrize("resend", [True, False])
def test_what_is_lost_is_sent_again_or_marked(
    built: Path, short_path: Path, tmp_path: Path, mosquitto: int, quick_bundle: str, resend: bool
):
    def down(message: m.Message) -> bool:
        return resend or not (isinstance(message, m.Command) and message.verb == m.Verb.RESEND)

    with Qemu(built / "cortex-m.elf", short_path, fast=False) as board:
        with Relay(board.port, FirstOf(12), down) as relay:
            with agent_on(tmp_path, mosquitto, relay.port, quick_bundle) as (_, subscriber):
                assert relay.asked.wait(PATIENCE_S)
                board.go()
                results = subscriber.wait_results(30, PATIENCE_S)
    assert relay.lost >= 3
    missing = [result.window.missing for result in results]
    if resend:
        assert missing == [0] * len(missing)
    else:
        # a block of 30 samples at 300 Hz is 10 of the bundle's, and up to one more at each edge
        assert 0 < max(missing) <= 12
        assert missing[0] == 0
    assert len({result.id for result in results}) == len(results)


@contextmanager
def cable(link: Path, socket: Path) -> Iterator[None]:
    """A port that is there as long as the block lasts."""
    process = subprocess.Popen(["socat", f"PTY,link={link},raw,echo=0", f"UNIX-CONNECT:{socket}"])
    try:
        wait_until(link.exists, "socat makes no port")
        yield
    finally:
        process.terminate()
        process.wait(10)
        wait_until(lambda: not link.is_symlink(), "the port stays")


def test_unplugged_reset_and_hung(
    built: Path, short_path: Path, tmp_path: Path, mosquitto: int, quick_bundle: str
):
    link, uart = short_path / "tty", short_path / "uart.sock"
    with ExitStack() as stack:
        board = stack.enter_context(Qemu(built / "cortex-m.elf", short_path, fast=False, uart=uart))
        plugged = stack.enter_context(ExitStack())
        plugged.enter_context(cable(link, uart))
        process, subscriber = stack.enter_context(agent_on(tmp_path, mosquitto, str(link), quick_bundle))

        def more(count: int) -> list[Result]:
            return subscriber.wait_results(len(subscriber.of("result")) + count, PATIENCE_S)

        board.go()
        more(5)
        plugged.close()
        time.sleep(0.5)
        plugged.enter_context(cable(link, uart))
        more(5)
        board.reset()
        more(5)
        board.pause()
        time.sleep(1.0)
        board.go()
        results = more(5)
        said = process.said()
    assert len({result.id for result in results}) == len(results)
    assert {result.stream for result in results} == {"mps2-ecg"}
    starts = [result.window.t0 for result in results]
    hop_s = HOP / RATE_HZ
    longest = float(max(np.diff(starts)))
    assert longest > 0.3 + hop_s  # what was not sent was not made up
    assert "Traceback" not in said


def said_by(line: list[m.Message]) -> list[str]:
    return [each.text for each in line if isinstance(each, m.Log)]


def test_the_board_shows_the_agents_verdict(
    built: Path, short_path: Path, tmp_path: Path, mosquitto: int, quick_bundle: str
):
    """What the board says that it was told is what the subscriber reads."""
    heard: list[m.Message] = []

    def up(message: m.Message) -> bool:
        heard.append(message)
        return True

    with Qemu(built / "cortex-m.elf", short_path, fast=False) as board, Relay(board.port, up) as relay:
        with agent_on(tmp_path, mosquitto, relay.port, quick_bundle) as (_, subscriber):
            assert relay.asked.wait(PATIENCE_S)
            board.go()
            wait_until(lambda: len(said_by(heard)) >= 3, "the board shows nothing", PATIENCE_S)
    results = subscriber.results()  # all of them, as the agent has ended
    # windows start at 0, 48, 96, ... of the board's 300 samples a second
    told = {3 * HOP * result.seq: result for result in results}
    count = round(WINDOW / RATE_HZ * 300)
    for text in said_by(heard):
        seq = int(text.rsplit(" ", 1)[1])
        result = told[seq]
        score = round(result.score * 1000)
        assert text == f"verdict {result.status} {result.label} {score}/1000 of {count} samples from {seq}"


def test_a_keyed_board_is_heard_and_its_forgers_are_not(
    built: Path, short_path: Path, tmp_path: Path, mosquitto: int, quick_bundle: str
):
    """On the line between them somebody forges, replays and strips tags; the agent says so in `health`."""
    key = tmp_path / "keys" / "mps2-ecg.key"
    key.parent.mkdir()
    key.touch(0o600)
    key.write_text(KEY.hex())
    heard: list[m.Message] = []

    def up(message: m.Message) -> bool:
        heard.append(message)
        return True

    options = [f"key_folder={key.parent}"]
    with Qemu(built / "cortex-m-keyed.elf", short_path, fast=False, seed=40) as board:
        with Relay(board.port, up) as relay:
            state = ["--node-state-dir", tmp_path / "state"]
            with agent_on(tmp_path, mosquitto, relay.port, quick_bundle, options, state) as (_, subscriber):
                assert relay.asked.wait(PATIENCE_S)
                board.go()
                before = len(subscriber.wait_results(5, PATIENCE_S))
                lie = m.Samples(10**5, 0, np.zeros((30, 1), np.int16))
                relay.inject(codec.encode(lie))
                relay.inject(codec.encode(lie, tagger=Signer(bytes(16), 41, 10**6)))
                relay.inject(relay.recorded)
                wait_until(
                    lambda: any(
                        "replayed, tag_missing, tag_wrong" in text.decode()
                        for text in subscriber.of("health")
                    ),
                    "health does not tell",
                    PATIENCE_S,
                )
                results = subscriber.wait_results(before + 5, PATIENCE_S)
                wait_until(lambda: len(said_by(heard)) >= 1, "the board takes no tagged verdict", PATIENCE_S)
                told = json.loads(subscriber.of("health")[-1])
    assert [result.window.missing for result in results] == [0] * len(results)
    assert told["sources"][0]["refused"] == {"tag_missing": 1, "tag_wrong": 1, "replayed": 1}
    assert told["sources"][0]["device"] == "mps2-ecg"
