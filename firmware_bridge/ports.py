"""Serial ports: list and pick them (``port_list``), and read one that comes back (``serial_stream``)."""

from firmware_bridge.port_list import PortInfo, explain, find_port, list_ports, permission_hint
from firmware_bridge.serial_stream import ByteStream, SerialStream, open_port

__all__ = [
    "ByteStream",
    "PortInfo",
    "SerialStream",
    "explain",
    "find_port",
    "list_ports",
    "open_port",
    "permission_hint",
]
