"""The C library against the golden frames, the Python codec and the sanitizers."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.auth import DeviceGuard, Signer
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.errors import CodecError
from tests.firmware.building import LIBRARY, run
from tests.firmware.corpus import BOOT, KEY, device_events, streams
from tests.firmware.emulators import Line, Qemu

pytestmark = [pytest.mark.firmware, pytest.mark.slow]

# ww_result, wavewall.h
ROOM, ARGUMENT, UNKNOWN_TYPE = 2, 3, 5
REASONS = {
    name: 6 + number
    for number, name in enumerate(
        (
            "too_long",
            "cobs",
            "too_short",
            "crc",
            "version",
            "tag_missing",
            "tag_wrong",
            "replayed",
            "malformed",
        )
    )
}


def records(parts: list[bytes]) -> bytes:
    """As driver.c reads them."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_golden_frames_on_this_machine(compiled: Path, compiler: str):
    said = run([str(compiled / f"vectors-{compiler}")])
    checks, failures = re.match(r"(\d+) checks, (\d+) failures", said).groups()
    assert int(checks) > 3000
    assert failures == "0", said


def test_golden_frames_on_an_emulated_cortex_m3(compiled: Path, short_path: Path):
    with Qemu(compiled / "vectors.elf", short_path) as board, Line(board.port) as line:
        board.go()
        line.read_until(lambda: len(line.messages) > 0, "no outcome")
    log = line.messages[0]
    assert isinstance(log, m.Log)
    checks, failures = re.match(r"(\d+) checks, (\d+) failures", log.text).groups()
    assert int(checks) > 3000
    assert failures == "0", log.text


def test_results_are_numbered_as_these_tests_think():
    names = re.findall(r"^    (WW_[A-Z_]+)(?: = 0)?,? ", (LIBRARY / "wavewall.h").read_text(), re.MULTILINE)
    order = ["LENGTH", "COBS", "SHORT", "CRC", "VERSION", "NO_TAG", "TAG", "REPLAYED", "PAYLOAD"]
    assert [names.index(f"WW_BAD_{name}") - names.index("WW_BAD_LENGTH") + 6 for name in order] == list(
        REASONS.values()
    )
    assert names.index("WW_UNKNOWN_TYPE") - names.index("WW_ROOM") + ROOM == UNKNOWN_TYPE


def says(message: m.Message) -> str:
    """As driver.c prints it. A label with 0x00 inside ends there for C."""
    if isinstance(message, m.Command):
        return f"C {message.id} {message.verb} {message.first_seq} {message.end_seq}"
    assert isinstance(message, m.Verdict)
    index = 255 if message.label_index is None else message.label_index
    numbers = f"{message.seq} {message.count} {message.status} {index} {round(message.score * 1000)}"
    return f"V {numbers} "


def expected(stream: bytes, guard: DeviceGuard | None) -> list[str]:
    """What the library must make of a stream: the Python codec's opinion, of what a gateway may send."""
    out = []
    for frame in stream.split(b"\x00")[:-1]:
        if not frame:
            continue
        try:
            body = codec.unframe(frame)
            if guard is not None:
                guard(body)
            if body[1] & ~codec.TAGGED in (m.MessageType.COMMAND, m.MessageType.VERDICT):
                out.append(says(codec.parse(body)))
            else:
                out.append(str(UNKNOWN_TYPE))
        except CodecError as error:
            out.append(str(REASONS[error.reason]))
    return out


@pytest.mark.parametrize("keyed", [False, True])
def test_receiver_says_what_python_says(compiled: Path, keyed: bool):
    corpus = streams(seed=1 + keyed, count=6000)
    options = [KEY.hex(), str(BOOT)] if keyed else []
    lines = run([str(compiled / "driver"), "receive", *options], records(corpus)).split("\n")[:-1]
    assert len(lines) == len(corpus)
    seen = set()
    for stream, line in zip(corpus, lines, strict=True):
        got = line.split(";")[:-1]
        want = expected(stream, DeviceGuard(KEY, BOOT) if keyed else None)
        # labels are compared in the golden frames: here they hold any bytes
        short = [re.sub(r"^(V(?: \d+){5} ).*", r"\1", each) for each in got]
        assert short == want, stream.hex()
        seen |= {each if each.isdigit() else each[0] for each in want}
    reasons = set(REASONS) if keyed else set(REASONS) - {"tag_missing", "tag_wrong", "replayed"}
    assert seen == {str(REASONS[name]) for name in reasons} | {str(UNKNOWN_TYPE), "C", "V"}


def test_a_small_receiver_drops_what_it_cannot_hold(compiled: Path):
    corpus = streams(seed=3, count=3000)
    lines = run([str(compiled / "driver-small"), "receive"], records(corpus)).split("\n")[:-1]
    whole = "".join(lines)
    assert f"{REASONS['too_long']};" in whole
    assert "C " in whole
    verdict = codec.encode(m.Verdict(0, 9000, 0, "a label of more bytes than it has", 1.0))
    command = codec.encode(m.Command(7, m.Verb.RESEND, 1, 2), tagger=Signer(KEY, BOOT))
    said = run([str(compiled / "driver-small"), "receive"], records([verdict + command]))
    assert said == f"{REASONS['too_long']};C 7 2 1 2;\n"


