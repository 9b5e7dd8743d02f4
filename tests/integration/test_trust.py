"""Keys, forgers and verdicts: a simulated device on a pseudo-terminal, the agent a real process, health on a broker."""

from __future__ import annotations

import json
import os
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.types import Result
from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import Signer, read_key, write_key
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.faults import Faults
from firmware_bridge.simulated_device import DeviceSettings
from firmware_bridge.simulator import Simulator
from tests.edge.tiny import HOP, RATE_HZ, WINDOW
from tests.integration.rig import AgentProcess, Broker, Listener, agent, listener, wait_for
from tests.integration.test_serial import DIGITAL, RECORD, WINDOWS

pytestmark = pytest.mark.security

LABELS = ("normal", "other", "noise")


@contextmanager
def agent_on(
    folder: Path, broker: Broker, bundle: Path, *ports: object, **settings: Any
) -> Iterator[tuple[AgentProcess, Listener]]:
    more = "".join(f",{key}={value}" for key, value in settings.items())
    words = ["--bundle", bundle, "--node", "gw1", "--sink", "mqtt", "--mqtt-port", broker.port]
    words += ["--node-state-dir", folder / "state"]
    for port in ports:
        words += ["--source", f"serial:{port}{more}"]
    with listener(broker.port) as subscriber, agent(folder, *words) as process:
        yield process, subscriber
        assert "Traceback" not in process.said()


@pytest.fixture(autouse=True)
def started(broker: Broker) -> None:
    broker.start()


def health(subscriber: Listener) -> dict[str, Any]:
    told = subscriber.of("health")
    return json.loads(told[-1]) if told else {}


def dropped(subscriber: Listener) -> dict[str, int]:
    return health(subscriber).get("counters", {}).get("dropped", {})


def told_in_health(subscriber: Listener, text: str) -> dict[str, Any]:
    wait_for(lambda: any(text in reason for reason in health(subscriber).get("reasons", ())), text)
    return health(subscriber)


class Hand:
    """A device by hand: what a test writes is on the wire, and what the agent says is in `heard`."""

    def __init__(self, link: Path) -> None:
        self._fd, slave = os.openpty()
        tty.setraw(slave)
        os.symlink(os.ttyname(slave), link)
        self._slave = slave
        os.set_blocking(self._fd, False)
        self._decoder = FrameDecoder("binary")
        self.heard: list[m.Decoded] = []

    def send(self, *frames: bytes) -> None:
        data = b"".join(frames)
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # the agent is slow
                time.sleep(0.002)

    def listen(self) -> list[m.Decoded]:
        try:
            self.heard += self._decoder.feed(os.read(self._fd, 65536))
        except BlockingIOError:
            pass
        return self.heard

    def was_asked(self) -> bool:
        """The agent has the port open: what is sent now is not flushed away."""
        return any(isinstance(each, m.Command) for each in self.listen())

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._slave)


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    made = Hand(tmp_path / "port")
    yield made
    made.close()


def hello(boot: int = 7, **changes: Any) -> m.Hello:
    made = m.Hello("ecg-1", "hand", RATE_HZ, RECORD.channels, boot, obeys_commands=True)
    return replace(made, **changes)


def blocks(first: int = 0, last: int = len(DIGITAL), size: int = 32) -> list[m.Samples]:
    return [m.Samples(at, at * 10_000, DIGITAL[at : at + size].copy()) for at in range(first, last, size)]


def test_tagged_samples_pass_and_the_verdict_comes_back_tagged(bundle: Path, broker: Broker, tmp_path: Path):
    write_key(tmp_path / "sim-1.key")
    settings = DeviceSettings(key=read_key(tmp_path / "sim-1.key"))
    device = Simulator(RECORD, speed=20, settings=settings, link=tmp_path / "port")
    with (
        device,
        agent_on(tmp_path, broker, bundle, tmp_path / "port", key_folder=tmp_path) as (_, subscriber),
    ):
        results = subscriber.wait_results(WINDOWS)
        wait_for(lambda: device.device.verdicts, "a verdict")
    assert [result.window.missing for result in results] == [0] * WINDOWS
    by_first = {HOP * n: result for n, result in enumerate(results)}
    for verdict in device.device.verdicts:
        same_verdict(verdict, by_first[verdict.seq])
    assert "replay-counters-gw1.json" in os.listdir(tmp_path / "state")


