"""The demo as an animated picture: a real run of ``edge-agent demo``, its lines at the moments when they came."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

from docs.gallery import style

ANSI = re.compile(r"\x1b\[([0-9;]*)m")
COLOURS = {"1": "b", "31": "r", "32": "g", "33": "y"}
LINE, LEFT, COLUMNS = 17, 16, 112
SPEED = 2.0  # nobody looks at a picture for half a minute
HOLD_S = 8.0  # the last picture stays, then it begins again
LABEL = "A terminal during the attack demo: verdicts of an undefended and a defended model side by side"
Line = tuple[float, str]  # seconds since the start, text with its colours


def record(seconds: float) -> list[Line]:
    """The lines of one run.

    Raises:
        RuntimeError: the demo failed; what it said.
    """
    master, slave = pty.openpty()  # colours are for terminals
    env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    env |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    command = [sys.executable, "-m", "edge.cli", "demo", "--seconds", f"{seconds:g}"]
    began, rest = time.monotonic(), ""
    lines: list[Line] = []
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=env) as process:
        os.close(slave)
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            rest += data.decode("utf-8", "replace").replace("\r\n", "\n")
            *whole, rest = rest.split("\n")
            lines += [(time.monotonic() - began, line) for line in whole]
    os.close(master)
    if process.returncode:
        raise RuntimeError("\n".join(line for _, line in lines[-5:]))
    return lines


def svg(lines: list[Line], command: str) -> str:
    """Lines that appear one by one, over and over; a still picture where motion is not wanted."""
    shown = [(0.0, f"\x1b[1m$ {command}\x1b[0m"), *((0.6 + t / SPEED, line) for t, line in wrapped(lines))]
    total = shown[-1][0] + HOLD_S
    height, width = LINE * len(shown) + 28, LEFT * 2 + round(COLUMNS * 7.25)
    rules, texts = [], []
    for at, (t, line) in enumerate(shown):
        share = 100 * t / total
        frames = f"0%,{share:.2f}%{{opacity:0}}{share + 0.01:.2f}%,100%{{opacity:1}}"
        rules.append(f"#l{at}{{animation-name:k{at}}}@keyframes k{at}{{{frames}}}")
        texts.append(f'<text id="l{at}" x="{LEFT}" y="{26 + LINE * at}">{_spans(line)}</text>')
    text = "font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d7dde6;white-space:pre"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{LABEL}">'
        f"<title>{LABEL}</title><style>text{{{text};animation:{total:.1f}s step-end infinite}}"
        ".b{font-weight:700}.r{fill:#ff8a80}.g{fill:#7ddf9a}.y{fill:#ffd166}"
        f"@media (prefers-reduced-motion:reduce){{text{{animation:none!important}}}}{''.join(rules)}</style>"
        f'<rect width="100%" height="100%" rx="8" fill="#10151d"/>{"".join(texts)}</svg>\n'
    )


def wrapped(lines: list[Line]) -> list[Line]:
    """The lines cut to the terminal's width; what goes on is indented and keeps its colour."""
    out: list[Line] = []
    for t, line in lines:
        rest = ANSI.sub("", line)
        if len(rest) <= COLUMNS:
            out.append((t, line))
            continue
        first = ANSI.match(line)
        colour, indent = (first[0] if first else ""), ""
        while rest:
            room = COLUMNS - len(indent)
            cut = len(rest) if len(rest) <= room else max(rest.rfind(" ", 0, room), 0) or room
            out.append((t, f"{colour}{indent}{rest[:cut]}\x1b[0m"))
            rest, indent = rest[cut:].strip(), "    "
    return out


def _spans(line: str) -> str:
    out, colour, at = [], "", 0
    for match in [*ANSI.finditer(line), None]:
        text = escape(line[at : match.start() if match else None].rstrip("\r"))
        if text:
            out.append(f'<tspan class="{colour}">{text}</tspan>' if colour else text)
        if match:
            colour, at = COLOURS.get(match[1], ""), match.end()
    return "".join(out)


def make(seconds: float = 24.0) -> list[Path]:
    """docs/images/demo.svg."""
    path = style.IMAGES / "demo.svg"
    path.write_text(svg(record(seconds), f"make demo SECONDS={seconds:g}"), encoding="utf-8")
    return [path]
