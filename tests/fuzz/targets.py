"""Everything that reads bytes from outside, each as a function of bytes: it parses or raises our own error, no other.

A target raises where that rule is broken: AssertionError for a wrong outcome, anything else for an error that is
not ours. The corpus of each is what a fuzzer begins with.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import InputSpec, parse_bundle, read_bundle, signing
from edge.bundle.archive import read_stored, write_stored
from edge.bundle.arrays import read_arrays, write_arrays
from edge.bundle.manifest import Manifest
from edge.chain import Signer
from edge.chain_check import check
from edge.cluster import window as window_message
from edge.cluster.window import Cut, WindowError
from edge.config import MqttSettings, MqttSource
from edge.delivery.diskspool import _parsed
from edge.delivery.diskstore import DiskStore
from edge.errors import BlockError, BundleError, EdgeError, ResultError
from edge.events import EventError, message_from_json
from edge.metrics import Metrics
from edge.overlay import OverlayError, apply_overlay, overlay_json
from edge.pipeline.windows import Windower
from edge.recorder.record import HEAD, MARK, Decoder, Encoder, Mark, RecordError, _sealed, read_mark
from edge.recorder.segments import read_records
from edge.requests import Arguments, Registry, Verb
from edge.settings import ConfigError, load_settings, parse_shorthand
from edge.sources import json_payload, senml
from edge.sources.base import PayloadError
from edge.sources.mqtt import MqttSamples
from edge.sources.replay import blocks
from edge.topics import Topics
from edge.types import Result, SampleBlock, Window
from firmware_bridge import codec
from firmware_bridge.auth import CounterStore
from firmware_bridge.errors import KeyFileError, RecordingError
from firmware_bridge.messages import Channel, Hello, Samples
from firmware_bridge.recordings import Recording
from firmware_bridge.recordings.base import Entry
from firmware_bridge.recordings.edf import read_edf
from firmware_bridge.recordings.npz import npz_entries
from firmware_bridge.recordings.tables import read_csv, ucr_entries
from firmware_bridge.recordings.wfdb_format import read_record
from tests.edge.tiny import tiny_bundle
from tests.firmware_bridge.fuzz import target as wire

SPEC = InputSpec(("ecg",), "uV", 100.0, 64, 16)
TOPIC = "wavewall/gw1/stream/s1/samples"


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes; `modules` are those whose branches guide a fuzzer."""

    run: Callable[[bytes], None]
    corpus: Callable[[], Sequence[bytes]]
    modules: tuple[str, ...]
    max_bytes: int = 4096


class Memory:
    """Files of a recording, in memory."""

    source = "memory"

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    @property
    def names(self) -> Sequence[str]:
        return list(self._files)

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise RecordingError(f"memory: no {name}")
        return self._files[name]

    def path(self, name: str) -> Path | None:
        return None


