from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import CounterStore, DeviceGuard, Guard, Signer, read_key, write_key
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.errors import CodecError, KeyFileError

pytestmark = pytest.mark.security

KEY, OTHER = bytes(range(16)), bytes(16)
HELLO = m.Hello("ecg-1", "f", 300.0, (m.Channel("ecg", "uV"),), 7, True, 100)
BLOCK = m.Samples(0, 0, np.zeros((4, 1), np.int16))


def link(store: CounterStore | None = None, *, required: bool = True) -> tuple[FrameDecoder, Guard]:
    guard = Guard({"ecg-1": KEY}, store or CounterStore(), required=required)
    return FrameDecoder("binary", guard=guard), guard


def reasons(decoder: FrameDecoder, data: bytes) -> list[str]:
    return [x.reason if isinstance(x, m.BadFrame) else type(x).__name__ for x in decoder.feed(data)]


def test_tagged_frames_of_a_known_device_pass():
    decoder, guard = link()
    device = Signer(KEY, 7)
    stream = codec.encode(HELLO, tagger=device) + codec.encode(BLOCK, tagger=device)
    assert decoder.feed(stream) == [HELLO, BLOCK]
    assert (guard.device_id, guard.boot) == ("ecg-1", 7)
    assert decoder.counters.unverified == 0


def test_forged_replayed_and_missing_tags_are_dropped_and_counted():
    decoder, _ = link()
    device, forger = Signer(KEY, 7), Signer(OTHER, 8)
    hello, block = codec.encode(HELLO, tagger=device), codec.encode(BLOCK, tagger=device)
    assert reasons(decoder, hello + block) == ["Hello", "Samples"]
    assert reasons(decoder, block) == ["replayed"]
    assert reasons(decoder, hello) == ["replayed"]
    assert reasons(decoder, codec.encode(BLOCK, tagger=forger)) == ["tag_wrong"]
    assert reasons(decoder, codec.encode(HELLO, tagger=forger)) == ["tag_wrong"]
    assert reasons(decoder, codec.encode(BLOCK)) == ["tag_missing"]
    assert reasons(decoder, codec.encode(BLOCK, tagger=device)) == ["Samples"]
    assert decoder.counters.bad == {"replayed": 2, "tag_wrong": 2, "tag_missing": 1}


def test_a_changed_sample_with_a_right_crc_is_noticed():
    decoder, _ = link()
    device = Signer(KEY, 7)
    decoder.feed(codec.encode(HELLO, tagger=device))
    body = bytearray(codec.unframe(codec.encode(BLOCK, tagger=device)[:-1]))
    body[16] ^= 1
    assert reasons(decoder, codec.frame(bytes(body))) == ["tag_wrong"]


def test_before_hello_the_key_is_not_known():
    decoder, _ = link()
    device = Signer(KEY, 7)
    assert reasons(decoder, codec.encode(BLOCK, tagger=device)) == ["unidentified"]
    unknown = m.Hello("other", "f", 300.0, HELLO.channels)
    assert reasons(decoder, codec.encode(unknown, tagger=device)) == ["tag_wrong"]


def test_a_tagged_frame_without_room_for_a_tag_is_malformed():
    decoder, _ = link()
    decoder.feed(codec.encode(HELLO, tagger=Signer(KEY, 7)))
    assert reasons(decoder, codec.frame(bytes([0x10, 0x82]) + bytes(10))) == ["malformed"]
    assert reasons(decoder, codec.frame(bytes([0x10, 0x81]) + bytes(10))) == ["malformed"]


def test_during_a_roll_out_untagged_frames_pass_but_forged_ones_do_not():
    decoder, _ = link(required=False)
    assert reasons(decoder, codec.encode(HELLO) + codec.encode(BLOCK)) == ["Hello", "Samples"]
    assert reasons(decoder, codec.encode(HELLO, tagger=Signer(OTHER, 9))) == ["tag_wrong"]


def test_a_reflected_command_is_no_message_of_the_device():
    decoder, guard = link()
    decoder.feed(codec.encode(HELLO, tagger=Signer(KEY, 7)))
    command = codec.encode(m.Command(1, m.Verb.START), tagger=Signer(KEY, 9))
    assert reasons(decoder, command) == ["tag_wrong"]
    assert guard.boot == 7


