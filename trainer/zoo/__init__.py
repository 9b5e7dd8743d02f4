"""Float Keras twins of the shipped bundles, one folder for each, and the recipes that made them.

A twin folder has its bundle's name and holds ``twin.keras`` (the averaged float model) and ``recipe.toml``.
Attacks on a bundle take their gradients from its twin.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["TWIN", "names", "twin_folder"]

TWIN = "twin.keras"
_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the bundles that have a twin here, sorted."""
    return tuple(sorted(path.parent.name for path in _FOLDER.glob(f"*/{TWIN}")))


def twin_folder(name: str) -> Path | None:
    """The twin's folder of the bundle called ``name``, or None when there is none."""
    return _FOLDER / name if name in names() else None
