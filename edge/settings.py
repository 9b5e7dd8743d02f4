"""Loads the settings: defaults < TOML file < `WAVEWALL_...` environment < flags, checked once, as a whole.

Every error says where the value came from, which key it is and, for a key that does not exist, the nearest one
that does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from edge.config import (
    FileSink,
    MqttSink,
    MqttSource,
    ReplaySource,
    SerialSource,
    Settings,
    StdoutSink,
)
from edge.errors import EdgeError

ENV_PREFIX = "WAVEWALL_"

KINDS: dict[str, dict[str, type[BaseModel]]] = {
    "source": {"serial": SerialSource, "mqtt": MqttSource, "replay": ReplaySource},
    "sink": {"mqtt": MqttSink, "file": FileSink, "stdout": StdoutSink},
}
# What stands right after the kind in `--source serial:/dev/ttyUSB0` and `--sink file:results.jsonl`.
_MAIN_KEY = {
    ("source", "serial"): "port",
    ("source", "mqtt"): "streams",
    ("source", "replay"): "recording",
    ("sink", "file"): "path",
}


class ConfigError(EdgeError):
    """A configuration that cannot be used. `key` is the dotted path at fault, "" for the file as a whole."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def load_settings(
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, str | Sequence[str]] | None = None,
    overrides: Sequence[str] = (),
) -> Settings:
    """Settings from a TOML file, the environment, flags (dotted path -> text) and `--set` texts ("a.b=c").

    `flags` may also hold `source` and `sink`, each a list of shorthands (see `parse_shorthand`).
    Raises ConfigError.
    """
    data: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if path is not None:
        data = read_toml(path)
        try:
            _check_keys(data, path.name)
        except ConfigError as error:
            at = line_of(path.read_text("utf-8"), error.key) if path.is_file() else 0
            raise ConfigError(f"{error} (line {at})" if at else str(error), key=error.key) from None
    for key, value, where in _from_env(env or {}):
        _assign(data, key, value, where)
        origin[key] = where
    for key, value in (flags or {}).items():
        where = f"--{key.replace('.', '-').replace('_', '-')}"
        if key in KINDS:
            if value:
                data[key] = [
                    parse_shorthand(key, v, where) for v in ([value] if isinstance(value, str) else value)
                ]
        else:
            _assign(data, key, value, where)
        origin[key] = where
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: write section.key=value", key=key)
        _refuse_secret(key.strip())
        _assign(data, key.strip(), value.strip(), "--set")
        origin[key.strip()] = f"--set {key.strip()}"
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise _readable(error, path, origin) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The file as a dict. Raises ConfigError with the line number of a syntax error."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        data: dict[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8"))
        return data
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line}: not UTF-8 text") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {_with_line(str(error))}") from error


def _with_line(message: str) -> str:
    """`Invalid value (at line 3, column 8)` -> `line 3, column 8: Invalid value`."""
    found = re.fullmatch(r"(.*) \(at (line \d+, column \d+)\)", message, re.DOTALL)
    return f"{found[2]}: {found[1]}" if found else message


def parse_shorthand(section: str, text: str, where: str) -> dict[str, Any]:
    """`KIND[:MAIN][,key=value...]` -> a table; lists are written a+b. Raises ConfigError."""
    head, *rest = text.split(",")
    kind, colon, main = head.strip().partition(":")
    if kind not in KINDS[section]:
        raise ConfigError(
            f"{where} {text}: unknown kind {kind!r}{suggestion(kind, KINDS[section])}", key=section
        )
    table: dict[str, Any] = {"kind": kind}
    if colon:
        key = _MAIN_KEY.get((section, kind))
        if key is None:
            raise ConfigError(f"{where} {text}: {kind} takes nothing after the colon", key=section)
        table[key] = main
    for part in rest:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigError(f"{where} {text}: {part!r} is not key=value", key=section)
        known = KINDS[section][kind].model_fields
        if key not in known:
            raise ConfigError(
                f"{where} {text}: {kind} has no setting {key!r}{suggestion(key, known)}", key=section
            )
        table[key] = value.strip()
    return table


