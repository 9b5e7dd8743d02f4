"""The golden frames of firmware_bridge/vectors as C: what test_vectors.py compiles into vectors.c."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from firmware_bridge import payloads

VECTORS = Path(__file__).parents[2] / "firmware_bridge" / "vectors"
# Where Python refuses what a device says, the library, which reads only what a gateway says, skips the type.
_FROM_DEVICE = ("hello_", "samples_", "packed_")
_RESULTS = {
    "too_long": "WW_BAD_LENGTH",
    "cobs": "WW_BAD_COBS",
    "too_short": "WW_BAD_SHORT",
    "crc": "WW_BAD_CRC",
    "version": "WW_BAD_VERSION",
    "malformed": "WW_BAD_PAYLOAD",
}


def _load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def _text(value: str) -> str:
    return '"' + "".join(f"\\{byte:03o}" for byte in value.encode()) + '"'


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _decimal(value: float) -> str:
    mantissa, exponent = payloads.decimal(value)
    return f"{{{mantissa}, {exponent}}}"


def _number(value: int | None, unknown: int) -> str:
    return f"{unknown if value is None else value}u"


def _bytes(lines: list[str], name: str, value: str) -> str:
    """Declares an array of the bytes of a hexadecimal text; gives 'name, size'."""
    raw = bytes.fromhex(value)
    # C has no empty arrays.
    lines.append(f"static const uint8_t {name}[] = {{{', '.join(str(byte) for byte in raw or b'0')}}};")
    return f"{name}, {len(raw)}"


def _message(lines: list[str], name: str, row: dict[str, Any]) -> tuple[str, str]:
    """Declares what the message needs; gives its kind and the initialiser of its struct."""
    m = row["message"]
    kind = m["type"].lower()
    if kind == "hello":
        channels = ", ".join(
            f"{{{_text(c['name'])}, {_text(c['unit'])}, {_decimal(c['scale'])}, {_decimal(c['offset'])}}}"
            for c in m["channels"]
        )
        lines.append(f"static const ww_channel {name}_channels[] = {{{channels}}};")
        rate = Fraction(m["rate_hz"]).limit_denominator(0xFFFF)
        return kind, (
            f"{{{_text(m['device_id'])}, {_text(m['firmware'])}, {name}_channels, {len(m['channels'])}, "
            f"{m['boot']}u, {rate.numerator}u, {rate.denominator}u, {_flag(m['obeys_commands'])}, "
            f"{m['resend_samples']}}}"
        )
    if kind == "samples":
        count, channels = m["shape"]
        flat = [str(v) for sample in m["values"] for v in sample] or ["0"]
        lines.append(f"static const int16_t {name}_values[] = {{{', '.join(flat)}}};")
        return kind, (
            f"{{{m['seq']}u, {m['device_time_us']}u, {name}_values, {channels}, {count}, {m['lead_off']}, "
            f"{_flag(m['end'])}, {_flag(row['packed'])}}}"
        )
    if kind == "status":
        return kind, (
            f"{{{m['boot']}u, {m['device_time_us']}u, {m['dropped_samples']}u, {m['lead_off']}, "
            f"{_number(m['battery_mv'], 0xFFFF)}, {_number(m['battery_percent'], 0xFF)}, "
            f"{_flag(m['charging'])}}}"
        )
    if kind == "log":
        return kind, f"{{{m['device_time_us']}u, {m['level']}, {_text(m['text'])}}}"
    if kind == "ack":
        return kind, f"{{{m['id']}, {m['verb']}, {m['result']}, {m['value']}u}}"
    if kind == "command":
        return kind, f"{{{m['id']}, {m['verb']}, {m['first_seq']}u, {m['end_seq']}u}}"
    score = round(m["score"] * 1000)
    index = 255 if m["label_index"] is None else m["label_index"]
    return kind, f"{{{m['seq']}u, {m['count']}u, {m['status']}, {index}, {score}, {_text(m['label'])}}}"


def header() -> str:
    """The text of vectors.h."""
    lines = ["/* Made from firmware_bridge/vectors by tests/firmware/vectors_header.py. */"]
    checks = []
    for row in _load("frames.json"):
        name = row["name"]
        frame = _bytes(lines, f"{name}_frame", row["frame"])
        kind, value = _message(lines, name, row)
        struct = "log_case" if kind == "log" else f"ww_{kind}"
        lines.append(f"static const {struct} {name} = {value};")
        if "key" in row:
            _bytes(lines, f"{name}_key", row["key"])
            counter = row["counter"]
            key = f"{name}_key, {counter >> 32}u, {counter & 0xFFFFFFFF}u"
        else:
            key = "NULL, 0, 0"
        checks.append(f'    check_{kind}("{name}", &{name}, {key}, {frame});')
    for row in _load("bad.json"):
        data = _bytes(lines, f"bad_{row['name']}", row["bytes"])
        reasons = row["bad"]
        result = "WW_OK"
        if reasons is None:
            result = "WW_NONE"  # any
        elif row["name"].startswith(_FROM_DEVICE):
            result = "WW_UNKNOWN_TYPE"
        elif reasons:
            assert len(reasons) == 1, row["name"]
            result = _RESULTS[reasons[0]]
        elif "unknown" in row["name"]:
            result = "WW_UNKNOWN_TYPE"
        checks.append(f'    check_bad("{row["name"]}", {data}, {result}, {row["messages"]});')
    siphash = _load("siphash.json")
    _bytes(lines, "siphash_key", siphash["key"])
    for size, tag in enumerate(siphash["tags"]):
        word = int.from_bytes(bytes.fromhex(tag), "little")
        checks.append(f"    check_siphash({size}, 0x{word:016x}u);")
    return "\n".join([*lines, "", "static void check_all(void)", "{", *checks, "}", ""])
