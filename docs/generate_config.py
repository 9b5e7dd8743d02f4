"""Write docs/config.md and the example configuration from the settings' own models:
``python -m docs.generate_config [--check]``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs import generate_example
from docs.generated import write_or_check
from edge.config import Settings
from edge.settings import KINDS, env_name, takes_flag

PAGE = Path(__file__).resolve().parent / "config.md"
HEAD = """# Configuration reference

Written by `make docs` from the settings themselves; `edge-agent schema` prints the same as JSON schema, for editors.

A setting may come from four places; a later one wins: its default, the TOML file given to `edge-agent run`, the environment (`WAVEWALL_MQTT_PORT` is `mqtt.port`), a flag (`--mqtt-port`). A key that does not exist is an error that names the nearest one. [deploy/config.example.toml](../deploy/config.example.toml) is a file to start from.

Lists are tables of a `kind`. On the command line they are written short: `--source serial:/dev/ttyUSB0,baud=9600`, `--source mqtt:bed-1+bed-2`, `--sink file:results.jsonl`; `--set source.0.baud=9600` changes one key of one entry.
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for section, info in Settings.model_fields.items():
        if section in KINDS:
            parts.append(f"## [[{section}]]\n\n{info.description}\n")
            for kind, model in KINDS[section].items():
                parts.append(f'### kind = "{kind}"\n\n{_doc(model)}\n\n{_table(model, None)}\n')
        else:
            model = info.annotation
            assert isinstance(model, type) and issubclass(model, BaseModel)
            parts.append(f"## [{section}]\n\n{_doc(model)}\n\n{_table(model, section)}\n")
    return "\n".join(parts).rstrip() + "\n"


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _table(model: type[BaseModel], section: str | None) -> str:
    properties = model.model_json_schema()["properties"]
    rows = []
    for key, field in model.model_fields.items():
        if key == "kind":
            continue
        row = [f"`{key}`", _cell(field.description or ""), _cell(_values(properties[key])), _default(field)]
        if section is not None:
            row.append(f"`{env_name(f'{section}.{key}')}`" + ("" if takes_flag(field) else " (no flag)"))
        rows.append(f"| {' | '.join(row)} |")
    if not rows:
        return "No further settings."
    head = ["", "", "values", "default"] + ([] if section is None else ["environment"])
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows])


def _values(schema: dict[str, Any]) -> str:
    """What a setting may be, in words, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_values(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_values(schema.get('items', {}))}"
    if kind == "object":
        return f"table of {_values(schema['additionalProperties'])}"
    if "pattern" in schema:
        return "name (`A-Z a-z 0-9 _ -`)"
    if schema.get("format") in ("path", "file-path"):
        return "path"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    names = {"integer": "whole number", "number": "number", "boolean": "true, false", "string": "text"}
    text = names.get(kind, kind)
    if low is not None:
        text += f" {'above' if 'exclusiveMinimum' in schema else 'from'} {low:g}"
    if high is not None:
        text += f" to {high:,.0f}" if high >= 1e5 else f" to {high:g}"
    return text


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default_factory() if field.default_factory is dict else field.default  # type: ignore[call-arg]
    if value is PydanticUndefined or value is None or isinstance(value, SecretStr):
        return ""  # computed, or none: the description says which
    return f"`{json.dumps(value, default=str)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or compare it (``--check``)."""
    if not write_or_check(PAGE, page()):
        return 1
    return 0 if "--check" in sys.argv[1:] else generate_example.main()


if __name__ == "__main__":
    sys.exit(main())