def suggestion(wrong: str, known: Mapping[str, object] | Sequence[str]) -> str:
    """`; did you mean 'port'?`, or the list of what there is where nothing is near."""
    import difflib  # only for a mistake: it is large

    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(sorted(known))}"


def scalar_settings() -> Iterator[tuple[str, FieldInfo]]:
    """(dotted path, field) of every setting outside the lists, in the order of the models."""
    for section, info in Settings.model_fields.items():
        if section in KINDS:
            continue
        model = info.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        for key, field in model.model_fields.items():
            yield f"{section}.{key}", field


def takes_flag(field: FieldInfo) -> bool:
    """False for secrets, which must not be on a command line."""
    extra = field.json_schema_extra
    return not (isinstance(extra, dict) and extra.get("flag") is False)


def type_name(field: FieldInfo) -> str:
    """int, float, bool or str: how a value is written on a command line."""
    kinds = [field.annotation]
    if (
        get_origin(field.annotation) is Union
        or str(get_origin(field.annotation)) == "<class 'types.UnionType'>"
    ):
        kinds = [kind for kind in get_args(field.annotation) if kind is not type(None)]
    return kinds[0].__name__ if kinds[0] in (int, float, bool) else "text"


def _is_secret(key: str) -> bool:
    return any(key == name and not takes_flag(field) for name, field in scalar_settings())


def _refuse_secret(key: str) -> None:
    if _is_secret(key):
        says = f"--set {key}: every user of this machine can read a command line; use a file or {env_name(key)}"
        raise ConfigError(says, key=key)


def env_name(key: str) -> str:
    """`mqtt.port` -> `WAVEWALL_MQTT_PORT`."""
    return ENV_PREFIX + key.replace(".", "_").upper()


