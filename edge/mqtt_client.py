"""paho's client, reading and acknowledging many messages at a time.

paho asks the system four times for each packet (first byte, length, body), makes a dozen objects of it, and sends each
acknowledgement alone: 50 µs a message, as much as all the work of the agent on it. Here whatever has come is read at
once and taken apart by packets. Sample messages, PUBLISH at QoS 0 or 1 without properties, are told as they are; every
other packet is handed to paho whole, which does what it always does. Acknowledgements go out together.

Of paho's own names, beside its documented ones, this replaces `_sock_recv` and `_packet_queue` and sets
`_last_bytes_received`, which are the same in all its versions from 1.4 on (tests/edge/agent/test_mqtt_client.py).
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

# Some twenty messages of a second of ECG; the broker sends no more than `receive_maximum` unacknowledged ones.
READ_BYTES = 1 << 14
# Acknowledged after so many, while more of them are at hand, so that the broker goes on sending.
ACK_EVERY = 32
# Woken again so soon for fewer than FEW, wait so long for more.
OFTEN_S, GATHER_S, FEW = 0.02, 0.01, 8
NO_WAIT_S = 0.0001
_PUBACK, _ONE_ACK = 0x40, b"\x40\x02"


class Received:
    """A message at QoS 0 or 1, with the names that paho's own have."""

    __slots__ = ("_topic", "dup", "mid", "payload", "qos", "retain")
    properties = None

    def __init__(self, head: int, topic: bytes, mid: int, payload: bytes) -> None:
        self._topic, self.mid, self.payload = topic, mid, payload
        self.qos, self.dup, self.retain = head >> 1 & 3, bool(head & 8), bool(head & 1)

    @property
    def topic(self) -> str:
        """Raises UnicodeDecodeError, as paho's does."""
        return self._topic.decode()


