"""What the commands share: errors as one line, quiet libraries, progress on standard error."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

P = ParamSpec("P")
T = TypeVar("T")
EXIT_MISTAKE = 2
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def tells_mistakes(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors that are ours become one line on standard error and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        from edge.errors import EdgeError
        from firmware_bridge.errors import FirmwareBridgeError
        from trainer.errors import TrainerError

        try:
            return command(*args, **kwargs)
        except (TrainerError, EdgeError, FirmwareBridgeError) as error:
            fail(str(error), EXIT_MISTAKE)
        except KeyboardInterrupt:
            fail("stopped", EXIT_INTERRUPTED)
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] in ("tensorflow", "keras", "matplotlib", "rich"):
                fail(f"{error.name} is not installed: pip install 'wavewall[trainer]'", EXIT_MISTAKE)
            raise
        raise AssertionError("fail() exits")

    return wrapped


def fail(message: str, code: int) -> None:
    """One line on standard error, then exit."""
    typer.echo(f"trainer: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


def quiet_libraries() -> None:
    """Keep TensorFlow's start-up notes off the terminal; call before anything imports Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@contextmanager
def progress_bar(*, unit: str) -> Iterator[Progress]:
    """A progress bar on standard error; where that is no terminal, nothing but what is printed."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        yield bar
