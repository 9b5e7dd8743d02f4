"""Whose frames are believed: keys, counters, and one port for each id."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import NodeSettings, SerialSource
from edge.sources.trust import DeviceIds, SerialShared, TrustError, state_dir
from firmware_bridge.auth import write_key


def test_a_device_that_left_gives_its_id_to_the_other_port():
    ids = DeviceIds()
    assert [ids.claim("a", port) for port in ("p1", "p2", "p1")] == ["p1"] * 3
    ids.release("p1")
    assert ids.claim("a", "p2") == "p2"


def test_keys_and_counters_that_cannot_be_used_are_named(tmp_path: Path):
    node = NodeSettings(id="gw1", state_dir=tmp_path / "state")
    with pytest.raises(TrustError, match="holds no file DEVICE_ID"):
        SerialShared().trust(SerialSource(key_folder=tmp_path), node)
    with pytest.raises(TrustError, match="No such file"):
        SerialShared().trust(SerialSource(key_file=tmp_path / "none.key"), node)
    write_key(tmp_path / "dev-1.key")
    (tmp_path / "dev-1.key").chmod(0o644)
    with pytest.raises(TrustError, match="chmod 600"):
        SerialShared().trust(SerialSource(key_folder=tmp_path), node)
    (tmp_path / "dev-1.key").chmod(0o600)
    assert SerialShared().trust(SerialSource(key_folder=tmp_path), node) is not None
    (tmp_path / "state" / "replay-counters-gw1.json").write_text("{}")
    with pytest.raises(TrustError, match="restore or delete"):
        SerialShared().trust(SerialSource(key_folder=tmp_path), node)
    assert SerialShared().trust(SerialSource(), node) is None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"key_file": "a", "key_folder": "b"}, "keep one"),
        ({"require_tag": True}, "needs a key"),
        ({"key_file": "a", "dialect": "csv"}, "carry no tag"),
    ],
)
def test_settings_of_keys_that_contradict_each_other(settings: dict, says: str):
    with pytest.raises(ValueError, match=says):
        SerialSource(**settings)


def test_counters_are_kept_in_systemds_folder_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_dir(NodeSettings(id="gw1")) == tmp_path / "wavewall"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/wavewall:/var/lib/other")
    assert state_dir(NodeSettings(id="gw1")) == Path("/var/lib/wavewall")
