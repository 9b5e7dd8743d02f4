"""Typed, strict access to a JSON object: every refusal names the field by its dotted path."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from edge.errors import BundleError, ManifestError
from edge.types import parse_time

__all__ = ["Fields", "load_json"]

# No name, unit or label that a person reads is longer; keeps error messages and results short.
MAX_TEXT = 200


def load_json(data: bytes, member: str) -> Any:
    """JSON as the standard has it: no NaN, no key twice. Raises BundleError that names the member."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        message = f"{member}: not valid JSON ({error}); export the bundle again"
        raise BundleError(message, member=member) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")  # readers differ in which one wins
    return result


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


class Fields:
    """One JSON object being read. `close` refuses the keys that nobody asked for."""

    __slots__ = ("_data", "_path", "_seen")

    def __init__(self, data: Any, path: str) -> None:
        if not isinstance(data, dict):
            what = path or "the whole"
            raise ManifestError(f"manifest.json: {what} is not an object; use {{...}}", field=path)
        self._data: dict[str, Any] = data
        self._path = path
        self._seen: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def wrong(self, key: str, what: str) -> ManifestError:
        """The error for a field of this object: `what` goes on after its name."""
        path = f"{self._path}.{key}" if self._path else key
        return ManifestError(f"manifest.json: {path} {what}", field=path)

    def get(self, key: str) -> Any:
        """The raw value; absent is an error."""
        if key not in self._data:
            raise self.wrong(key, "is missing; add it")
        self._seen.add(key)
        return self._data[key]

    def text(self, key: str, *, pattern: re.Pattern[str] | None = None) -> str:
        """A string of 1 to MAX_TEXT characters."""
        value = self.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
            raise self.wrong(key, f"is not a printable text of 1 to {MAX_TEXT} characters; correct it")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"is {value!r}, which does not match {pattern.pattern}; correct it")
        return value

    def time(self, key: str) -> str:
        """An RFC 3339 time, kept as written."""
        value = self.text(key)
        try:
            parse_time(value)
        except (ValueError, OverflowError) as error:
            raise self.wrong(key, f"is {value!r}, no RFC 3339 time; write 2026-01-31T08:00:00Z") from error
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """One of the given words."""
        value = self.get(key)
        if value not in choices:
            raise self.wrong(key, f"is {value!r}; use {' or '.join(choices)}")
        return str(value)

    def number(
        self, key: str, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf
    ) -> float:
        """A finite number within bounds."""
        return self._number(key, self.get(key), least, above, most)

    def optional_number(self, key: str, *, least: float = -math.inf, most: float = math.inf) -> float | None:
        """The same, or null."""
        return None if self.get(key) is None else self.number(key, least=least, most=most)

    def numbers(self, key: str, *, least: int, most: int) -> tuple[float, ...]:
        """A list of `least` to `most` finite numbers."""
        values = self._list(key, least, most)
        return tuple(self._number(key, value, -math.inf, -math.inf, math.inf) for value in values)

    def integer(self, key: str, *, least: int, most: int = 1 << 53) -> int:
        """A whole number within bounds."""
        return self._integer(key, self.get(key), least, most)

    def integers(self, key: str, *, least: int, most: int) -> tuple[int, ...]:
        """A list of `least` to `most` whole numbers, each one or more."""
        return tuple(self._integer(key, value, 1, 1 << 31) for value in self._list(key, least, most))

    def texts(self, key: str, *, least: int, most: int) -> tuple[str, ...]:
        """A list of `least` to `most` different names."""
        values = self._list(key, least, most)
        for value in values:
            if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
                raise self.wrong(
                    key, f"holds more than printable texts of 1 to {MAX_TEXT} characters; correct it"
                )
        if len(set(values)) != len(values):
            raise self.wrong(key, "names one thing twice; make the names differ")
        return tuple(values)

    def array(self, key: str) -> list[Any]:
        """A list of anything."""
        value = self.get(key)
        if not isinstance(value, list):
            raise self.wrong(key, "is not a list; use [...]")
        return value

    def object(self, key: str) -> Fields:
        """An object one level down."""
        path = f"{self._path}.{key}" if self._path else key
        return Fields(self.get(key), path)

    def optional_object(self, key: str) -> Fields | None:
        """The same, or null."""
        return None if self.get(key) is None else self.object(key)

    def close(self) -> None:
        """Refuse unknown keys: a misspelt threshold that is quietly ignored would weaken the bundle."""
        for key in self._data:
            if key not in self._seen:
                raise self.wrong(key[:MAX_TEXT], "is not in this schema; remove it or update wavewall")

    def _list(self, key: str, least: int, most: int) -> list[Any]:
        values = self.array(key)
        if not least <= len(values) <= most:
            raise self.wrong(key, f"holds {len(values)} values; use {least} to {most}")
        return values

    def _number(self, key: str, value: Any, least: float, above: float, most: float) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong(key, f"is {value!r:.40}, not a number; correct it")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or number < least or number <= above or number > most:
            bounds = f"above {above:g}" if above > -math.inf else f"from {least:g}"
            raise self.wrong(key, f"is {value!r:.40}; use a number {bounds} to {most:g}")
        return number

    def _integer(self, key: str, value: Any, least: int, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"is {value!r:.40}; use a whole number from {least} to {most}")
        return value
