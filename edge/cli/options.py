"""Flags made from the settings themselves, so that every setting has one and none is written down twice."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import ArgumentInfo

from edge.config import Settings
from edge.settings import env_name, load_settings, scalar_settings, takes_flag, type_name

# Shorter names for what is typed most.
ALIASES = {"node.role": "--role", "bundle.name": "--bundle", "node.id": "--node", "dashboard.listen": "--dashboard"}
_METAVARS = {"int": "N", "float": "X", "bool": "true|false", "text": "TEXT"}


def bundle_names(incomplete: str) -> list[str]:
    """What the shell offers where a bundle is asked for; files it completes itself."""
    from edge.zoo import names

    return [name for name in names() if name.startswith(incomplete)]


def flag_name(key: str) -> str:
    """`mqtt.keepalive_s` -> `--mqtt-keepalive-s`."""
    return "--" + key.replace(".", "-").replace("_", "-")


def with_settings(
    command: Callable[..., None], wanted: Callable[[str], bool] = lambda key: True, *, parts: bool = True
) -> Callable[..., None]:
    """A typer command that takes CONFIG.toml, a flag for each `wanted` setting, and `parts` (--source, --sink, --set),
    loads the settings and calls `command(settings, **its own options)`.

    `command`'s first parameter is the settings; the others are declared as typer knows them. One called `loader` gets
    a function that loads the settings anew from the same places.
    """
    keys: dict[str, str] = {}
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    reloads = any(parameter.name == "loader" for parameter in own)
    own = [parameter for parameter in own if parameter.name != "loader"]
    # What a command is about comes first: `model install FILE [CONFIG.toml]`.
    subjects = [parameter for parameter in own if isinstance(parameter.default, ArgumentInfo)]
    parameters = [*subjects, _config_argument(), *(parameter for parameter in own if parameter not in subjects)]
    if parts:
        parameters += _part_options()
    for key, field in scalar_settings():
        if takes_flag(field) and wanted(key):
            name = key.replace(".", "__")
            keys[name] = key
            parameters.append(_setting_option(name, key, field))

    def wrapper(**given: Any) -> None:
        flags: dict[str, Any] = {key: given.pop(name) for name, key in keys.items()}
        flags = {key: value for key, value in flags.items() if value is not None}
        path = given.pop("config")
        overrides = given.pop("set_", None) or []
        for section in ("source", "sink"):
            if given.get(section):
                flags[section] = given[section]
            given.pop(section, None)
        loader = partial(load_settings, path, dict(os.environ), flags, overrides)
        if reloads:
            given["loader"] = loader
        command(loader(), **given)

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    wrapper.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in keyword}
    wrapper.__doc__ = command.__doc__
    wrapper.__name__ = command.__name__
    return wrapper


def _config_argument() -> inspect.Parameter:
    return _parameter(
        "config",
        Path | None,
        typer.Argument(None, metavar="CONFIG.toml", help="Configuration file; every setting has a default."),
    )


def _part_options() -> list[inspect.Parameter]:
    return [
        _parameter(
            "source",
            list[str] | None,
            typer.Option(
                None,
                "--source",
                metavar="KIND[:MAIN][,KEY=VALUE...]",
                help="A source instead of the configured ones: serial:/dev/ttyUSB0, mqtt, replay:FILE. Lists: a+b.",
            ),
        ),
        _parameter(
            "sink",
            list[str] | None,
            typer.Option(
                None,
                "--sink",
                metavar="KIND[:MAIN][,KEY=VALUE...]",
                help="A sink instead of the configured ones: mqtt, file:results.jsonl, stdout.",
            ),
        ),
        _parameter(
            "set_",
            list[str] | None,
            typer.Option(
                None, "--set", metavar="SECTION.KEY=VALUE", help="Any setting, e.g. source.0.baud=9600."
            ),
        ),
    ]


def _setting_option(name: str, key: str, field: FieldInfo) -> inspect.Parameter:
    names = [flag_name(key)] + ([ALIASES[key]] if key in ALIASES else [])
    default = field.default
    shown = "" if default is None or default is PydanticUndefined else f" Default {default}."
    option = typer.Option(
        None,
        *names,
        metavar=_METAVARS[type_name(field)],
        help=f"{field.description}{shown} Environment: {env_name(key)}.",
        rich_help_panel=key.partition(".")[0],
        show_default=False,
        autocompletion=bundle_names if key == "bundle.name" else None,
    )
    return _parameter(name, str | None, option)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def settings_defaults() -> Settings:
    """Settings from the environment alone, for commands without a configuration file."""
    return load_settings(None, os.environ)


def option_time(option: str, text: str | None) -> float | None:
    """UTC seconds of an RFC 3339 time given to an option. Raises ConfigError."""
    from edge.settings import ConfigError
    from edge.types import parse_time

    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: give a time as 2026-01-31T08:00:00Z", key=option) from error