def _file(data: bytes) -> Path:
    """The bytes as a file; one name in each process, in memory where there is such a folder."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    path = Path(folder) / f"wavewall-fuzz-{os.getpid()}"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


# Samples on MQTT


@lru_cache(maxsize=1)
def _source() -> MqttSamples:
    return MqttSamples(
        MqttSource(quota_speed=0),
        MqttSettings(),
        Topics("wavewall", "gw1"),
        Metrics(),
        spec=SPEC,
        max_streams=4,
        idle_s=60.0,
    )


def _windows(all_blocks: Sequence[SampleBlock]) -> None:
    """Blocks go through the windowing, which takes them or says why not."""
    windower = Windower(SPEC)
    for block in all_blocks[:50]:
        assert block.values.dtype == np.float32
        assert block.values.shape[1] == len(block.channels) == len(block.units)
        try:
            for window in windower.push(block):
                assert window.values.shape == (64, 1)
                assert bool(np.isfinite(window.values[window.valid]).all())
        except BlockError:
            return


def payload(data: bytes) -> None:
    """A sample message in any format, told apart as in the agent: the last byte of the corpus decides nothing."""
    source = _source()
    source._streams.drop("s1")
    for _ in range(2):  # the second one meets the state that the first one left
        try:
            _windows(source.parse(TOPIC, data))
        except PayloadError as error:
            assert error.reason
            assert str(error)


def topic(data: bytes) -> None:
    try:
        _source().parse(data.decode("utf-8", "replace"), b"{}")
    except PayloadError as error:
        assert error.reason


def compact_json(data: bytes) -> None:
    try:
        parsed = json_payload.parse(json_payload.decode(data), ("ecg",))
    except PayloadError as error:
        assert error.reason
        return
    assert parsed.values.dtype == np.float32
    assert parsed.rate_hz > 0


def senml_json(data: bytes) -> None:
    try:
        parsed = senml.parse(json_payload.decode(data), 300.0)
    except PayloadError as error:
        assert error.reason
        return
    assert parsed.values.dtype == np.float32
    assert 0 < parsed.rate_hz < 2e6
    assert len(parsed.values) <= senml.MAX_SPREAD * len(data)


def _json_corpus() -> list[bytes]:
    return [
        b'{"t0":1767225600.0,"rate_hz":100,"ch":{"ecg_uv":[12,15.5,null,-4]},"end":true}',
        b'{"t0":"2026-01-31T08:00:00Z","rate_hz":1e2,"ch":{"ecg":[1,2],"x_mv":[3,4]},"epoch":"b7"}',
        b'{"rate_hz":100,"ch":{"ecg_uv":[1e400,NaN,Infinity,-0.0,1e-400]},"note":{"a":[{}]}}',
        json.dumps({"rate_hz": 100, "ch": {"ecg_uv": list(range(80))}}).encode(),
        b'{"rate_hz":18446744073709551616,"ch":{"\\ud800":["1",true,[]]}}',
    ]


def _senml_corpus() -> list[bytes]:
    return [
        b'[{"bn":"urn:dev:mac:0024befffe804ff1:","bt":1769846400,"bu":"mV","n":"ecg","v":0.51},'
        b'{"n":"ecg","t":0.01,"v":0.52},{"n":"ecg","t":0.02,"v":0.5},{"n":"end","vb":true}]',
        b'[{"n":"a/ecg","u":"V","v":1,"bver":10},{"n":"a/ecg","t":-0.5,"v":2,"bv":1e300}]',
        b'[{"n":"x.ecg","bt":1e308,"t":1e308,"v":1},{"n":"x.ecg","x_":1,"vs":"text"}]',
    ]


def _payload_corpus() -> list[bytes]:
    hello = Hello("ecg-1", "fuzz", 100.0, (Channel("ecg", "uV"),), 7, True, 960)
    values = np.arange(80, dtype=np.int16).reshape(-1, 1)
    frames = (
        codec.encode(hello)
        + codec.encode(Samples(0, 0, values[:40]))
        + codec.encode(Samples(40, 0, values[40:]))
    )
    return [*_json_corpus(), *_senml_corpus(), frames, frames[:-1], b"\0" + frames, *wire.corpus()[:4]]


# Requests and results


class _Everything(Arguments):
    """One argument of each kind."""

    text: str = ""
    number: float = 0.0
    count: int = 0
    flag: bool = False
    names: tuple[str, ...] = ()


def request(data: bytes) -> None:
    name, _, body = data.partition(b"\n")
    registry = Registry([Verb("do", "", lambda given: given.model_dump(), _Everything)], ("do",))
    answer = registry.answer(name.decode("utf-8", "replace"), body)
    assert answer["ok"] in (True, False)
    if not answer["ok"]:
        error: Any = answer["error"]
        assert error["code"] in ("bad_request", "bad_arguments", "not_allowed"), error
        json.dumps(answer, allow_nan=False)


def result(data: bytes) -> None:
    try:
        made = Result.from_json(data)
    except ResultError:
        return
    assert Result.from_json(made.to_json()).id == made.id


def message(data: bytes) -> None:
    """Anything on a results topic or in a results file: result, event or note of the chain."""
    try:
        made = message_from_json(data)
    except (ResultError, EventError) as error:
        assert str(error)
        return
    assert type(message_from_json(made.to_json())) is type(made)


def results_file(data: bytes) -> None:
    """`edge-agent verify` finds faults in any text, and ends."""
    lines = data.decode("utf-8", "replace").splitlines()
    report = check(lines, PUBLIC if len(lines) % 2 else None)
    assert all(1 <= fault.line <= len(lines) and fault.says for fault in report.faults)


PUBLIC = signing.public_key(bytes(range(32)))


@lru_cache(maxsize=1)
def _chain_corpus() -> list[bytes]:
    from tests.edge.agent.test_chain import Writer

    writer = Writer(every=2, signer=Signer(bytes(range(32))))
    writer.add("s1", 3)
    writer.chain.stop()
    again = Writer("b2", before=writer.chain.heads())
    again.add("s1", 2)
    return ["\n".join(lines).encode() for lines in (writer.lines, [*writer.lines, *again.lines], again.lines)]


def _message_corpus() -> list[bytes]:
    return [*_result_corpus(), *(line for text in _chain_corpus() for line in text.split(b"\n"))]


def _result_corpus() -> list[bytes]:
    from tests.edge.agent.helpers import result as make

    return [
        make().to_json().encode(),
        make(status="suspect", reason="residual", residual=1.5).to_json().encode(),
    ]


# Bundles and keys


@lru_cache(maxsize=1)
def _bundle_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_bundle(Path(folder) / "tiny.bundle", signing_key=bytes(range(32)))
        read_bundle(path)
        return path.read_bytes()


def bundle(data: bytes) -> None:
    """The whole file, or one member within a file that is right otherwise: the first byte says which."""
    if not data:
        return
    mode, data = data[0], data[1:]
    if mode % 4:
        members = dict(read_stored(_bundle_bytes()))
        name = ("", "manifest.json", "vectors.npz", "card.json")[mode % 4]
        members.pop("signature")
        members[name] = data
        if name != "manifest.json":
            members["manifest.json"] = _relisted(members)
        data = write_stored(members)
    try:
        made = parse_bundle(data)
    except BundleError as error:
        assert str(error)
        return
    assert made.manifest.members


def _relisted(members: dict[str, bytes]) -> bytes:
    import hashlib

    manifest = json.loads(members["manifest.json"])
    for name, entry in manifest["members"].items():
        entry.update(sha256=hashlib.sha256(members[name]).hexdigest(), bytes=len(members[name]))
    return json.dumps(manifest).encode()


def manifest(data: bytes) -> None:
    try:
        made = Manifest.from_json(data)
    except BundleError:
        return
    assert Manifest.from_json(made.to_json()) == made


def arrays(data: bytes) -> None:
    try:
        read_arrays(data, "vectors.npz")
    except BundleError:
        return


def key(data: bytes) -> None:
    path = _file(data)
    for load in (signing.load_public_key, signing.load_private_key):
        try:
            assert len(load(path)) == signing.KEY_BYTES
        except EdgeError:
            continue


def _bundle_corpus() -> list[bytes]:
    whole = _bundle_bytes()
    members = read_stored(whole)
    picked = [members[name] for name in ("manifest.json", "vectors.npz", "card.json")]
    return [b"\0" + whole, *(bytes([mode]) + member for mode, member in enumerate(picked, 1))]


def _key_corpus() -> list[bytes]:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = private.public_key()
    return [
        private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()),
        public.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo),
        signing.public_key_text(bytes(32)).encode(),
    ]


# Configuration and state


def toml(data: bytes) -> None:
    try:
        load_settings(_file(data))
    except ConfigError as error:
        assert str(error)


def flags(data: bytes) -> None:
    """Words of a command line and the environment: `name=value`, one a line."""
    pairs = [line.partition("=") for line in data.decode("utf-8", "replace").splitlines()[:20]]
    env = {f"WAVEWALL_{name.strip()}": value for name, _, value in pairs}
    for call in (
        lambda: load_settings(None, env),
        lambda: load_settings(None, {}, {name: value for name, _, value in pairs}),
        lambda: load_settings(None, {}, {}, [f"{name}={value}" for name, _, value in pairs]),
        lambda: [
            parse_shorthand(section, name, "--x") for section in ("source", "sink") for name, _, _ in pairs
        ],
    ):
        try:
            call()
        except ConfigError as error:
            assert str(error)


def counters(data: bytes) -> None:
    """The file that remembers counters against replay."""
    try:
        store = CounterStore(_file(data))
    except KeyFileError:
        return
    assert store.last("nobody") >= -1


def overlay(data: bytes) -> None:
    """Thresholds beside a bundle."""
    try:
        apply_overlay(parse_bundle(_bundle_bytes()), _file(data))
    except OverlayError as error:
        assert str(error)


def _overlay_corpus() -> list[bytes]:
    made = parse_bundle(_bundle_bytes())
    return [
        overlay_json(made, made.manifest.decision, {"windows": 3}).encode(),
        b'{"schema":"wavewall.overlay/1"}',
    ]


# What an agent keeps on its disk, and windows from other machines


def recorder(data: bytes) -> None:
    """A segment of the flight recorder; where the first byte is odd, the rest as payloads behind right checksums."""
    if data[:1] and data[0] & 1:
        parts = data[1:].split(b"\xff\x00")
        data = b"".join(_sealed(1 + at % 3, at, part) for at, part in enumerate(parts))
    else:
        data = data[1:]
    damaged: list[int] = []
    decoder, taken = Decoder(), 0
    for raw in read_records(data, damaged.append):
        taken += HEAD.size + len(raw.payload)
        try:
            if raw.kind == MARK:
                read_mark(raw.payload)
            else:
                _windows([decoder.block(raw.number, raw.payload).block])
        except RecordError as error:
            assert str(error)
    assert taken + sum(damaged) == len(data)


def _recorder_corpus() -> list[bytes]:
    block = SampleBlock("s1", "e@100", 0, 1.8e9, 100.0, ("ecg",), ("uV",), np.zeros((80, 1), np.float32))
    encoder = Encoder()
    whole = encoder.block(1, block, aligned=False, origin=0, arrival=1.8e9) + encoder.mark(2, Mark(1, 1))
    payload = bytes(next(iter(read_records(whole))).payload)
    return [b"\0" + whole, b"\1" + payload, b"\1" + payload + b"\xff\x00" + payload[:40], b"\0" + whole[:-3]]


def spool(data: bytes) -> None:
    """The SQLite file in which results wait; where the first byte is odd, only the -wal beside a sound file."""
    with tempfile.TemporaryDirectory(dir=_file(b"").parent) as name:
        folder = Path(name)
        if data[:1] and data[0] & 1:
            DiskStore(folder).close()
            (folder / "spool.db-wal").write_bytes(data[1:])
        else:
            (folder / "spool.db").write_bytes(data[1:])
        store = DiskStore(folder)
        try:
            store.counts(0)
            for _, _, body in store.load(0, -1, 1 << 60, 10):
                _parsed(body)
        finally:
            store.close()


@lru_cache(maxsize=1)
def _spool_corpus() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        DiskStore(folder).close()
        return [b"\0" + (folder / "spool.db").read_bytes(), b"\1" + bytes(32), b"\0SQLite format 3\0"]


def window(data: bytes) -> None:
    """A complete window from another gateway."""
    try:
        cut = window_message.decode(data)
    except WindowError as error:
        assert str(error)
        return
    assert window_message.decode(window_message.encode(cut)).window.stream == cut.window.stream


def _window_corpus() -> list[bytes]:
    values, valid = np.arange(64, dtype=np.float32).reshape(-1, 1), np.ones(64, bool)
    made = Window("s1", "e", 0, 1.8e9, 100.0, values, valid)
    holes = replace(made, values=values + 0.5, valid=np.arange(64) > 3, missing=4)
    return [window_message.encode(Cut(each, 3, "b")) for each in (made, holes)]


# Recordings


def _read(entries: Sequence[Entry]) -> None:
    for entry in entries[:8]:
        made = entry.read()
        assert made.rate_hz > 0
        assert made.physical.dtype == np.float32
        assert made.physical.shape == (len(made), len(made.channels))
        digital, channels, valid = made.to_int16()
        assert digital.shape == valid.shape == made.physical.shape
        assert len(channels) == len(made.channels)
        if len(made) <= 100_000 and made.rate_hz <= 1e5:
            _windows(list(blocks(made, "s1", 0.0)))


def _recording(read: Callable[[bytes], Sequence[Entry]]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            _read(read(data))
        except RecordingError as error:
            assert str(error)

    return run


def _one(read: Callable[[], Recording]) -> Sequence[Entry]:
    return [Entry("r", read)]


DAT = np.arange(-300, 300, dtype="<i2").tobytes()


def _wfdb_entries(data: bytes) -> Sequence[Entry]:
    files = Memory(
        {"r.hea": data, "r.dat": DAT, "r.mat": struct.pack("<5i", 30, 1, 300, 0, 4) + b"val\0" + DAT}
    )
    return _one(lambda: read_record(files, "r.hea", "r"))


def _wfdb_data(data: bytes) -> Sequence[Entry]:
    """The signal file, for the format that its first byte picks."""
    format_ = (16, 212, 80, 24, 32)[data[0] % 5] if data else 16
    header = f"r 2 300\nr.dat {format_} 200/mV\nr.dat {format_} 200/mV\n".encode()
    return _one(lambda: read_record(Memory({"r.hea": header, "r.dat": data[1:]}), "r.hea", "r"))


def _wfdb_corpus() -> list[bytes]:
    return [
        b"r 1 300 300\nr.dat 16 200/mV 16 0 0 0 0 ECG\n",
        b"r 2 300 150\nr.dat 212 200(10)/mV 11 1024 995 0 0 MLII\nr.dat 212 200/mV 11 1024 0 0 0 V5\n",
        b"r 1 300 300\nr.mat 16+24 1000/mV 16 0 0 0 0 ECG\n# age 7\n",
        b"r/2 2 360/100(5) 1000 0:0:0 1/1/2000\nr_1 500\nr_2 500\n",
        b"r 1 0.5e2\nr.dat 16x2:3+4 1e9(-5)/uV 0 0\n",
    ]


def _edf_entries(data: bytes) -> Sequence[Entry]:
    return _one(lambda: read_edf(Memory({"r.edf": data}), "r.edf", "r"))


def _edf_corpus() -> list[bytes]:
    def text(value: object, size: int) -> bytes:
        return str(value).encode().ljust(size)

    head = (
        text(0, 8)
        + text("X X X X", 80)
        + text("Startdate X X X X", 80)
        + text("01.01.26", 8)
        + text("00.00.00", 8)
    )
    head += text(512, 8) + text("", 44) + text(2, 8) + text(1, 8) + text(1, 4)
    signal = text("ECG", 16) + text("", 80) + text("uV", 8) + text(-3000, 8) + text(3000, 8)
    signal += text(-32768, 8) + text(32767, 8) + text("", 80) + text(100, 8) + text("", 32)
    return [head + signal + np.arange(200, dtype="<i2").tobytes()]


def _csv_entries(data: bytes) -> Sequence[Entry]:
    return _one(lambda: read_csv(Memory({"r.csv": data}), "r.csv", "r", None))


def _ucr_entries(data: bytes) -> Sequence[Entry]:
    return ucr_entries(Memory({"r.tsv": data}), "r.tsv", 100.0)[0]


def _npz_entries(data: bytes) -> Sequence[Entry]:
    return npz_entries(Memory({"r.npz": data}), "r.npz", None)[0]


def _npz_array(data: bytes) -> Sequence[Entry]:
    """One array in an archive that is sound otherwise."""
    return _npz_entries(write_stored({"values.npy": data}))


def _npz_corpus() -> list[bytes]:
    return [
        write_arrays({"values": np.arange(90.0), "rate_hz": np.float64(100)}),
        write_arrays(
            {"x": np.arange(40, dtype=np.int16).reshape(4, 10), "y": np.arange(4), "fs": np.float32(50)}
        ),
        write_arrays(
            {"digital": np.zeros((5, 2), np.int32), "scale": np.array([2.0, 0.5]), "offset": np.array([0.0])}
        ),
    ]


TARGETS: dict[str, Target] = {
    "wire": Target(wire.one_input, wire.corpus, ("firmware_bridge",)),
    "payload": Target(payload, _payload_corpus, ("edge.sources", "edge.pipeline.windows", "firmware_bridge")),
    "topic": Target(topic, lambda: [TOPIC.encode(), b"wavewall/gw1/stream/a/b/samples", b"\xff/#"], ("edge",), 256),
    "json": Target(compact_json, _json_corpus, ("edge.sources",)),
    "senml": Target(senml_json, _senml_corpus, ("edge.sources",)),
    "request": Target(
        request,
        lambda: [b"do\n", b'do\n{"id":1,"text":"x","names":["a"]}', b'do\n{"count":1e3,"flag":null}', b"no\n[]"],
        ("edge.requests", "edge.sources"),
    ),
    "result": Target(result, _result_corpus, ("edge.types",)),
    "message": Target(message, _message_corpus, ("edge.types", "edge.events", "edge.chain")),
    "results-file": Target(results_file, _chain_corpus, ("edge.chain", "edge.chain_check"), 1 << 14),
    "bundle": Target(bundle, _bundle_corpus, ("edge.bundle",), 1 << 16),
    "manifest": Target(manifest, lambda: [read_stored(_bundle_bytes())["manifest.json"]], ("edge.bundle",)),
    "arrays": Target(arrays, _npz_corpus, ("edge.bundle",)),
    "key": Target(key, _key_corpus, ("edge.bundle.signing",), 1024),
    "toml": Target(
        toml,
        lambda: [
            (Path(__file__).parents[2] / "deploy" / "config.example.toml").read_bytes(),
            b'[mqtt]\nport = 1\n[[source]]\nkind = "serial"\n[[sink]]\nkind = "stdout"\n',
            b'mqtt = 1\nsource = [1]\n[node]\nid = ""\n',
        ],
        ("edge.settings", "edge.config"),
    ),
    "flags": Target(
        flags,
        lambda: [
            b"MQTT_PORT=1\nSOURCE_0_BAUD=x\n",
            b"source=serial:/dev/x,baud=1\nsink=file:a\n",
            b"source.0.kind=mqtt\nmqtt.host=a@b\n",
        ],
        ("edge.settings", "edge.config"),
        512,
    ),
    "counters": Target(
        counters, lambda: [b'{"up": {"ecg-1": 5}, "down": {"ecg-1": [7, 3]}}', b'{"up": [], "down": 1}'],
        ("firmware_bridge.auth",), 512,
    ),
    "overlay": Target(overlay, _overlay_corpus, ("edge.overlay",), 2048),
    "recorder": Target(recorder, _recorder_corpus, ("edge.recorder", "edge.pipeline.windows")),
    "spool": Target(spool, _spool_corpus, ("edge.delivery",), 1 << 15),
    "window": Target(window, _window_corpus, ("edge.cluster.window",), 1024),
    "wfdb-header": Target(_recording(_wfdb_entries), _wfdb_corpus, ("firmware_bridge.recordings",), 1024),
    "wfdb-signal": Target(
        _recording(_wfdb_data), lambda: [bytes([at]) + DAT for at in range(5)], ("firmware_bridge.recordings",)
    ),
    "edf": Target(_recording(_edf_entries), _edf_corpus, ("firmware_bridge.recordings", "edfio")),
    "csv": Target(
        _recording(_csv_entries),
        lambda: [
            b"ecg [uV],ref (mV)\n1,2\n3,4\n",
            b"# rate_hz: 300\ntime_s;ecg_uv\n0;1\n0.01;2\n0.02;nan\n",
            b"1\n2\n3e5\n-4\n",
        ],
        ("firmware_bridge.recordings",),
    ),
    "ucr": Target(
        _recording(_ucr_entries),
        lambda: [b"1\t0.1\t0.2\tNaN\n-1\t0.5\t0.6\t0.7\n", b"1 2 3\n\n2 3 4\n"],
        ("firmware_bridge.recordings",),
    ),
    "npz-array": Target(
        _recording(_npz_array),
        lambda: [read_stored(archive)[name] for archive in _npz_corpus() for name in read_stored(archive)],
        ("firmware_bridge.recordings", "numpy.lib._format_impl"),
        1024,
    ),
    "npz": Target(_recording(_npz_entries), _npz_corpus, ("firmware_bridge.recordings",)),
}  # fmt: skip
