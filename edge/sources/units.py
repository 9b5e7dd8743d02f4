"""Units in channel keys: `ecg_uv` is channel `ecg` in µV. Conversion to the bundle's unit is the pipeline's."""

from __future__ import annotations

_SUFFIXES = {
    "uv": "uV",
    "mv": "mV",
    "v": "V",
    "ua": "uA",
    "ma": "mA",
    "a": "A",
    "w": "W",
    "kw": "kW",
    "g": "g",
    "1": "1",
}


def split_key(key: str) -> tuple[str, str]:
    """(channel, unit) of a key; without a known suffix the unit is "" and the bundle's is meant."""
    name, underscore, suffix = key.rpartition("_")
    unit = _SUFFIXES.get(suffix.lower())
    return (name, unit) if underscore and name and unit is not None else (key, "")
