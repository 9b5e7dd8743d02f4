"""What the commands share: errors as one line, quiet libraries, progress on standard error."""

from __future__ import annotations

import functools
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

P = ParamSpec("P")
T = TypeVar("T")
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
TELL_EVERY_S = 30.0


def tells_mistakes(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose errors that are ours become one line on standard error and exit code 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        from edge.errors import EdgeError
        from firmware_bridge.errors import FirmwareBridgeError
        from trainer.errors import TrainerError

        try:
            return command(*args, **kwargs)
        except (TrainerError, EdgeError, FirmwareBridgeError) as error:
            fail(str(error), EXIT_FAILED)
        except KeyboardInterrupt:
            fail("stopped", EXIT_INTERRUPTED)
        except ModuleNotFoundError as error:
            if error.name and error.name.split(".")[0] in ("tensorflow", "keras", "matplotlib", "rich"):
                fail(f"{error.name} is not installed: pip install 'wavewall[trainer]'", EXIT_FAILED)
            raise
        raise AssertionError("fail() exits")

    return wrapped


def fail(message: str, code: int) -> None:
    """One line on standard error, then exit."""
    typer.echo(f"trainer: {' '.join(message.split())}", err=True)
    raise typer.Exit(code)


def load_keras() -> None:
    """Import Keras and its backend without their start-up notes: TensorFlow, or what ``KERAS_BACKEND`` names.

    Raises:
        ModuleNotFoundError: the extra ``trainer`` is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with native_notes_hidden():
        if os.environ["KERAS_BACKEND"] == "tensorflow":
            import tensorflow  # noqa: F401  (first, since Keras would load it in any case)
        import keras  # noqa: F401

        # its logger would write to the stream of this block after the block has ended
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


@contextmanager
def native_notes_hidden() -> Iterator[None]:
    """Native libraries write nothing to standard error inside; Python still does.

    TensorFlow, its converter and LiteRT print notes that no setting silences. ``WAVEWALL_NATIVE_NOTES=1``
    keeps them.
    """
    if os.environ.get("WAVEWALL_NATIVE_NOTES") == "1":
        yield
        return
    sys.stderr.flush()
    before, kept = sys.stderr, os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        with warnings.catch_warnings(), os.fdopen(os.dup(kept), "w", buffering=1) as python_side:
            warnings.filterwarnings("ignore", module=r"tensorflow(\.|$)")
            if before is sys.__stderr__:  # a test's capture stays in place
                sys.stderr = python_side
            yield
    finally:
        sys.stderr = before
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


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


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """A function that tells one line of progress on standard error: in place on a terminal, every 30 s elsewhere.

    Lines that start with a bracket (a finished step) are always told.
    """
    told = -math.inf

    def tell(line: str) -> None:
        nonlocal told
        milestone = line.startswith("[")
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{line[:150]}" + ("\n" if milestone else ""))
            sys.stderr.flush()
        elif milestone or time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            typer.echo(line, err=True)

    yield tell
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[2K")
