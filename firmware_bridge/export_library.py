"""The C library in the shape that a maker's tools install: an Arduino library, or a PlatformIO and ESP-IDF one."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from firmware_bridge.errors import FirmwareBridgeError

KINDS = ("arduino", "platformio")
_HERE = Path(__file__).resolve().parent
_SENTENCE = (
    "Send samples from a microcontroller to a gateway, in frames that survive noise, loss and forgery."
)
_PARAGRAPH = (
    "C99 without malloc or floating point: COBS framing, CRC-32, resending from a ring, optional SipHash tags. "
    "The other end is the Python package wavewall."
)


def _version() -> str:
    try:
        return version("wavewall")
    except PackageNotFoundError:  # run from a source tree
        return "0.0.0"


def _sources() -> dict[str, bytes]:
    folder = _HERE / "c" / "src"
    files = {f"src/{path.name}": path.read_bytes() for path in sorted(folder.glob("*.[ch]"))}
    files |= {path.name: path.read_bytes() for path in folder.parent.glob("README.md")}
    if "src/wavewall.h" not in files:
        raise FirmwareBridgeError(
            f"{folder}: this installation comes without the C library; reinstall wavewall"
        )
    return files


def _examples() -> dict[str, bytes]:
    """Sketches, each in a folder of its name, as the Arduino IDE wants them."""
    found = sorted((_HERE / "firmware").glob("arduino-*/*"))
    return {f"examples/{path.parent.name}/{path.name}": path.read_bytes() for path in found if path.is_file()}


def _arduino() -> dict[str, bytes]:
    properties = {
        "name": "wavewall",
        "version": _version(),
        "author": "The wavewall authors",
        "maintainer": "The wavewall authors",
        "sentence": _SENTENCE,
        "paragraph": _PARAGRAPH,
        "category": "Communication",
        "url": "https://pypi.org/project/wavewall/",
        "architectures": "*",
        "includes": "wavewall.h",
    }
    text = "".join(f"{name}={value}\n" for name, value in properties.items())
    return _sources() | _examples() | {"library.properties": text.encode()}


def _platformio() -> dict[str, bytes]:
    sources = _sources()
    manifest = {
        "name": "wavewall",
        "version": _version(),
        "description": _SENTENCE,
        "keywords": ["serial", "framing", "cobs", "sensor", "ecg"],
        "license": "Apache-2.0",
        "headers": "wavewall.h",
        "frameworks": "*",
        "platforms": "*",
    }
    component = f'version: "{_version()}"\ndescription: "{_SENTENCE}"\nlicense: "Apache-2.0"\n'
    listed = " ".join(f'"{name}"' for name in sources if name.endswith(".c"))
    cmake = f'idf_component_register(SRCS {listed}\n                       INCLUDE_DIRS "src")\n'
    return sources | {
        "library.json": (json.dumps(manifest, indent=2) + "\n").encode(),
        "idf_component.yml": component.encode(),
        "CMakeLists.txt": cmake.encode(),
    }


def export_library(folder: str | Path, kind: str) -> list[Path]:
    """Write the library into ``folder``, which must be new, empty, or an earlier export.

    Args:
        kind: "arduino", or "platformio" (which ESP-IDF takes as a component, too).

    Returns:
        The files written.
    """
    if kind not in KINDS:
        raise FirmwareBridgeError(f"library kind {kind!r} is none of {', '.join(KINDS)}")
    folder = Path(folder)
    files = _arduino() if kind == "arduino" else _platformio()
    written = []
    try:
        strangers = folder.exists() and any(folder.iterdir()) and not (folder / "src" / "wavewall.h").exists()
        if strangers:
            raise FirmwareBridgeError(f"{folder} holds something else; name a new folder")
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written.append(path)
    except OSError as error:
        raise FirmwareBridgeError(f"{folder}: cannot write: {error.strerror or error}") from error
    return written
