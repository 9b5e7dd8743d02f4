from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_bridge import export_library
from firmware_bridge.errors import FirmwareBridgeError


def test_arduino_layout(tmp_path: Path):
    folder = tmp_path / "wavewall"
    written = export_library.export_library(folder, "arduino")
    names = {path.relative_to(folder).as_posix() for path in written}
    assert {"library.properties", "src/wavewall.h"} <= names
    sketches = {name for name in names if name.endswith(".ino")}
    # The Arduino IDE opens a sketch only from a folder of its name.
    assert sketches
    assert all(Path(name).stem == Path(name).parent.name for name in sketches)
    properties = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())
    assert {"name", "version", "author", "maintainer", "sentence", "category", "architectures"} <= set(
        properties
    )
    # Again over an earlier export is an update.
    assert export_library.export_library(folder, "arduino") == written


def test_platformio_and_esp_idf_layout(tmp_path: Path):
    export_library.export_library(tmp_path, "platformio")
    manifest = json.loads((tmp_path / "library.json").read_text())
    assert (manifest["name"], manifest["headers"]) == ("wavewall", "wavewall.h")
    cmake = (tmp_path / "CMakeLists.txt").read_text()
    sources = sorted(path.name for path in (tmp_path / "src").glob("*.c"))
    assert sources
    assert all(f'"src/{name}"' in cmake for name in sources)
    assert "version:" in (tmp_path / "idf_component.yml").read_text()


def test_what_is_exported_compiles_alone(tmp_path: Path):
    compiler = shutil.which("cc")
    assert compiler, "no C compiler; run: make deps"
    export_library.export_library(tmp_path, "arduino")
    for source in sorted((tmp_path / "src").glob("*.c")):
        done = subprocess.run(
            [compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(source)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(FirmwareBridgeError, match="'mbed' is none of arduino, platformio"):
        export_library.export_library(tmp_path / "x", "mbed")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FirmwareBridgeError, match="holds something else"):
        export_library.export_library(tmp_path, "arduino")
    with pytest.raises(FirmwareBridgeError, match="cannot write"):
        export_library.export_library(tmp_path / "mine.txt", "arduino")
    monkeypatch.setattr(export_library, "_HERE", tmp_path)
    with pytest.raises(FirmwareBridgeError, match="without the C library"):
        export_library.export_library(tmp_path / "y", "arduino")
