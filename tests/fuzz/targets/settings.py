"""Configuration files, words of a command line, and the counters against replay."""

from __future__ import annotations

from pathlib import Path

from edge.settings import ConfigError, load_settings, parse_shorthand
from firmware_bridge.auth import CounterStore
from firmware_bridge.errors import KeyFileError
from tests.fuzz.targets.base import Target, as_file


def toml(data: bytes) -> None:
    try:
        load_settings(as_file(data))
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
        store = CounterStore(as_file(data))
    except KeyFileError:
        return
    assert store.last("nobody") >= -1


TARGETS: dict[str, Target] = {
    "toml": Target(
        toml,
        lambda: [
            (Path(__file__).parents[3] / "deploy" / "config.example.toml").read_bytes(),
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
}  # fmt: skip