def same_verdict(verdict: m.Verdict, result: Result) -> None:
    assert verdict.count == WINDOW
    assert (verdict.label, m.known(m.VerdictStatus, verdict.status)) == (result.label, result.status)
    assert verdict.score == pytest.approx(result.score, abs=0.0006)
    assert verdict.label_index == LABELS.index(result.label)


def test_forged_replayed_and_untagged_frames_are_refused_and_told(
    bundle: Path, broker: Broker, tmp_path: Path, hand: Hand
):
    key = write_key(tmp_path / "key")
    signer, forger = Signer(key, 7), Signer(bytes(16), 7, 500)
    honest = [codec.encode(each, tagger=signer) for each in (hello(), *blocks(0, 512))]
    later = [codec.encode(each, tagger=signer) for each in blocks(512)]
    with agent_on(tmp_path, broker, bundle, tmp_path / "port", key_file=tmp_path / "key") as (_, subscriber):
        wait_for(hand.was_asked, "the agent")
        hand.send(b"\x00", *honest)
        subscriber.wait_results(10)
        lies = m.Samples(512, 0, np.zeros((32, 1), np.int16))
        hand.send(codec.encode(lies), codec.encode(lies), codec.encode(lies, tagger=forger), *honest[1:4])
        hand.send(b"1\n2\n3\n4\n\x00")
        told = told_in_health(subscriber, "replayed, tag_missing, tag_wrong")
        hand.send(*later)
        results = subscriber.wait_results(WINDOWS)
        counts = dropped(subscriber)
    (source,) = told["sources"]
    assert (told["status"], source["state"], source["tags"]) == ("degraded", "reading", "required")
    assert source["refused"] == {"tag_missing": 2, "tag_wrong": 1, "replayed": 3}
    assert {counts[f"frame_{reason}"] for reason in ("tag_missing", "tag_wrong", "replayed")} == {2, 1, 3}
    assert [result.window.missing for result in results] == [0] * len(results)


def test_what_was_recorded_before_a_restart_of_the_agent_is_refused_after_it(
    bundle: Path, broker: Broker, tmp_path: Path, hand: Hand
):
    signer = Signer(write_key(tmp_path / "key"), 7)
    recorded = [codec.encode(each, tagger=signer) for each in (hello(), *blocks(0, 256))]
    for again in (False, True):
        hand.heard.clear()
        with agent_on(tmp_path, broker, bundle, tmp_path / "port", key_file=tmp_path / "key") as (
            _,
            subscriber,
        ):
            wait_for(hand.was_asked, "the agent")
            hand.send(b"\x00", *recorded)
            if again:
                told = told_in_health(subscriber, "replayed")
                assert told["sources"][0]["refused"] == {"replayed": 1}
                # Without a HELLO that is believed, nobody knows whose key the rest would need.
                wait_for(lambda: dropped(subscriber).get("frame_unidentified") == 8, "the other frames")
                assert subscriber.of("result") == []
            else:
                subscriber.wait_results(5)


def test_untagged_devices_pass_while_they_are_changed_over(
    bundle: Path, broker: Broker, tmp_path: Path, hand: Hand
):
    write_key(tmp_path / "key")
    more = {"key_file": tmp_path / "key", "require_tag": "false"}
    with agent_on(tmp_path, broker, bundle, tmp_path / "port", **more) as (_, subscriber):
        wait_for(hand.was_asked, "the agent")
        hand.send(b"\x00", *map(codec.encode, (hello(), *blocks())))
        subscriber.wait_results(WINDOWS)


