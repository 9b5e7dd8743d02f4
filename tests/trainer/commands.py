"""The trainer's commands, called as a user types them."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from trainer.cli import app


def trainer(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def good(*arguments: object) -> Result:
    result = trainer(*arguments)
    assert result.exit_code == 0, f"{result.output}{result.stderr}{result.exception!r}"
    return result