def test_counters_are_kept_across_restarts(tmp_path: Path):
    path = tmp_path / "counters.json"
    store = CounterStore(path)
    decoder, _ = link(store)
    device = Signer(KEY, 7)
    old = codec.encode(HELLO, tagger=device)
    assert reasons(decoder, old) == ["Hello"]
    store.save()
    assert path.stat().st_mode & 0o777 == 0o600
    decoder, _ = link(CounterStore(path))
    assert reasons(decoder, old) == ["replayed"]
    assert reasons(decoder, codec.encode(HELLO, tagger=device)) == ["Hello"]


def test_the_file_follows_within_a_second(tmp_path: Path):
    now = [0.0]
    store = CounterStore(tmp_path / "c.json", clock=lambda: now[0])
    store.accept("a", 1)
    assert not (tmp_path / "c.json").exists()
    now[0] = 1.5
    store.accept("a", 2)
    assert CounterStore(tmp_path / "c.json").last("a") == 2


def test_a_full_disk_is_told_and_the_frames_are_still_checked(tmp_path: Path):
    store = CounterStore(tmp_path / "gone" / "c.json")
    store.accept("a", 1)
    store.save()
    assert "replay counters are not kept" in store.problem
    with pytest.raises(CodecError, match="used before"):
        store.accept("a", 1)
    (tmp_path / "gone").mkdir()
    store.save()
    assert store.problem == ""
    assert CounterStore(tmp_path / "gone" / "c.json").last("a") == 1


def test_a_damaged_counter_file_is_not_taken_for_an_empty_one(tmp_path: Path):
    path = tmp_path / "counters.json"
    for content in ("", "[]", '{"up": {"a": "x"}, "down": {}}', '{"up": {}}'):
        path.write_text(content)
        with pytest.raises(KeyFileError, match="restore or delete"):
            CounterStore(path)


def test_commands_reach_the_device_once_and_only_in_this_boot(tmp_path: Path):
    path = tmp_path / "counters.json"
    decoder, guard = link(CounterStore(path))
    assert guard.tagger is None
    decoder.feed(codec.encode(HELLO, tagger=Signer(KEY, 7)))
    command = m.Command(3, m.Verb.RESEND, 0, 4)
    frame = codec.encode(command, tagger=guard.tagger)
    device = FrameDecoder("binary", guard=DeviceGuard(KEY, 7))
    assert device.feed(frame) == [command]
    assert reasons(device, frame) == ["replayed"]
    assert reasons(device, codec.encode(command)) == ["tag_missing"]
    assert reasons(device, codec.encode(m.Command(1, m.Verb.HELLO))) == ["Command"]
    assert reasons(device, codec.encode(BLOCK, tagger=Signer(KEY, 7, 99))) == ["tag_wrong"]
    assert reasons(FrameDecoder("binary", guard=DeviceGuard(KEY, 8)), frame) == ["replayed"]
    # The gateway crashes: what it sends after that is new to the device, too.
    decoder, guard = link(CounterStore(path))
    decoder.feed(codec.encode(HELLO, tagger=Signer(KEY, 7, 5)))
    assert device.feed(codec.encode(command, tagger=guard.tagger)) == [command]


def test_the_gateway_never_runs_out_of_reserved_numbers():
    decoder, guard = link()
    decoder.feed(codec.encode(HELLO, tagger=Signer(KEY, 7)))
    device = FrameDecoder("binary", guard=DeviceGuard(KEY, 7))
    for _ in range(2500):
        device.feed(codec.encode(m.Command(1, m.Verb.STOP), tagger=guard.tagger))
    assert device.counters.frames == 2500


def test_key_files(tmp_path: Path):
    path = tmp_path / "ecg-1.key"
    key = write_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path) == key
    with pytest.raises(KeyFileError, match="exists"):
        write_key(path)
    os.chmod(path, 0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(path)
    os.chmod(path, 0o600)
    path.write_text("xyz")
    with pytest.raises(KeyFileError, match="32 hexadecimal"):
        read_key(path)
    with pytest.raises(KeyFileError, match="No such file"):
        read_key(tmp_path / "none.key")


def test_more_devices_than_are_kept_are_refused():
    store = CounterStore()
    store._up = dict.fromkeys((str(i) for i in range(10_000)), 0)
    with pytest.raises(CodecError, match="no room"):
        store.accept("one-more", 1)
