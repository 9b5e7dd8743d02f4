"""The agent on a real terminal (a pseudo-terminal), with and without colours, and where there is none."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import signal as samples
from tests.edge.tiny import RATE_HZ

SGR_COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m")


@pytest.fixture
def words(bundle: Path, tmp_path: Path) -> list[str]:
    """An agent that plays a record of 40 s at ten times real time."""
    record = Recording("bed-1", RATE_HZ, (Channel("ecg", "uV"),), analog=samples(4000)[:, None])
    write_recording(record, tmp_path / "r.npz")
    source = f"replay:{tmp_path / 'r.npz'},speed=10,stream=bed-1"
    return ["run", "--bundle-path", str(bundle), "--source", source, "--sink", f"file:{tmp_path / 'out.jsonl'}"]


def on_terminal(
    arguments: list[str], until: Callable[[bytes], bool], number: int = signal.SIGTERM, **env: str
) -> tuple[int, bytes]:
    """(exit code, all that the terminal showed); the signal is sent once `until` is content."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 110, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**clean, "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(theirs)
    shown, sent, deadline = b"", False, time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    piece = os.read(ours, 65536)
                except OSError:
                    break
                shown += piece
            if not sent and until(shown):
                process.send_signal(number)
                sent = True
            if process.poll() is not None and not select.select([ours], [], [], 0)[0]:
                break
        assert sent, shown[-2000:]
        return process.wait(10), shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def has_verdict(shown: bytes) -> bool:
    return b"bed-1" in shown and re.search("[▂▃▄▅▆▇█]{8}".encode(), shown) is not None and b" 0." in shown


def test_a_terminal_shows_the_streams_live(words: list[str]):
    code, shown = on_terminal(words, has_verdict, signal.SIGINT)
    assert code == 0
    assert shown.index(b"\x1b[?1049h") < shown.rindex(b"\x1b[?1049l"), "the screen is given back"
    text = shown.decode()
    for word in ("stream", "verdict", "score", "lag", "windows", "tiny@1.0.0", "1/1 streams"):
        assert word in text, word
    assert SGR_COLOUR.search(shown)
    assert "stopped;" in text[text.rindex("\x1b[?1049l") :], "what was said meanwhile is on the screen afterwards"
    assert "Traceback" not in text


def test_no_color_is_obeyed(words: list[str]):
    _, shown = on_terminal(words, has_verdict, NO_COLOR="1")
    assert not SGR_COLOUR.search(shown)


def test_plain_is_a_line_for_each_verdict(words: list[str], tmp_path: Path):
    code, shown = on_terminal([*words, "--plain"], lambda seen: seen.count(b"bed-1") > 5)
    assert code == 0
    assert b"\x1b[?1049h" not in shown
    lines = [line for line in shown.decode().splitlines() if "bed-1" in line and " s  " in line]
    assert len(lines) > 5
    results = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(results) >= len(lines) - 1


def test_a_dumb_terminal_gets_messages_alone(words: list[str]):
    _, shown = on_terminal(words, lambda seen: b"ready in" in seen, TERM="dumb")
    assert b"\x1b" not in shown


def test_no_terminal_gets_messages_on_standard_error_alone(words: list[str]):
    words[4] = words[4].replace("speed=10", "speed=100")
    command = [sys.executable, "-m", "edge.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert done.stdout == ""
    assert "ready in" in done.stderr
    assert "\x1b" not in done.stderr


def test_the_shell_completes_commands_and_names(tmp_path: Path):
    program = Path(sys.executable).with_name("edge-agent")

    def completed(line: str) -> list[str]:
        env = {**os.environ, "_EDGE_AGENT_COMPLETE": "complete_bash", "COMP_WORDS": line}
        env["COMP_CWORD"] = str(len(line.split(" ")) - 1)
        done = subprocess.run([program], capture_output=True, text=True, env=env, timeout=30)
        return done.stdout.split()

    assert "replay" in completed("edge-agent re")
    assert set(completed("edge-agent verify ecg")) == {"ecg-rhythm", "ecg-rhythm-nano", "ecg-undefended"}
    assert "ecg-rhythm" in completed("edge-agent run --bundle ecg")
    assert np.isin("--dashboard", completed("edge-agent run --dash")).all()
