"""A network that can be made bad: TCP between an agent and its broker, for benchmarks and tests."""

from __future__ import annotations

import socket
import struct
import threading
import time

from benchmarks.mosquitto import HOST

MODES = ("pass", "cut", "reset", "stall", "slow", "bytes")
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a RST, whatever is in flight


class Proxy:
    """Passes on to the port `target`, as `mode` says; it may change at any time.

    "cut": connections are closed, new ones too; "reset": so, by RST; "stall": all stays open and nothing passes;
    "slow": 0.2 s later; "bytes": one byte a packet.
    """

    def __init__(self, target: int) -> None:
        self._target, self.mode = target, "pass"
        self._server = socket.create_server((HOST, 0))
        self.port = int(self._server.getsockname()[1])
        self._over = threading.Event()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._server.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection((HOST, self._target), 5)
            except OSError:
                client.close()
                continue
            for source, sink in ((client, broker), (broker, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            source.settimeout(0.1)
            while not self._over.is_set() and self.mode != "cut":
                if self.mode == "stall":
                    time.sleep(0.05)
                    continue
                if self.mode == "reset":
                    for end in (source, sink):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    return
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                if self.mode == "slow":
                    time.sleep(0.2)
                step = 1 if self.mode == "bytes" else len(data)
                for at in range(0, len(data), step):
                    sink.sendall(data[at : at + step])
        except (OSError, ValueError):  # closed by the other direction
            pass
        finally:
            source.close()
            sink.close()
