"""The way into MIN's decoder, with a stand-in: the real file is not ours to keep here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import wire_min

STAND_IN = """
class Frame:
    def __init__(self, payload):
        self.payload = payload

class MINTransport:
    def __init__(self):
        self.began = self._now_ms()
        self.rest = b""

    def send_frame(self, min_id, payload):
        self._serial_write(bytes([len(payload)]) + payload)

    def poll(self):
        self.rest += self._serial_read_all()
        out = []
        while self.rest and len(self.rest) > self.rest[0]:
            out.append(Frame(self.rest[1 : 1 + self.rest[0]]))
            self.rest = self.rest[1 + self.rest[0] :]
        return out
"""


def test_what_is_sent_is_decoded(tmp_path: Path):
    (tmp_path / "min.py").write_text(STAND_IN)
    module = wire_min.load(tmp_path / "min.py")
    payloads = [bytes([n]) * (n + 1) for n in range(200)]
    data = wire_min.stream(module, payloads)
    assert len(data) > 2 * wire_min.CHUNK
    assert wire_min.decode(module, data) == payloads


def test_another_file_is_refused(tmp_path: Path):
    with pytest.raises(RuntimeError, match="give the path"):
        wire_min.load(tmp_path / "none.py")
    (tmp_path / "min.py").write_text("x = 1")
    with pytest.raises(RuntimeError, match="no MINTransport"):
        wire_min.load(tmp_path / "min.py")
    (tmp_path / "min.py").write_text("import none_such_module")
    with pytest.raises(RuntimeError, match="ModuleNotFoundError"):
        wire_min.load(tmp_path / "min.py")
