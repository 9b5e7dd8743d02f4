"""Who may speak on the serial ports: keys, counters against replay that outlast a restart, and one port a device id.

The checks themselves are firmware_bridge's (PROTOCOL.md section 6); here they meet the settings.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge.config import NodeSettings, SerialSource
from edge.errors import EdgeError
from firmware_bridge.auth import CounterStore, Guard, read_key
from firmware_bridge.errors import KeyFileError

# What a wrong or missing key and a forger look like. "unidentified" is not among them: whoever joins
# between two HELLOs sees it.
REFUSALS = frozenset({"tag_wrong", "tag_missing", "replayed"})


class TrustError(EdgeError):
    """Keys or counters that cannot be used; the text says which file and what to do."""


class _AnyDevice(Mapping[str, bytes]):
    """The key of whichever device is on the port."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __getitem__(self, device_id: str) -> bytes:
        return self._key

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def read_keys(settings: SerialSource) -> Mapping[str, bytes] | None:
    """Keys by device id, None where none are set. Raises TrustError."""
    try:
        if settings.key_file is not None:
            return _AnyDevice(read_key(settings.key_file))
        if settings.key_folder is None:
            return None
        keys = {path.stem: read_key(path) for path in sorted(settings.key_folder.glob("*.key"))}
    except KeyFileError as error:
        raise TrustError(str(error)) from error
    if not keys:
        raise TrustError(
            f"key_folder {settings.key_folder} holds no file DEVICE_ID.key; make one: firmware-bridge keygen"
        )
    return keys


def state_dir(node: NodeSettings) -> Path:
    """Where what must outlast a restart is kept: the setting, systemd's folder, or the user's."""
    if node.state_dir is not None:
        return node.state_dir
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home else Path.home() / ".local" / "state") / "wavewall"


def open_counters(node: NodeSettings) -> CounterStore:
    """The counters of every device of this agent. Raises TrustError."""
    folder = state_dir(node)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        store = CounterStore(folder / f"replay-counters-{node.id}.json")
    except (OSError, KeyFileError) as error:
        raise TrustError(f"replay counters: {error}; node.state_dir names another folder") from error
    return store


class Trust:
    """The checks of one source."""

    def __init__(self, keys: Mapping[str, bytes], counters: CounterStore, *, required: bool) -> None:
        self._keys, self.counters, self.required = keys, counters, required

    def guard(self) -> Guard:
        """For one connection: who is there must say so anew."""
        return Guard(self._keys, self.counters, required=self.required)


class SerialShared:
    """What the serial sources of one agent have together: a device may move from one port to another."""

    def __init__(self) -> None:
        self.ids = DeviceIds()
        self._counters: CounterStore | None = None

    def trust(self, settings: SerialSource, node: NodeSettings) -> Trust | None:
        """The checks of a source, None where it has no key. Raises TrustError."""
        keys = read_keys(settings)
        if keys is None:
            return None
        if self._counters is None:
            self._counters = open_counters(node)
        return Trust(keys, self._counters, required=settings.require_tag)


class DeviceIds:
    """Which port a device id was heard on first. Used by all serial sources, each in its own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ports: dict[str, str] = {}

    def claim(self, device_id: str, port: str) -> str:
        """The port that has this id: ``port`` itself, or the one that was there before."""
        with self._lock:
            return self._ports.setdefault(device_id, port)

    def release(self, port: str) -> None:
        """The device on ``port`` is gone."""
        with self._lock:
            for device_id in [name for name, at in self._ports.items() if at == port]:
                del self._ports[device_id]
