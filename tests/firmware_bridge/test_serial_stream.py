"""Ports that are there, absent, busy, forbidden, unplugged and back under another name."""

from __future__ import annotations

import errno
import logging
import os
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from firmware_bridge import port_list
from firmware_bridge.errors import PortError
from firmware_bridge.ports import PortInfo, SerialStream, explain, find_port, list_ports, permission_hint


def usb(device: str, number: str | None = "A1", vendor: int | None = 0x2341) -> PortInfo:
    return PortInfo(device, "", vendor, 0x0043 if vendor else None, number, "Arduino", "")


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    for handle in (master, slave):
        try:
            os.close(handle)
        except OSError as error:
            assert error.errno == errno.EBADF  # the test has unplugged it


def test_reads_and_writes_a_real_pty(pty: tuple[int, str]):
    master, name = pty
    stream = SerialStream(name)
    os.write(master, b"")
    assert stream.read(0.01) == b""
    assert stream.connected and stream.device == name and stream.problem == ""
    os.write(master, b"\x00\x11\x13\x03\n\r")
    assert stream.read(1.0) == b"\x00\x11\x13\x03\n\r"
    assert stream.write(b"\x04\x1a\n")
    assert os.read(master, 10) == b"\x04\x1a\n"
    stream.close()
    stream.close()
    with pytest.raises(PortError, match="closed"):
        stream.read(0.01)


