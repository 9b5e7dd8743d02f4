"""Publishes at QoS 1 for a tenth of what a client library takes: a generator shares its cores with what it measures."""

from __future__ import annotations

import socket
import struct

_PUBLISH_QOS1, _PUBACK = 0x32, b"\x40\x02"
_MAX_ID = 0xFFFF


class LeanPublisher:
    """One MQTT 3.1.1 connection. `put` collects messages, `flush` sends them in one go and reads what is acknowledged.

    Raises RuntimeError where the broker refuses or closes the connection, or sends anything but acknowledgements.
    """

    def __init__(self, host: str, port: int, client_id: str) -> None:
        self._socket = socket.create_connection((host, port), 10.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = client_id.encode()
        # Clean session, no keepalive: it always has something to say.
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
        self._socket.sendall(bytes([0x10, len(body)]) + body)
        if self._socket.recv(4) != b"\x20\x02\x00\x00":
            raise RuntimeError("the broker refuses the generator")
        self._out: list[bytes] = []
        self._in = b""
        self._id = 0
        self.sent = self.acknowledged = 0

    def put(self, topic: bytes, payload: bytes) -> None:
        """A message for the next flush."""
        self._id = self._id % _MAX_ID + 1
        length = 4 + len(topic) + len(payload)
        head = bytearray([_PUBLISH_QOS1])
        while length > 0x7F:
            head.append(length & 0x7F | 0x80)
            length >>= 7
        head.append(length)
        self._out += (bytes(head), len(topic).to_bytes(2, "big"), topic, self._id.to_bytes(2, "big"), payload)
        self.sent += 1

    def flush(self) -> None:
        """Waits while the broker takes no more."""
        if self._out:
            self._socket.sendall(b"".join(self._out))
            self._out.clear()
        if self.acknowledged == self.sent:
            return
        try:
            data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not data:
            raise RuntimeError("the broker closed the generator's connection")
        data = self._in + data
        whole = len(data) // 4 * 4
        if any(data[at : at + 2] != _PUBACK for at in range(0, whole, 4)):
            raise RuntimeError("the broker sends the generator what is no acknowledgement")
        self.acknowledged += whole // 4
        self._in = data[whole:]

    def close(self) -> None:
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()