def _from_env(env: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """(dotted path, value, variable). Variables of other parts (WAVEWALL_DATA) name no section and are left alone."""
    names = {env_name(key): key for key, _ in scalar_settings()}
    # The lists as a whole first, so that WAVEWALL_SOURCE_0_PORT refines WAVEWALL_SOURCE.
    for variable in sorted(env):
        if not variable.startswith(ENV_PREFIX):
            continue
        text = env[variable]
        section = variable[len(ENV_PREFIX) :].split("_")[0].lower()
        if section not in Settings.model_fields:
            continue
        if section in KINDS:
            yield from _list_from_env(variable, section, text)
        elif variable in names:
            yield names[variable], text, variable
        else:
            raise ConfigError(
                f"environment variable {variable}: no such setting{suggestion(variable, names)}"
            )


def _list_from_env(variable: str, section: str, text: str) -> Iterator[tuple[str, Any, str]]:
    rest = variable[len(ENV_PREFIX) + len(section) :]
    if not rest:
        yield (
            section,
            [parse_shorthand(section, part, variable) for part in text.split(";") if part.strip()],
            variable,
        )
        return
    found = re.fullmatch(r"_(\d+)_([A-Z0-9_]+)", rest)
    if found is None:
        raise ConfigError(
            f"environment variable {variable}: write {ENV_PREFIX}{section.upper()} or "
            f"{ENV_PREFIX}{section.upper()}_0_KEY"
        )
    yield f"{section}.{found[1]}.{found[2].lower()}", text, variable


def _assign(data: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Put `value` at the dotted path, refusing a path that no setting has."""
    section, *rest = key.split(".")
    if section not in Settings.model_fields:
        raise ConfigError(
            f"{where}: no section {section!r}{suggestion(section, Settings.model_fields)}", key=key
        )
    if section in KINDS:
        if not rest:
            data[section] = value
            return
        entries = data.get(section)
        index = int(rest[0]) if rest[0].isdecimal() else -1
        if not isinstance(entries, list) or not 0 <= index < len(entries) or len(rest) != 2:
            count = len(entries) if isinstance(entries, list) else 0
            raise ConfigError(
                f"{where} {key}: write {section}.N.key with N below {count}, the number of [[{section}]] given",
                key=key,
            )
        entry = entries[index]
        known = KINDS[section].get(str(entry.get("kind")) if isinstance(entry, dict) else "")
        if known is not None and rest[1] not in known.model_fields:
            raise ConfigError(
                f"{where}: no setting {key!r}{suggestion(rest[1], known.model_fields)}", key=key
            )
        if isinstance(entry, dict):
            entry[rest[1]] = value
        return
    model = Settings.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel)
    if len(rest) != 1 or rest[0] not in model.model_fields:
        near = suggestion(".".join(rest), model.model_fields)
        raise ConfigError(f"{where}: no setting {key!r}{near}", key=key)
    table = data.setdefault(section, {})
    if isinstance(table, dict):
        table[rest[0]] = value


def _check_keys(data: Mapping[str, Any], name: str) -> None:
    """Refuse unknown keys of a file with the nearest known one; types are pydantic's business."""
    for section, value in data.items():
        if section not in Settings.model_fields:
            raise ConfigError(
                f"{name}: unknown section {section!r}{suggestion(section, Settings.model_fields)}",
                key=section,
            )
        model = Settings.model_fields[section].annotation
        if section in KINDS:
            for index, entry in enumerate(value if isinstance(value, list) else []):
                known = KINDS[section].get(str(entry.get("kind"))) if isinstance(entry, dict) else None
                if known is not None:
                    _check_table(entry, known, f"{section}.{index}", name)
        elif isinstance(value, Mapping) and isinstance(model, type) and issubclass(model, BaseModel):
            _check_table(value, model, section, name)


def line_of(text: str, key: str) -> int:
    """The line on which a TOML file says `section`, `section.key` or `section.N.key`; 0 where it is not found."""
    section, *rest = key.split(".")
    wanted = int(rest[0]) if rest and rest[0].isdecimal() else 0
    table, count = "", -1
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\s*\[\[?\s*([\w.-]+)\s*\]", line)
        if head:
            table = head[1]
            count += table == section
            if table == section and not rest:
                return number
        elif rest and table == section and count == wanted and re.match(rf"\s*{re.escape(rest[-1])}\s*=", line):
            return number
    return 0


def _check_table(table: Mapping[str, Any], model: type[BaseModel], at: str, name: str) -> None:
    for key in table:
        if key not in model.model_fields:
            raise ConfigError(
                f"{name}: unknown key {at}.{key}{suggestion(key, model.model_fields)}", key=f"{at}.{key}"
            )


_SAYS = {
    "missing": "is missing",
    "string_pattern_mismatch": "may hold A-Z a-z 0-9 _ - only, 1 to 64 of them",
    "union_tag_not_found": 'needs kind = "..."',
}


def _readable(error: ValidationError, path: Path | None, origin: Mapping[str, str]) -> ConfigError:
    lines, first = [], ""
    items = error.errors(include_url=False)
    broken = {item["loc"][0] for item in items if len(item["loc"]) > 1}
    for item in items:
        # pydantic drops bad entries first and then calls the list too short: an echo, not an error
        if item["type"] == "too_short" and item["loc"][0] in broken:
            continue
        # pydantic puts the union's tag into the location: source.0.serial.baud
        loc = [str(p) for p in item["loc"]]
        if len(loc) > 2 and loc[0] in KINDS and loc[2] in KINDS[loc[0]]:
            del loc[2]
        key = ".".join(loc)
        first = first or key
        where = next((origin[k] for k in (key, loc[0]) if k in origin), path.name if path else "settings")
        kind = item["type"]
        if kind == "union_tag_invalid":
            wrong = str(item.get("ctx", {}).get("tag", ""))
            says = f"unknown kind {wrong!r}{suggestion(wrong, KINDS[loc[0]])}"
        else:
            says = _SAYS.get(kind) or item["msg"].removeprefix("Value error, ")
        shown = (
            ""
            if kind == "missing" or isinstance(item["input"], (dict, list, tuple))
            else f" = {item['input']!r}"
        )
        if _is_secret(key) or "@" in shown:  # a URL with a password in it, in the wrong place
            shown = ""
        lines.append(f"{where}: {key}{shown}: {says}")
    return ConfigError("\n".join(lines), key=first)