def test_blocks_of_any_shape_are_encoded_as_python_does(compiled: Path):
    rng = np.random.default_rng(4)
    parts, want = [], []
    for number in range(1500):
        channels, count = int(rng.integers(1, 17)), int(rng.integers(0, 256))
        if number % 2:
            channels, count = 1 + channels % 3, count % 64
        scale = 10 ** rng.uniform(0, 4.8)
        values = (
            np.cumsum(rng.normal(0, scale, (count, channels)), 0)
            if number % 3
            else rng.normal(0, scale, (count, channels))
        )
        values = values.astype(np.int64).astype(np.int16)
        pack, end, lead_off = bool(number % 5), bool(number % 7 == 0), int(rng.integers(0, 1 << channels))
        seq, time_us = (int(v) for v in rng.integers(0, 1 << 32, 2))
        try:
            frame = codec.encode(m.Samples(seq, time_us, values, end, lead_off), pack=pack)
            result = frame.hex()
        except CodecError:
            frame, result = bytes(1030), str(ROOM)
        capacity = len(frame) + int(rng.integers(-4, 13))
        if capacity < len(frame):
            result = str(ROOM)
        elif capacity < len(frame) + 6:
            result = f"{ROOM}|{result}"
        head = struct.pack("<IIHBBBH", seq, time_us, lead_off, channels, count, end | pack << 1, capacity)
        parts.append(head + values.astype("<i2").tobytes())
        want.append(result)
    lines = run([str(compiled / "driver"), "samples"], records(parts)).split("\n")[:-1]
    assert len(lines) == len(want)
    for got, allowed in zip(lines, want, strict=True):
        assert got in allowed.split("|")
    assert sum(len(line) > 2 for line in lines) > 400


def test_channels_outside_the_cap_are_refused(compiled: Path):
    for channels in (0, 17):
        head = struct.pack("<IIHBBBH", 0, 0, 0, channels, 1, 0, 200)
        assert run([str(compiled / "driver"), "samples"], records([head])) == f"{ARGUMENT}\n"


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("program", ["driver", "driver-small"])
def test_whatever_happens_a_device_sends_good_frames(compiled: Path, program: str, keyed: bool):
    corpus = device_events(seed=5 + keyed, count=400, key=KEY if keyed else None)
    options = [KEY.hex()] if keyed else []
    lines = run([str(compiled / program), "device", *options], records(corpus)).split("\n")[:-1]
    assert len(lines) == len(corpus)
    kinds: dict[str, int] = {}
    resent = 0
    for line in lines:
        decoder = FrameDecoder("binary")
        boot, sent = 0, set[int]()
        for message in decoder.feed(bytes.fromhex(line)):
            kinds[type(message).__name__] = kinds.get(type(message).__name__, 0) + 1
            assert not isinstance(message, m.BadFrame), message
            if isinstance(message, m.Hello) and message.boot != boot:
                boot, sent = message.boot, set()
            if isinstance(message, m.Samples):
                n = np.arange(message.seq, message.seq + len(message.values), dtype=np.int64)
                assert np.array_equal(message.values, np.stack([n, n * n], axis=1).astype(np.int16))
                resent += message.seq in sent and len(n) > 0
                sent.add(message.seq)
        assert decoder.counters.unverified == (decoder.counters.frames if keyed else 0)
    assert resent > 50
    assert {"Hello", "Samples", "Status", "Ack"} <= set(kinds)
    assert program == "driver-small" or kinds["Log"] > 20  # the small one holds no verdict


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("WW_RX_BYTES=33", "WW_RX_BYTES must be"),
        ("WW_RX_BYTES=1025", "WW_RX_BYTES must be"),
        ("WW_BLOCK_VALUES=0", "WW_BLOCK_VALUES must be"),
        ("WW_BLOCK_VALUES=64", "WW_DEVICE_BODY must hold"),
        ("WW_DEVICE_BODY=2000", "WW_DEVICE_BODY must hold"),
    ],
)
def test_impossible_sizes_do_not_compile(toolchain: None, setting: str, why: str):
    command = ["gcc", "-fsyntax-only", f"-D{setting}", str(LIBRARY / "ww_device.c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert why in done.stderr


def test_no_heap_no_state_no_floats(built: Path):
    """What the issue of a microcontroller's library rests on, read from the objects themselves."""
    objects = [str(path) for path in sorted((built / "lib" / "m0plus-gcc").glob("*.o"))]
    assert len(objects) == 7
    symbols = run(["arm-none-eabi-nm", *objects])
    undefined = set(re.findall(r" U (\w+)", symbols)) - set(re.findall(r" T (\w+)", symbols))
    # what gcc itself calls: 64-bit shifts, divisions, copies
    assert undefined <= {
        "memcpy", "memset", "__aeabi_uidiv", "__aeabi_uidivmod", "__aeabi_idiv", "__aeabi_idivmod",
        "__aeabi_llsl", "__aeabi_llsr", "__gnu_thumb1_case_uqi", "__gnu_thumb1_case_shi",
    }, undefined  # fmt: skip
    assert not re.findall(r" [bBdDC] \w+", symbols), "variables"


def test_sizes_above_a_cap_fail(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from firmware_bridge.firmware import sizes

    assert sizes.main(built) == 0
    assert "TOO LARGE" not in capsys.readouterr().out
    monkeypatch.setattr(sizes, "RAM_CAP", 400)
    assert sizes.main(built) == 1
    assert capsys.readouterr().out.count("TOO LARGE") == 1
    assert sizes.deepest_stack(built / "footprint", "footprint") > 100
