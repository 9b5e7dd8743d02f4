"""Settings: four layers, one check, and errors that say where and what."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cli.options import flag_name
from edge.config import MqttSink, MqttSource, SerialSource, Settings, config_schema
from edge.health import config_hash
from edge.settings import ConfigError, env_name, load_settings, parse_shorthand, scalar_settings, takes_flag
from tests.edge.agent.helpers import attempt


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_defaults_need_nothing():
    settings = load_settings()
    assert settings.mqtt.port == 1883
    assert isinstance(settings.source[0], MqttSource)
    assert isinstance(settings.sink[0], MqttSink)


def test_a_later_layer_wins(tmp_path: Path):
    path = write(tmp_path, '[mqtt]\nport = 1\nhost = "file"\nkeepalive_s = 11\nusername = "file"\n')
    env = {"WAVEWALL_MQTT_PORT": "2", "WAVEWALL_MQTT_HOST": "env", "WAVEWALL_MQTT_KEEPALIVE_S": "12"}
    settings = load_settings(path, env, {"mqtt.port": "3", "mqtt.host": "flag"}, ["mqtt.port=4"])
    assert (settings.mqtt.port, settings.mqtt.host) == (4, "flag")
    assert (settings.mqtt.keepalive_s, settings.mqtt.username) == (12, "file")


def test_every_setting_has_a_variable_and_all_but_secrets_a_flag():
    paths = dict(scalar_settings())
    assert "mqtt.port" in paths
    assert "delivery.spool_results" in paths
    assert env_name("delivery.spool_results") == "WAVEWALL_DELIVERY_SPOOL_RESULTS"
    assert len({env_name(path) for path in paths}) == len(paths)
    assert [path for path, field in paths.items() if not takes_flag(field)] == ["mqtt.password", "dashboard.token"]
    assert flag_name("mqtt.reconnect_max_s") == "--mqtt-reconnect-max-s"
    assert all(field.description for field in paths.values())


def test_sources_and_sinks_from_short_forms():
    flags = {
        "source": ["serial:/dev/ttyUSB0,baud=9600,channels=ecg+resp", "mqtt:a+b"],
        "sink": ["file:out.jsonl"],
    }
    settings = load_settings(None, {}, flags, ["source.0.stream=bed-1"])
    first, second = settings.source
    assert isinstance(first, SerialSource)
    assert (first.port, first.baud, first.channels, first.stream) == (
        "/dev/ttyUSB0",
        9600,
        ("ecg", "resp"),
        "bed-1",
    )
    assert isinstance(second, MqttSource)
    assert second.streams == ("a", "b")


def test_sources_from_the_environment():
    env = {
        "WAVEWALL_SOURCE": "serial:/dev/ttyUSB0; mqtt",
        "WAVEWALL_SOURCE_0_BAUD": "4800",
        "WAVEWALL_DATA": "not a setting, not ours",
    }
    first, second = load_settings(None, env).source
    assert isinstance(first, SerialSource)
    assert first.baud == 4800
    assert isinstance(second, MqttSource)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[mqtt]\nport = \n", "line 2, column 8"),
        ("[mqtt]\nhost = 'x'\n[mqtt\n", "line 3"),
        ("[mqtt]\nprot = 1\n", "unknown key mqtt.prot; did you mean 'port'?"),
        ("[mqt]\nport = 1\n", "unknown section 'mqt'; did you mean 'mqtt'?"),
        ("[mqtt]\nport = 'x'\n", "mqtt.port = 'x'"),
        ("[mqtt]\nport = 99999\n", "mqtt.port = 99999"),
        ("[node]\nid = 'a/b'\n", "node.id = 'a/b': may hold A-Z a-z 0-9 _ - only"),
        ("[node]\nbase = '#'\n", "node.base"),
        ("[[source]]\nkind = 'serail'\n", "unknown kind 'serail'; did you mean 'serial'?"),
        ("[[source]]\nkind = 'serial'\nboud = 1\n", "unknown key source.0.boud; did you mean 'baud'?"),
        ("[[source]]\nport = 'x'\n", 'needs kind = "..."'),
        ("[[source]]\nkind = 'replay'\n", "source.0.recording: is missing"),
        ("[[source]]\nkind = 'mqtt'\nstreams = ['ok', 'a#']\n", "source.0.streams.1 = 'a#'"),
        ("source = 3\n", "source"),
        ("mqtt = 3\n", "mqtt"),
        ("source = []\n", "source"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, says: str):
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text))
    assert says in str(caught.value)
    assert "agent.toml" in str(caught.value)


def test_only_the_wrong_entry_is_named(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, "[[source]]\nkind = 'serial'\nbaud = 1\n"))
    assert str(caught.value).count("\n") == 0


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        load_settings(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("WAVEWALL_MQTT_PROT", "did you mean 'WAVEWALL_MQTT_PORT'?"),
        ("WAVEWALL_SOURCE_PORT", "WAVEWALL_SOURCE_0_KEY"),
        ("WAVEWALL_SOURCE_3_PORT", "N below 0"),
    ],
)
def test_a_wrong_variable_is_explained(variable: str, says: str):
    with pytest.raises(ConfigError, match="WAVEWALL") as caught:
        load_settings(None, {variable: "1"})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("mqtt.prot=1", "did you mean 'port'?"),
        ("mqqt.port=1", "did you mean 'mqtt'?"),
        ("mqtt.port", "section.key=value"),
        ("source.0.port=1", "N below 0"),
        ("mqtt.port=no", "--set mqtt.port: mqtt.port = 'no'"),
    ],
)
def test_a_wrong_override_is_explained(override: str, says: str):
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {}, {}, [override])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seriel:/dev/x", "did you mean 'serial'?"),
        ("serial:/dev/x,boud=1", "did you mean 'baud'?"),
        ("serial,9600", "not key=value"),
    ],
)
def test_a_wrong_short_form_is_explained(text: str, says: str):
    with pytest.raises(ConfigError) as caught:
        parse_shorthand("source", text, "--source")
    assert says in str(caught.value)


def test_a_kind_without_a_main_value():
    with pytest.raises(ConfigError, match="takes nothing after the colon"):
        parse_shorthand("sink", "stdout:x", "--sink")


def test_the_password_is_never_shown():
    settings = load_settings(None, {"WAVEWALL_MQTT_PASSWORD": "canary-7"})
    assert settings.mqtt.password is not None
    assert settings.mqtt.password.get_secret_value() == "canary-7"
    assert "canary-7" not in repr(settings) + settings.model_dump_json()
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"WAVEWALL_MQTT_PASSWORD": "canary-7", "WAVEWALL_MQTT_PORT": "x"})
    assert "canary-7" not in str(caught.value)


def test_the_hash_of_a_configuration_leaves_the_password_out():
    plain, secret = load_settings(), load_settings(None, {"WAVEWALL_MQTT_PASSWORD": "x"})
    assert config_hash(plain) == config_hash(secret)
    assert config_hash(plain) != config_hash(load_settings(None, {}, {"mqtt.port": "1884"}))


def test_schema_takes_what_the_loader_takes(tmp_path: Path):
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    example = json.loads(Settings.model_validate({"source": [{"kind": "serial"}]}).model_dump_json())
    jsonschema.validate(example, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"mqtt": {"prot": 1}}, schema)


@given(st.binary(max_size=300))
def test_any_file_loads_or_is_refused_with_our_error(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.getbasetemp() / f"fuzz-{os.getpid()}.toml"
    path.write_bytes(data)
    loaded = attempt(lambda: load_settings(path), ConfigError)
    if loaded is not None:
        is_whole(loaded)


def is_whole(loaded: Settings) -> None:
    """Settings that were taken are taken again as they are, and agree with the published schema."""
    plain = loaded.model_dump(exclude={"mqtt": {"password"}, "dashboard": {"token"}}, exclude_unset=True)
    assert Settings.model_validate(plain) == loaded
    jsonschema.validate(json.loads(loaded.model_dump_json(exclude_unset=True)), config_schema())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "port", "id", "path"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["mqtt", "source", "sink", "node"]), VALUES, max_size=3))
def test_any_shape_of_settings_loads_or_is_refused_with_our_error(data: dict[str, Any]):
    with mock.patch("edge.settings.read_toml", return_value=data):
        loaded = attempt(lambda: load_settings(Path("agent.toml"), {}, {}, ["source.0.port=x"]), ConfigError)
    if loaded is not None:
        assert loaded.source[0].port == "x"
        is_whole(loaded)
