"""What a board of the wrong kind and a configuration of another version are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.pipeline.runtime import advice
from edge.settings import ConfigError, line_of, load_settings


@pytest.mark.parametrize(
    ("machine", "is_64_bit", "python", "says"),
    [
        ("x86_64", True, (3, 12), "install ai-edge-litert or tflite-runtime"),
        ("aarch64", True, (3, 13), "install ai-edge-litert or tflite-runtime"),
        ("armv7l", False, (3, 11), "Debian package for armhf"),
        ("aarch64", False, (3, 11), "Debian package for armhf"),  # a 64-bit kernel under a 32-bit system
        ("armv7l", False, (3, 12), "up to CPython 3.11 only"),
        ("armv6l", False, (3, 11), "take a Pi 2 or later"),
        ("riscv64", True, (3, 11), "none for riscv64"),
    ],
)
def test_a_board_without_a_runtime_is_told_what_works(
    machine: str, is_64_bit: bool, python: tuple[int, int], says: str
):
    assert says in advice(machine, is_64_bit, python)


OLD = """[mqtt]
host = "localhost"
prot = 1883

[[source]]
kind = "mqtt"

[[source]]
kind = "serial"
boud = 9600
"""


def test_a_configuration_of_another_version_names_the_line_to_change(tmp_path: Path):
    path = tmp_path / "agent.toml"
    path.write_text(OLD)
    with pytest.raises(ConfigError, match=r"unknown key mqtt.prot; did you mean 'port'\? \(line 3\)"):
        load_settings(path)
    path.write_text(OLD.replace("prot", "port"))
    with pytest.raises(ConfigError, match=r"source.1.boud; did you mean 'baud'\? \(line 10\)"):
        load_settings(path)
    path.write_text("[mqtt]\nport = 1\n\n[helth]\n")
    with pytest.raises(ConfigError, match=r"'helth'; did you mean 'health'\? \(line 4\)"):
        load_settings(path)


def test_a_line_that_is_not_there():
    assert line_of("mqtt.port = 1\n", "mqtt.prot") == 0
    assert line_of("", "") == 0