def test_a_simulated_forger(bundle: Path, broker: Broker, tmp_path: Path):
    """One frame in five carries a wrong key's tag: each is a gap that is asked for again."""
    key = write_key(tmp_path / "sim-1.key")
    faults, settings = Faults(wrong_key=0.2, seed=4), DeviceSettings(key=key)
    device = Simulator(RECORD, speed=10, faults=faults, settings=settings, link=tmp_path / "port")
    with (
        device,
        agent_on(tmp_path, broker, bundle, tmp_path / "port", key_folder=tmp_path) as (_, subscriber),
    ):
        told = told_in_health(subscriber, "tag_wrong")
        results = subscriber.wait_results(WINDOWS // 2)
    assert told["counters"]["dropped"]["frame_tag_wrong"] >= 1
    assert [result.window.missing for result in results] == [0] * len(results)


def test_a_hello_beyond_the_caps_is_refused_and_counted(
    bundle: Path, broker: Broker, tmp_path: Path, hand: Hand
):
    fast = bytearray(codec.unframe(codec.encode(hello())[:-1]))
    fast[6:10] = (10_000_000).to_bytes(4, "little")  # rate_num
    wide = bytearray(codec.unframe(codec.encode(hello())[:-1]))
    wide[2 + 13] = 200  # channels
    with agent_on(tmp_path, broker, bundle, tmp_path / "port") as (_, subscriber):
        wait_for(hand.was_asked, "the agent")
        hand.send(b"\x00", codec.encode(m.Log(0, 1, "sets the dialect")))
        hand.send(codec.frame(bytes(fast)), codec.frame(bytes(wide)), *map(codec.encode, blocks(0, 256)))
        told = told_in_health(subscriber, "HELLO")
        assert told["counters"]["dropped"]["frame_malformed"] == 2
        assert told["counters"]["dropped"]["no_hello"] == 256
        assert subscriber.of("result") == []
        hand.send(*map(codec.encode, (hello(), *blocks())))
        subscriber.wait_results(WINDOWS)
        wait_for(lambda: health(subscriber)["status"] == "ok", "health again")


def test_two_devices_with_one_id_are_named_and_not_mixed(bundle: Path, broker: Broker, tmp_path: Path):
    ports = [tmp_path / "a", tmp_path / "b"]
    devices = [
        Simulator(RECORD, speed=2, loop=True, link=port, settings=DeviceSettings(boot=at * 50))
        for at, port in enumerate(ports)
    ]
    with devices[0], devices[1], agent_on(tmp_path, broker, bundle, *ports) as (_, subscriber):
        told = told_in_health(subscriber, "device id sim-1 is also on ")
        wait_for(lambda: "duplicate_id" in dropped(subscriber), "the count")
        results = subscriber.wait_results(12)
    assert len(told["reasons"]) == 1
    assert [result.window.missing for result in results] == [0] * len(results)
    assert [result.seq for result in results] == list(range(len(results)))


def test_verdicts_are_few_unless_they_change_and_stop_by_a_setting(
    bundle: Path, broker: Broker, tmp_path: Path, hand: Hand
):
    for on in (True, False):
        hand.heard.clear()
        more = {"verdicts": str(on).lower(), "verdict_every_s": 3600}
        with agent_on(tmp_path, broker, bundle, tmp_path / "port", **more) as (_, subscriber):
            wait_for(hand.was_asked, "the agent")
            hand.send(b"\x00", codec.encode(hello(boot=7 + on)))
            for block in blocks():
                hand.send(codec.encode(block))
                time.sleep(0.01)
            results = subscriber.wait_results(WINDOWS)
            time.sleep(0.5)
            verdicts = [each for each in hand.listen() if isinstance(each, m.Verdict)]
        if not on:
            assert verdicts == []
            continue
        said = [(each.label, each.status) for each in verdicts]
        changes = [(r.label, r.status) for r in results]
        assert verdicts
        assert all(one != other for one, other in pairwise(said))
        assert len(said) <= 1 + sum(one != other for one, other in pairwise(changes))
        by_first = {HOP * n: result for n, result in enumerate(results)}
        for verdict in verdicts:
            same_verdict(verdict, by_first[verdict.seq])
