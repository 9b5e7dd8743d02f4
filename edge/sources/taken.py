"""Messages that were taken, as long as the broker may send them again: acknowledged on the right connection, once."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol


class Acknowledging(Protocol):
    """What `Taken` needs of a connection (edge.mqtt_link)."""

    connections: int

    def ack(self, message: Any) -> None: ...


class _Entry:
    """`safe` once it may be acknowledged, on the connection with this number."""

    __slots__ = ("checksum", "connection", "safe")

    def __init__(self, checksum: int, connection: int) -> None:
        self.checksum, self.connection, self.safe = checksum, connection, False


class Taken:
    """By message id, at most twice the `receive_maximum` that may be unacknowledged. `add`, `is_again` and `forget`
    from the connection's thread.
    """

    def __init__(self, receive_maximum: int) -> None:
        self._most = 2 * receive_maximum
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, message: Any, link: Acknowledging) -> Callable[[], None]:
        """Remember a message; what acknowledges it, from any thread, when it is safe.

        That may be after the connection broke: on the next one the same message id may stand for another message, until
        the broker has sent this one again.
        """
        entries, mid = self._entries, message.mid
        entry = _Entry(_checksum(message), link.connections)
        if mid in entries:
            entries.move_to_end(mid)
        entries[mid] = entry
        if len(entries) > self._most:
            entries.popitem(last=False)

        def ack() -> None:
            with self._lock:
                entry.safe = True
                if entry.connection == link.connections:
                    link.ack(message)

        return ack

    def is_again(self, message: Any, link: Acknowledging) -> bool:
        """Taken already, but the connection broke before our acknowledgement reached the broker."""
        entry = self._entries.get(message.mid)
        if entry is None or entry.checksum != _checksum(message):
            return False
        with self._lock:
            entry.connection = link.connections
            if entry.safe:
                link.ack(message)
        return True

    def forget(self, message: Any) -> None:
        self._entries.pop(message.mid, None)


def _checksum(message: Any) -> int:
    """Of topic and payload: at one moment many a stream may send the same. 0 where the topic's name is no UTF-8."""
    try:
        return zlib.crc32(message.payload, hash(message.topic) & 0xFFFFFFFF)
    except UnicodeDecodeError:
        return 0
