"""docs/breadboard.md, followed by somebody without a board."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.test_documented import fenced_lines
from tests.firmware.building import FIRMWARE
from tests.firmware.emulators import Uno

pytestmark = [pytest.mark.firmware, pytest.mark.slow, pytest.mark.integration, pytest.mark.e2e]

PAGE = FIRMWARE.parents[1] / "docs" / "breadboard.md"
# Done by other tests, or another machine's.
NOT_HERE = (
    "python3 -m venv",
    "pip install",
    "arduino-cli",
    "make deps",
    "out/firmware/runner",
    "sudo",
    "export PORT",
)
EXPECTED = {
    "seq": "",
    "firmware-bridge export-library": "include <wavewall.h>",
    "firmware-bridge ports": "",
    "firmware-bridge monitor": "uno-ecg arduino-ecg 1.0",
    "firmware-bridge record": "heart",
    "edge-agent replay": " 30.0 s ",
    "edge-agent subscribe": "uno-ecg",
}


def test_ten_steps():
    steps = re.findall(r"^## (\d+)\. ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(step) for step in steps] == list(range(1, 11))


def test_the_steps_lead_to_a_verdict(built: Path, tmp_path: Path, mosquitto: int):
    lines = [line for line in fenced_lines(PAGE.read_text(encoding="utf-8")) if line]
    lines = [line for line in lines if not line.startswith(NOT_HERE)]
    heart = lines.pop(0)
    assert heart.startswith("seq ")
    env = {key: value for key, value in os.environ.items() if not key.startswith("WAVEWALL_")} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "WAVEWALL_MQTT_PORT": str(mosquitto),
        "WAVEWALL_BUNDLE_NAME": "ecg-undefended",
    }

    def shell(line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    shell(heart)
    done = set()
    with Uno(
        built / "runner", built / "arduino-ecg.elf", "--fast", "--adc", str(tmp_path / "heart.txt")
    ) as board:
        env["PORT"] = board.port
        agent: subprocess.Popen[bytes] | None = None
        try:
            for said in lines:
                name = " ".join(said.split(" ")[:2])
                # the emulator runs many times faster than a heart beats
                line = re.sub(r"--seconds \d+", "--seconds 5", said)
                line += " --count 2 --timeout-s 100" * (name == "edge-agent subscribe")
                if name == "edge-agent run":
                    with (tmp_path / "agent.log").open("wb") as log:
                        agent = subprocess.Popen(
                            ["bash", "-c", f"exec {line}"], cwd=tmp_path, env=env, stdout=log, stderr=log
                        )
                    continue
                assert EXPECTED[name] in shell(line), line
                done.add(name)
        finally:
            if agent is not None:
                agent.terminate()
                assert agent.wait(20) == 0
    assert done | {"seq"} == set(EXPECTED)
    installed = tmp_path / "Arduino" / "libraries" / "wavewall"
    assert (installed / "examples" / "arduino-ecg" / "arduino-ecg.ino").is_file()
    assert (tmp_path / "heart.npz").is_file()
