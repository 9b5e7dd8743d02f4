"""A robustness card as text. What it says is the maker's word: shown as far as it is well-formed, and printable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

_INDENT: Final = "  "


def lines(card: Mapping[str, Any]) -> Iterator[str]:
    """The card, known sections as a person reads them, anything else as an outline."""
    for key, value in card.items():
        try:
            known = [f"{_INDENT}{text}" for text in _KNOWN[key](value)] if key in _KNOWN and value else None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            known = None  # a card of other making
        if known is not None:
            yield f"card: {key}:"
            yield from map(printable, known)
        else:
            yield from (printable(text) for text in _outline({key: value}, ""))


def printable(text: str) -> str:
    """Without what would move a terminal's cursor or hide text."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _outline(value: Any, indent: str) -> Iterator[str]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    mark = "" if indent else "card: "
    for key, item in items:
        if isinstance(item, list) and item and not any(isinstance(part, (Mapping, list)) for part in item):
            yield f"{indent}{mark}{key}: {', '.join(map(str, item))}"
        elif isinstance(item, (Mapping, list)) and item:
            yield f"{indent}{mark}{key}:"
            yield from _outline(item, indent + _INDENT)
        else:
            yield f"{indent}{mark}{key}: {item}"


def _data(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"{data['name']}, {data['train_records']} training and {data['validation_records']} validation records"
    yield str(data["credit"])
    yield f"split: {data['split']}"
    yield "validation: " + ", ".join(f"{n} {label}" for label, n in data["validation_balance"].items())


def _training(recipe: Mapping[str, Any]) -> Iterator[str]:
    defense, training, front = recipe["defense"], recipe["training"], recipe["model"].get("encode_decode")
    levels = f", encode-decode behind a thermometer of {front['levels']} levels" if front else ", no encode-decode"
    yield f"network: {recipe['model']['name']}{levels}"
    budgets = f" at {', '.join(f'{e:g}' for e in defense['epsilons'])}" if defense["epsilons"] else ""
    yield f"defence: {defense['name']}{budgets}"
    yield f"{training['epochs']} epochs, batches of {training['batch']}, seed {training['seed']}"
    yield "the whole recipe: --json"


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"{model['parameters']:,} parameters, {model['file_bytes']:,} bytes, {model['quantization']}"
    yield f"exported on {model['exported_on']}"
    speed = model.get("speed")
    if speed:
        busy = f", load {speed['load_1min']:g} on {speed['cores']} cores" if "load_1min" in speed else ""
        yield f"{speed['p50_ms']:g} ms a window (90 % within {speed['p90_ms']:g}), {speed['windows']} windows"
        yield f"measured on {speed['cpu']}, {speed['runtime']} {speed['runtime_version']}{busy}"


def _validation(found: Mapping[str, Any]) -> Iterator[str]:
    for name in ("float", "file"):
        yield f"{name}: {_interval(found[name])}, n {found[name]['n']}"
    yield f"same answer on {100 * found['agreement']:.1f} %"


def _calibration(found: Mapping[str, Any]) -> Iterator[str]:
    if found["fitted"]:
        yield (
            f"temperature {found['temperature']:.3f}, fitted on {found['n']} validation windows: loss "
            f"{found['loss_before']:.4f} to {found['loss_after']:.4f}"
        )
    else:
        yield f"temperature 1: too few of {found['n']} validation windows are answered wrongly to fit one"
    for name, error in found["error"].items():
        yield f"calibration error, {name}: {error['error']:.3f} ({error['low']:.3f} to {error['high']:.3f})"


def _decision(found: Mapping[str, Any]) -> Iterator[str]:
    for name in ("suspect", "abstain"):
        part = found.get(name)
        if part:
            limits = ", ".join(f"{what} {value:g}" for what, value in part["limits"].items() if value is not None)
            share = part["clean"]
            yield (
                f"{name} at {limits or 'nothing'}: {share['count']} of {share['n']} clean validation windows, "
                f"{share['share']:.4f} ({share['low']:.4f} to {share['high']:.4f}); chosen {part['chosen']:g}"
            )


def _evaluation(found: Mapping[str, Any]) -> Iterator[str]:
    rows = found["rows"]
    sizes = " or ".join(map(str, sorted({int(row["n"]) for row in rows})))
    by = f", wavewall {found['wavewall']}" if "wavewall" in found else ""
    yield f"accuracy with its 95 % interval, {sizes} records of {found['data']}, seed {found['seed']}{by}"
    table: list[tuple[str, ...]] = [("attack", "budget", "float twin", "file", "masking checks")]
    cells: dict[tuple[str, float], dict[bool, Mapping[str, Any]]] = {}
    for row in rows:
        ball = ", ".join(f"{key} {value}" for key, value in row.get("ball", {}).items())
        name = f"{row['attack']} ({ball})" if ball else str(row["attack"])
        cells.setdefault((name, float(row["epsilon"])), {})[row["target"] == "float"] = row
    for (attack, epsilon), pair in cells.items():
        one = next(iter(pair.values()))
        suite = one.get("suite")
        name = f"{attack} v{suite['version']}" if suite else attack
        budget = "" if attack == "clean" else f"{epsilon:g} {one['units']}"
        told = sorted({code for row in pair.values() for code in row["warnings"]})
        checks = "" if attack == "clean" else ", ".join(told) or "passed"
        both = [_interval(pair[kind]) if kind in pair else "" for kind in (True, False)]
        table.append((name, budget, *both, checks))
    yield from _aligned(table)


def _detector(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "of records that the attack turned from right to wrong, how many are suspect"
    table: list[tuple[str, ...]] = [("attacker", "budget", "turned", "operating point", "false alarms", "noticed")]
    for one in found:
        start = (one["attacker"], f"{one['epsilon']:g} {one['units']}", f"{one['flips']} of {one['right']}")
        for at in one.get("at", ()):
            table.append((*start, at["at"], _share(at["false_alarms"]), _share(at["noticed"])))
        if "at" not in one:
            table.append((*start, "", "", "nothing to notice"))
    yield from _aligned(table)


def _limits(text: str) -> Iterator[str]:
    yield from str(text).replace(". ", ".\n").splitlines()


def _interval(row: Mapping[str, Any]) -> str:
    if row["accuracy"] is None:
        return "no gradient"
    return f"{row['accuracy']:.3f} ({row['accuracy_low']:.3f} to {row['accuracy_high']:.3f})"


def _share(found: Mapping[str, Any]) -> str:
    return f"{found['share']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        yield _INDENT.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


_KNOWN: Final[Mapping[str, Callable[[Any], Iterator[str]]]] = {
    "data": _data,
    "training": _training,
    "model": _model,
    "validation": _validation,
    "calibration": _calibration,
    "decision": _decision,
    "evaluation": _evaluation,
    "detector": _detector,
    "limits": _limits,
}