def test_busy_port(pty: tuple[int, str]):
    first, second = SerialStream(pty[1]), SerialStream(pty[1])
    first.open()
    with pytest.raises(PortError, match="is busy: another program has it open"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_absent_port(tmp_path: Path):
    with pytest.raises(PortError, match="is not there: plug the device in"):
        SerialStream(str(tmp_path / "ttyX")).open()


class FakePort:
    def __init__(self, chunks: list[bytes | Exception]) -> None:
        self.chunks, self.timeout, self.written, self.closed = chunks, None, b"", False
        self.in_waiting = 0

    def read(self, size: int) -> bytes:
        if not self.chunks:
            return b""
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def write(self, data: bytes) -> int:
        self.written += data
        return len(data)

    def close(self) -> None:
        self.closed = True


class World:
    """Ports that come and go, and a clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ports: dict[str, FakePort | Exception] = {}
        self.listing: list[PortInfo] = []
        self.opened: list[tuple[float, str]] = []

    def open(self, device: str, baud: int) -> FakePort:
        self.opened.append((self.now, device))
        port = self.ports.get(device, FileNotFoundError(errno.ENOENT, "none"))
        if isinstance(port, Exception):
            raise port
        return port

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def stream(self, wanted: str) -> SerialStream:
        return SerialStream(
            wanted,
            opener=self.open,
            lister=lambda: self.listing,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


def test_backs_off_while_absent_and_says_so_once(caplog: pytest.LogCaptureFixture):
    world = World()
    stream = world.stream("/dev/ttyACM0")
    with caplog.at_level(logging.DEBUG, "firmware_bridge"):
        while world.now < 110:
            assert stream.read(0.25) == b""
    gaps = [round(b - a, 3) for (a, _), (b, _) in zip(world.opened, world.opened[1:], strict=False)]
    assert gaps[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert set(gaps[5:]) == {2.0}
    assert "is not there" in stream.problem
    assert [r.levelname for r in caplog.records].count("WARNING") == 1
    world.ports["/dev/ttyACM0"] = FakePort([b"x"])
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "firmware_bridge"):
        while not (data := stream.read(0.25)):
            pass
    assert data == b"x"
    assert stream.connections == 1
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "is back" in caplog.text


def test_unplugged_while_reading_and_back_under_another_name():
    world = World()
    first = FakePort([b"a", serial.SerialException("device disconnected or multiple access on port?")])
    world.ports["/dev/ttyACM0"] = first
    world.listing = [usb("/dev/ttyACM0"), usb("/dev/ttyACM9", "B2")]
    stream = world.stream("/dev/ttyACM0")
    assert stream.read(0.1) == b"a"
    assert stream.read(0.1) == b""
    assert first.closed
    assert stream.problem == "/dev/ttyACM0 was unplugged"
    assert not stream.write(b"x")
    world.ports = {"/dev/ttyACM1": FakePort([b"b"]), "/dev/ttyACM9": FakePort([b"wrong device"])}
    world.listing = [usb("/dev/ttyACM9", "B2"), usb("/dev/ttyACM1")]
    assert stream.read(1.0) == b"b"
    assert stream.device == "/dev/ttyACM1"
    assert stream.connections == 2


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "x"), serial.SerialTimeoutException("Write timeout"), OSError(errno.ENXIO, "x")],
)
def test_write_that_fails_is_a_lost_port(error: Exception):
    world = World()
    port = FakePort([])
    port.write = lambda data: (_ for _ in ()).throw(error)  # type: ignore[method-assign]
    world.ports["/dev/x"] = port
    stream = world.stream("/dev/x")
    stream.open()
    assert not stream.write(b"x")
    assert not stream.connected


def test_a_settings_error_of_termios_is_a_port_error():
    import termios

    world = World()
    world.ports["/dev/x"] = termios.error(22, "Invalid argument")
    with pytest.raises(PortError, match="/dev/x"):
        world.stream("/dev/x").open()


def test_auto_takes_the_only_plausible_port():
    builtin = usb("/dev/ttyS0", None, None)
    assert find_port("auto", lambda: [builtin, usb("/dev/ttyACM0")]) == "/dev/ttyACM0"
    with pytest.raises(PortError, match="no USB serial port found"):
        find_port("auto", lambda: [builtin])
    with pytest.raises(PortError, match=r"/dev/ttyACM0 \(Arduino\), /dev/ttyACM1"):
        find_port("auto", lambda: [usb("/dev/ttyACM0"), usb("/dev/ttyACM1")])


def test_by_serial_number_by_path_and_by_url():
    ports = [usb("/dev/ttyACM0"), usb("/dev/ttyACM1", "B2")]
    assert find_port("serial:B2", lambda: ports) == "/dev/ttyACM1"
    with pytest.raises(PortError, match="serial number 'C3'"):
        find_port("serial:C3", lambda: ports)
    assert find_port("/dev/whatever", lambda: ports) == "/dev/whatever"
    assert find_port("socket://host:7777", lambda: ports) == "socket://host:7777"


def test_what_the_system_has_can_be_listed(monkeypatch: pytest.MonkeyPatch):
    from serial.tools import list_ports as scan
    from serial.tools.list_ports_common import ListPortInfo

    board = ListPortInfo("/dev/ttyACM0")
    board.vid, board.pid, board.serial_number, board.description = 0x2E8A, 0x0005, "E66", "Board in FS mode"
    monkeypatch.setattr(scan, "comports", lambda: [ListPortInfo("/dev/ttyS0"), board])
    first, second = list_ports()
    assert (first.device, first.usb_id, first.likely) == ("/dev/ttyACM0", "2e8a:0005", "Raspberry Pi Pico")
    assert (second.device, second.usb_id, second.likely) == ("/dev/ttyS0", "", "")


def test_the_hint_names_the_group_to_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    port = tmp_path / "ttyUSB0"
    port.touch()
    assert permission_hint(str(port)) == ""
    assert permission_hint(str(tmp_path / "none")) == ""
    monkeypatch.setattr(port_list.os, "access", lambda *_: False)

    class Group:
        gr_name = "dialout"

    monkeypatch.setattr(port_list.grp, "getgrgid", lambda _: Group)
    assert "sudo usermod -aG dialout $USER" in permission_hint(str(port))
    assert "join group dialout" in explain(str(port), PermissionError(errno.EACCES, "no"))
    Group.gr_name = "root"
    assert "udev rule" in permission_hint(str(port))
