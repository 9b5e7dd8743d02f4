"""Keyed tags and counters against replay. PROTOCOL.md section 6."""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import stat
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from firmware_bridge import payloads
from firmware_bridge.codec import TAGGED, TRAILER_BYTES
from firmware_bridge.errors import CodecError, KeyFileError
from firmware_bridge.messages import MessageType, Verb
from firmware_bridge.siphash import KEY_BYTES, siphash24

_COUNTER = struct.Struct("<Q")
_TAG = struct.Struct("<Q")
_LOW = 0xFFFFFFFF
_FROM_GATEWAY = 0x40
_HEX = re.compile(r"[0-9a-fA-F]{32}")
# Down-link numbers are stored ahead of use, so that a crash never repeats one.
_RESERVE = 1000
_SAVE_EVERY_S = 1.0
# A gateway with more devices than this on its serial ports is not a gateway; the file stays small.
MAX_DEVICES = 10_000


def read_key(path: str | Path) -> bytes:
    """The 16 bytes of a key file: 32 hexadecimal digits, mode 0600.

    Raises:
        KeyFileError: missing, open to group or others, or of another content. The key is never in the text.
    """
    path = Path(path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii", errors="replace").strip()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
    if mode & 0o077:
        raise KeyFileError(f"{path}: mode {mode:04o} lets others read the key: chmod 600 {path}")
    if not _HEX.fullmatch(text):
        raise KeyFileError(f"{path}: must hold 32 hexadecimal digits and nothing else")
    return bytes.fromhex(text)


def write_key(path: str | Path) -> bytes:
    """A new random key in a new file of mode 0600."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
    with os.fdopen(handle, "w") as file:
        file.write(key.hex() + "\n")
    return key


class Signer:
    """Gives each body a rising counter and its tag; ``codec.encode(..., tagger=signer)``."""

    def __init__(self, key: bytes, boot: int, number: int = 0) -> None:
        self._key = key
        self.boot = boot
        self.number = number

    def __call__(self, body: bytes) -> bytes:
        counter = _COUNTER.pack((self.boot & _LOW) << 32 | (self.number & _LOW))
        self.number += 1
        return counter + _TAG.pack(siphash24(self._key, body + counter))


def check_tag(key: bytes, body: bytes) -> int:
    """The counter of a tagged body (without CRC).

    Raises:
        CodecError: reason "tag_wrong", or "malformed" where there is no room for a tag.
    """
    if len(body) < 2 + TRAILER_BYTES:
        raise CodecError("malformed", "tagged frame without room for counter and tag")
    if not hmac.compare_digest(_TAG.pack(siphash24(key, body[:-8])), body[-8:]):
        raise CodecError("tag_wrong", "not made with this device's key")
    return int(_COUNTER.unpack_from(body, len(body) - TRAILER_BYTES)[0])


class CounterStore:
    """Last accepted counter of each device, and numbers used towards it; kept in a file across restarts.

    Several links may share one, each in its own thread.

    Args:
        path: JSON file of mode 0600, or None to remember only while the process lives.

    Attributes:
        problem: why the file could not be written the last time, empty where it could. Counters are then
            remembered until the process ends.
    """

    def __init__(self, path: str | Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = None if path is None else Path(path)
        self._clock = clock
        self._up: dict[str, int] = {}
        self._down: dict[str, tuple[int, int]] = {}
        self._saved_s = clock()
        self._dirty = False
        self._lock = threading.RLock()
        self.problem = ""
        if self._path is not None and self._path.exists():
            self._load(self._path)

    def _load(self, path: Path) -> None:
        try:
            content = json.loads(path.read_text())
            self._up = {str(name): int(value) for name, value in content["up"].items()}
            self._down = {str(name): (int(b), int(n)) for name, (b, n) in content["down"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # Starting from nothing would accept every old frame again.
            raise KeyFileError(
                f"{path}: cannot read the replay counters ({error}); restore or delete it"
            ) from error

    def last(self, device_id: str) -> int:
        """The last accepted counter; -1 where there is none."""
        return self._up.get(device_id, -1)

    def accept(self, device_id: str, counter: int) -> None:
        """Remember ``counter``; the file follows within a second. CodecError "replayed" where it is an old one."""
        with self._lock:
            if counter <= self.last(device_id):
                raise CodecError("replayed", f"counter {counter} of {device_id} was used before")
            if device_id not in self._up and len(self._up) >= MAX_DEVICES:
                raise CodecError(
                    "replayed", f"counters of {MAX_DEVICES} devices are kept, no room for another"
                )
            self._up[device_id] = counter
            self._dirty = True
            if self._clock() - self._saved_s >= _SAVE_EVERY_S:
                self.save()

    def next_down(self, device_id: str, boot: int) -> int:
        """A number for a frame to the device that was never used in this boot of it."""
        with self._lock:
            known_boot, reserved = self._down.get(device_id, (boot, 0))
            number = reserved if known_boot == boot else 0
            self._down[device_id] = (boot, number + _RESERVE)
            self._dirty = True
            self.save()
            return number

    def save(self) -> None:
        """Write the file now, if anything changed. A disk that is full or gone is told in ``problem``."""
        with self._lock:
            self._saved_s = self._clock()
            if self._path is None or not self._dirty:
                return
            try:
                self._write(self._path)
            except OSError as error:
                self.problem = f"{self._path}: replay counters are not kept: {error.strerror or error}"
                return
            self._dirty, self.problem = False, ""

    def _write(self, path: Path) -> None:
        part = path.with_name(path.name + ".part")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"up": self._up, "down": self._down}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


class Guard:
    """Gateway's side of one link: lets through only frames of known devices, each once.

    Args:
        keys: device id to key.
        store: where counters are remembered.
        required: drop frames without a tag, too; False during a roll-out.

    Attributes:
        device_id: who speaks on this link, by its last valid HELLO; empty before.
        boot: its boot number.
    """

    def __init__(self, keys: Mapping[str, bytes], store: CounterStore, *, required: bool = True) -> None:
        self._keys, self._store, self._required = keys, store, required
        self.device_id = ""
        self.boot = 0
        self._signer: tuple[str, int, int, Signer] | None = None

    def __call__(self, body: bytes) -> None:
        """Check a body without CRC; CodecError "tag_missing", "tag_wrong", "replayed" or "unidentified"."""
        if not body[1] & TAGGED:
            if self._required:
                raise CodecError("tag_missing", f"type 0x{body[1]:02x} without a tag")
            return
        type_ = body[1] & ~TAGGED
        device_id = self.device_id
        if type_ == MessageType.HELLO:
            device_id = payloads.get_hello(body[2:-TRAILER_BYTES]).device_id
        elif not device_id:
            raise CodecError("unidentified", "no valid HELLO has come yet, so the key is not known")
        key = self._keys.get(device_id)
        if key is None:
            raise CodecError("tag_wrong", f"no key for device {device_id}")
        counter = check_tag(key, body)
        if type_ & _FROM_GATEWAY:
            raise CodecError("tag_wrong", "a frame of the gateway's own direction came back")
        self._store.accept(device_id, counter)
        self.device_id, self.boot = device_id, counter >> 32

    @property
    def tagger(self) -> Signer | None:
        """Signs frames to the device of this link; None before its first valid HELLO."""
        if not self.device_id:
            return None
        signer = self._signer
        if (
            signer is None
            or signer[:2] != (self.device_id, self.boot)
            or signer[3].number >= signer[2] + _RESERVE
        ):
            first = self._store.next_down(self.device_id, self.boot)
            signer = (self.device_id, self.boot, first, Signer(self._keys[self.device_id], self.boot, first))
            self._signer = signer
        return signer[3]


class DeviceGuard:
    """Device's side: commands of the gateway for this boot, each once. HELLO requests pass without a tag."""

    def __init__(self, key: bytes, boot: int) -> None:
        self._key, self._boot = key, boot
        self._last = -1

    def __call__(self, body: bytes) -> None:
        """Check a body without CRC; CodecError as :class:`Guard`."""
        if not body[1] & TAGGED:
            if body[1] == MessageType.COMMAND and len(body) >= 5 and body[4] == Verb.HELLO:
                return
            raise CodecError("tag_missing", f"type 0x{body[1]:02x} without a tag")
        counter = check_tag(self._key, body)
        if not body[1] & _FROM_GATEWAY:
            raise CodecError("tag_wrong", "a frame of the device's own direction came back")
        if counter >> 32 != self._boot or counter & _LOW <= self._last:
            raise CodecError("replayed", f"counter {counter} is of another boot or was used before")
        self._last = counter & _LOW
