"""Write deploy/config.example.toml from the settings' own models: every setting, its default and its reason.

``make docs`` calls it beside the references. A setting without a default gets a value to start from (`EXAMPLES`, or
one made from its type); only what a first gateway needs is not commented out (`ACTIVE`).
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from edge.config import Settings
from edge.settings import KINDS

FILE = Path(__file__).resolve().parent.parent / "deploy" / "config.example.toml"
HEAD = """# edge-agent run deploy/config.example.toml
#
# Every setting with its default, written by `make docs` from the settings themselves; limits and environment
# variables are in docs/config.md. Take away the mark before a line to change it. A key that does not exist is an
# error that names the nearest one. `edge-agent check FILE` tries it; SIGHUP, or `systemctl reload wavewall-agent`,
# makes a running agent read it again.
"""
ACTIVE = {"mqtt.host", "mqtt.port", "bundle.name", "source.mqtt", "sink.mqtt"}
EXAMPLES: dict[str, Any] = {
    "node.id": "gateway-1",
    "node.state_dir": "/var/lib/wavewall",
    "mqtt.ca_file": "/etc/wavewall/ca.crt",
    "mqtt.cert_file": "/etc/wavewall/gateway-1.crt",
    "mqtt.key_file": "/etc/wavewall/gateway-1.key",
    "mqtt.username": "gateway-1",
    "mqtt.password": "better a password_file",
    "mqtt.password_file": "/etc/wavewall/mqtt-password",
    "bundle.path": "/var/lib/wavewall/mine.bundle",
    "bundle.key": "/etc/wavewall/bundle-key.pub",
    "model.folder": "/var/lib/wavewall/models",
    "dashboard.listen": "127.0.0.1:8787",
    "dashboard.token_file": "/etc/wavewall/dashboard-token",
    "dashboard.user_header": "X-Remote-User",
    "source.serial.stream": "bench",
    "source.serial.rate_hz": 300.0,
    "source.serial.units": "uV",
    "source.serial.key_file": "/etc/wavewall/keys/board-1.key",
    "source.serial.key_folder": "/etc/wavewall/keys",
    "source.replay.recording": "record.hea",
    "source.replay.stream": "record",
    "source.replay.rate_hz": 300.0,
    "sink.file.path": "/var/lib/wavewall/results.jsonl",
}


def text() -> str:
    """The whole file."""
    parts = [HEAD]
    for section, info in Settings.model_fields.items():
        if section in KINDS:
            parts.append(f"# {info.description} As many tables [[{section}]] as there are.\n")
            parts += [_table(model, f"{section}.{kind}", section) for kind, model in KINDS[section].items()]
        else:
            model = info.annotation
            assert isinstance(model, type) and issubclass(model, BaseModel)
            parts.append(_table(model, section, None))
    return "\n".join(parts)


def _table(model: type[BaseModel], at: str, listed: str | None) -> str:
    """One table; those of a list are commented out whole, but for the active ones."""
    mark = "" if listed is None or at in ACTIVE else "# "
    lines = _remark(" ".join((model.__doc__ or "").split()))
    lines.append(f"{mark}[[{listed}]]" if listed else f"[{at}]")
    for key, field in model.model_fields.items():
        if key == "kind":
            lines.append(f'{mark}kind = "{at.partition(".")[2]}"')
            continue
        lines += _remark(field.description or "")
        active = f"{at}.{key}" in ACTIVE
        lines.append(f"{'' if active else '# '}{key} = {_toml(_value(f'{at}.{key}', field))}")
    return "\n".join(lines) + "\n"


def _remark(said: str) -> list[str]:
    return [f"## {line}" for line in textwrap.wrap(said, 112)]


def _value(key: str, field: FieldInfo) -> Any:
    if key in EXAMPLES:
        return EXAMPLES[key]
    default = field.get_default(call_default_factory=False)
    if default is not None and default is not PydanticUndefined and not isinstance(default, SecretStr):
        return default
    kind = str(field.annotation)
    return 1.0 if "float" in kind else 1 if "int" in kind else True if "bool" in kind else "..."


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(part) for part in value) + "]"
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False)


def uncommented(example: str) -> str:
    """The file with every setting in force, whatever they do to each other."""
    return re.sub(r"^# (?=\[\[|[a-z_0-9]+ = )", "", example, flags=re.MULTILINE)


def main() -> int:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")
    print(f"wrote deploy/{FILE.name}")
    return 0


if __name__ == "__main__":
    main()
