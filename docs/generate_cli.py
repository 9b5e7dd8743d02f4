"""Write docs/cli.md from the commands themselves: ``python -m docs.generate_cli [--check]``.

Only attributes that click and every typer since 0.12 share are read, so that the page does not change with
the version of either. ``--check`` writes nothing and exits 1 when the page is out of date.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.generated import write_or_check

PROGRAMS = {"edge-agent": "edge.cli.commands", "trainer": "trainer.cli", "firmware-bridge": "firmware_bridge.cli"}
PAGE = Path(__file__).resolve().parent / "cli.md"
HEAD = """# Command reference

Written by `make docs` from the commands themselves. Exit codes: 0 done, 1 it failed (one line on standard error says why and what to do), 2 the command line is wrong. A second Ctrl-C or SIGTERM ends `run` at once, with 128 and the signal's number.

`edge-agent --install-completion` teaches the shell to complete commands, options and the names of bundles. On a terminal `run` shows the streams live; `--plain`, a dumb terminal or none gives lines. Long commands show how far they are, and the time left, on standard error. `NO_COLOR` is obeyed everywhere; `--json` is for scripts.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that is not hidden, with its full name: (``edge-agent run``, command), programs first."""
    from typer.main import get_command

    for program, module in PROGRAMS.items():
        yield from _walk(program, get_command(importlib.import_module(module).app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if command.hidden:
        return
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from _walk(f"{name} {child.name}", child)


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for name, command in commands():
        level = "##" if name in PROGRAMS else "#" * (2 + name.count(" "))
        parts.append(f"{level} {name}\n")
        if not getattr(command, "commands", None):
            parts.append(f"```\n{_usage(name, command)}\n```\n")
        text = inspect.cleandoc((command.help or "").replace("\b", "").split("\f")[0]).strip()
        if text:
            parts.append(f"{text}\n")
        rows = [_row(parameter) for parameter in command.params if _shown(parameter)]
        if rows:
            parts.append("| | | default |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts).rstrip() + "\n"


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _shown(parameter: Any) -> bool:
    return not getattr(parameter, "hidden", False) and parameter.name not in (
        "help", "install_completion", "show_completion",
    )  # fmt: skip


def _usage(name: str, command: Any) -> str:
    words = [name]
    if any(_shown(parameter) and not _is_argument(parameter) for parameter in command.params):
        words.append("[OPTIONS]")
    for parameter in command.params:
        if _is_argument(parameter) and _shown(parameter):
            word = _metavar(parameter)
            word += "..." if parameter.nargs == -1 and not word.endswith("...") else ""
            words.append(word if parameter.required else f"[{word}]")
    return " ".join(words)


def _metavar(parameter: Any) -> str:
    """The placeholder of a value; without the brackets that some versions put around an optional one."""
    text = str(parameter.metavar or parameter.name.upper())
    return text[1:-1] if text[:1] == "[" and text.endswith("]") and "[" not in text[1:] else text


def _row(parameter: Any) -> str:
    if _is_argument(parameter):
        left = f"`{_metavar(parameter)}`"
    else:
        names = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
        value = "" if parameter.is_flag else f" {_metavar(parameter)}"
        left = names[:-1] + value + "`" if value else names
    text = " ".join((parameter.help or "").split())
    if getattr(parameter, "multiple", False):
        text = f"{text} May be given several times.".strip()
    return f"| {left} | {_cell(text)} | {_cell(_default(parameter))} |"


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or value == "" or callable(value) or value in ([], ()):
        return ""
    value = getattr(value, "value", value)
    if isinstance(value, (list, tuple)):
        value = ",".join(str(item) for item in value)
    if "Sentinel" in type(value).__name__ or not isinstance(value, (str, int, float, Path)):
        return ""
    return f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or compare it (``--check``)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return 0 if write_or_check(PAGE, page()) else 1


if __name__ == "__main__":
    sys.exit(main())
