"""Serial ports: which there are, which one is meant, and why one cannot be opened."""

from __future__ import annotations

import errno
import grp
import os
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firmware_bridge.errors import PortError

# USB ids of boards and bridges that makers use; (vendor, product), product None for all of a vendor.
_KNOWN: dict[tuple[int, int | None], str] = {
    (0x2341, None): "Arduino",
    (0x2A03, None): "Arduino",
    (0x303A, None): "Espressif ESP32",
    (0x2E8A, None): "Raspberry Pi Pico",
    (0x239A, None): "Adafruit board",
    (0x16C0, 0x0483): "Teensy",
    (0x0483, 0x5740): "STM32 virtual port",
    (0x0483, 0x374B): "ST-Link",
    (0x1366, None): "SEGGER J-Link",
    (0x0D28, 0x0204): "DAPLink",
    (0x1915, None): "Nordic nRF",
    (0x1A86, 0x7523): "CH340 bridge (Arduino clone, ESP8266)",
    (0x1A86, 0x55D4): "CH9102 bridge (ESP32)",
    (0x10C4, 0xEA60): "CP210x bridge (ESP32)",
    (0x0403, 0x6001): "FTDI FT232 bridge",
    (0x0403, 0x6015): "FTDI FT-X bridge",
    (0x067B, 0x2303): "PL2303 bridge",
}


@dataclass(frozen=True, slots=True)
class PortInfo:
    """A serial port. ``hint`` says what to do where it cannot be opened, else is empty."""

    device: str
    description: str
    usb_vendor: int | None
    usb_product: int | None
    serial_number: str | None
    likely: str
    hint: str

    @property
    def usb_id(self) -> str:
        """Like ``2341:0043``; empty where it is not on USB."""
        if self.usb_vendor is None or self.usb_product is None:
            return ""
        return f"{self.usb_vendor:04x}:{self.usb_product:04x}"


Lister = Callable[[], Sequence[PortInfo]]


def permission_hint(device: str) -> str:
    """The command that gives access to ``device``; empty where there is access already."""
    try:
        info = os.stat(device)
    except OSError:
        return ""
    if os.access(device, os.R_OK | os.W_OK):
        return ""
    try:
        group = grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        group = str(info.st_gid)
    if group == "root":
        return f"only root may use it: add a udev rule that gives {device} to group dialout"
    return f"join group {group}: sudo usermod -aG {group} $USER, then log in again"


def _likely(vendor: int | None, product: int | None) -> str:
    if vendor is None:
        return ""
    return _KNOWN.get((vendor, product)) or _KNOWN.get((vendor, None)) or "USB serial device"


def list_ports() -> list[PortInfo]:
    """All serial ports, those on USB first. Pseudo-terminals are not listed."""
    from serial.tools import list_ports as scan  # slow to import, and only this needs it

    found = [
        PortInfo(
            port.device,
            port.description if port.description not in (None, "n/a") else "",
            port.vid,
            port.pid,
            port.serial_number,
            _likely(port.vid, port.pid),
            permission_hint(port.device),
        )
        for port in scan.comports()
    ]
    return sorted(found, key=lambda port: (port.usb_vendor is None, port.device))


def find_port(wanted: str, lister: Lister = list_ports) -> str:
    """The device path for ``wanted``.

    Args:
        wanted: a path (returned as it is), a URL such as ``socket://host:port``, ``serial:NUMBER`` for the
            USB serial number, or "auto" for the only one on USB.

    Raises:
        PortError: "auto" finds none or several, or no port has that serial number.
    """
    if wanted != "auto" and not wanted.startswith("serial:"):
        return wanted
    ports = list(lister())
    if wanted.startswith("serial:"):
        number = wanted.removeprefix("serial:")
        for port in ports:
            if port.serial_number == number:
                return port.device
        raise PortError(
            f"no USB serial port has the serial number {number!r}; `firmware-bridge ports` lists them"
        )
    plausible = [port for port in ports if port.usb_vendor is not None]
    if len(plausible) == 1:
        return plausible[0].device
    if not plausible:
        raise PortError("no USB serial port found: plug the device in, or name the port")
    listing = ", ".join(f"{port.device} ({port.likely})" for port in plausible)
    raise PortError(f"several USB serial ports, name one: {listing}")


def _errno(error: BaseException) -> int | None:
    """The error number, also of what pyserial wrapped and of termios.error, which has it in its args."""
    each: BaseException | None = error
    while each is not None:
        code = getattr(each, "errno", None)
        if code is None and isinstance(each, termios.error) and each.args:
            code = each.args[0]
        if isinstance(code, int):
            return code
        each = each.__cause__ or each.__context__
    return None


def explain(device: str, error: BaseException) -> str:
    """Why ``device`` cannot be opened or used, and what to do."""
    code = _errno(error)
    if code is None and "disconnected" in str(error):  # pyserial, where a read gives nothing
        code = errno.EIO
    if code == errno.ENOENT:
        return f"{device} is not there: plug the device in; `firmware-bridge ports` lists what is"
    if code in (errno.EACCES, errno.EPERM):
        hint = permission_hint(device) or "another user owns it"
        return f"no permission to open {device}: {hint}"
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        return f"{device} is busy: another program has it open; close that first"
    if code in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return f"{device} was unplugged"
    return f"{device}: {error}"