class BulkClient(Client):
    """Takes paho's arguments. `loop` is called by one thread, whatever it does is done in it; `publish`, `ack` and the
    like by any. `on_received` takes messages and acknowledges them, where it is set (with `manual_ack` alone);
    `on_message` those with properties or QoS 2.
    """

    on_received: Callable[[Received], object] | None = None

    def __init__(self, *args: Any, **words: Any) -> None:
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._is_woken = False
        self._looping = 0  # the thread that `loop` runs in
        self._pieces: list[bytes] = []  # the beginning of a packet,
        self._missing = 0  # of which so much is missing at least
        self._handed: bytes | None = None  # what paho has yet to read of the packet it was handed
        self._acks: deque[int] = deque()
        self._waited_s, self._last_read = 0.0, 0
        super().__init__(*args, **words)
        self._v5 = self.protocol == MQTTProtocolVersion.MQTTv5
        # Without it paho writes to the socket from whichever thread publishes, beside our loop.
        self.on_socket_register_write = lambda *_: None

    def __del__(self) -> None:
        self._woken.close()
        self._waker.close()
        super().__del__()

    def reconnect(self) -> MQTTErrorCode:
        self._pieces, self._missing = [], 0
        self._acks.clear()
        return super().reconnect()

    def disconnect(self, *args: Any, **words: Any) -> MQTTErrorCode:
        self._queue_acks()
        return super().disconnect(*args, **words)

    def loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        """As paho's, for as many packets as have come."""
        place: Any = self.socket()
        if place is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        self._looping = threading.get_ident()
        # TLS may hold what select does not see.
        held = hasattr(place, "pending") and place.pending() > 0
        try:
            ready = self._wait(place, 0.0 if held else timeout)
        except (OSError, TypeError, ValueError):  # closed meanwhile
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        if self._woken in ready:
            self._woken.recv(READ_BYTES)
            self._is_woken = False  # before looking for what the others queued
        if held or place in ready:
            code = self.loop_read()
            if code or self.socket() is None:
                return code
        if self._acks or self.want_write():
            code = self.loop_write()
            if code or self.socket() is None:
                return code
        return self.loop_misc()

    def _wait(self, place: Any, timeout: float) -> list[Any]:
        """Until there is something to do. Where that is so all the time, a bit at a time, let some of it come together:
        to wake up costs more than a message.
        """
        writes = [place] if self._acks or self.want_write() else []
        began = time.monotonic()
        ready, _, _ = select.select([place, self._woken], writes, [], timeout)
        now = time.monotonic()
        if ready and now - began > NO_WAIT_S:
            often, self._waited_s = now - self._waited_s < OFTEN_S, now
            if often and self._last_read < FEW:
                time.sleep(GATHER_S)
        self._last_read = 0
        return ready

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Everything that one read gives."""
        try:
            data = super()._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            data = b""
        if not data:
            return super().loop_read()  # finds that the connection has broken, and ends it
        self._last_bytes_received = time.monotonic()
        self._missing -= len(data)
        if self._pieces:
            # Joined once, however long the packet is.
            self._pieces.append(data)
            if self._missing > 0:
                return MQTTErrorCode.MQTT_ERR_SUCCESS
            data = b"".join(self._pieces)
        return self._packets(data)

    def _packets(self, data: bytes) -> MQTTErrorCode:
        """All packets that are whole; the rest is kept."""
        at, after, end, told = 0, 2, len(data), self.on_received
        while at + 1 < end:
            body, length = at + 2, data[at + 1]
            if length > 0x7F:
                body, length = _length(data, at + 1)
            after = body + length
            if after > end:
                break
            message = None if told is None else _plain(data, at, body, after, self._v5)
            if message is not None and told is not None:
                told(message)
            else:
                code = self._hand(data[at:after])
                if code or self.socket() is None:
                    return code
            at, after = after, after + 2
            self._last_read += 1
            if len(self._acks) >= ACK_EVERY:
                code = self.loop_write()
                if code or self.socket() is None:
                    return code
        self._pieces, self._missing = ([data[at:]], after - end) if at < end else ([], 0)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _hand(self, packet: bytes) -> MQTTErrorCode:
        """Let paho read one packet."""
        self._handed = packet
        try:
            return super().loop_read()
        finally:
            self._handed = None

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._handed is None:
            return super()._sock_recv(bufsize)
        if not self._handed:
            raise BlockingIOError
        out, self._handed = self._handed[:bufsize], self._handed[bufsize:]
        return out

    def loop_write(self) -> MQTTErrorCode:
        self._queue_acks()
        return super().loop_write()

    def ack(self, mid: int, qos: int) -> MQTTErrorCode:
        """Acknowledge a message, with others."""
        if qos != 1:
            return super().ack(mid, qos)
        self._acks.append(mid)
        self._wake()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _queue_acks(self) -> None:
        acks, count = self._acks, len(self._acks)
        if count:
            mids = [acks.popleft() for _ in range(count)]
            packets = b"".join([_ONE_ACK + mid.to_bytes(2, "big") for mid in mids])
            self._packet_queue(_PUBACK, packets, 0, 1)

    def _packet_queue(
        self, command: int, packet: bytes | bytearray, mid: int, qos: int, info: MQTTMessageInfo | None = None
    ) -> MQTTErrorCode:
        code = super()._packet_queue(command, packet, mid, qos, info)
        self._wake()
        return code

    def _wake(self) -> None:
        """Have `loop` look at what was queued, once."""
        if not self._is_woken and threading.get_ident() != self._looping:
            self._is_woken = True
            with suppress(BlockingIOError):
                self._waker.send(b"\0")


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Where a packet's body begins and how long it is, from the length field at `at`. Of a field that is cut off one
    byte more is wanted; one that is longer than any may be is cut there, for paho to find out.
    """
    length = 0
    for number, byte in enumerate(data[at : at + 4]):
        length |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return at + number + 1, length
    return min(at + 4, len(data)), 1


def _plain(data: bytes, at: int, body: int, after: int, v5: bool) -> Received | None:
    """A PUBLISH at QoS 0 or 1 without properties; None for any other packet and for what is broken."""
    head = data[at]
    if head & 0xF4 != 0x30 or after - body < 5:
        return None
    topic = body + 2
    end = topic + (data[body] << 8 | data[body + 1])
    payload, mid = end, 0
    if head & 2:
        payload += 2
        if payload > after:
            return None
        mid = data[end] << 8 | data[end + 1]
    if v5:
        if payload >= after or data[payload]:
            return None
        payload += 1
    if payload > after or topic == end:
        return None
    return Received(head, data[topic:end], mid, data[payload:after])
