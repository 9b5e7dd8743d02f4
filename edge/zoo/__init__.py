"""The bundles that ship with the agent, by name, and the universal waveforms that attack them."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import BundleError

__all__ = ["names", "resolve_bundle", "waveform_file"]

SUFFIX = ".bundle"
_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the shipped bundles, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob(f"*{SUFFIX}")))


def resolve_bundle(name_or_path: str | Path) -> Path:
    """The file of a shipped bundle's name, or the path itself. Raises BundleError when neither is there.

    What has a slash or ends in .bundle is a path; a bare word is a name first, then a file of that name.
    """
    text = os.fspath(name_or_path)
    is_path = os.sep in text or text.endswith(SUFFIX) or isinstance(name_or_path, Path)
    if not is_path and text in names():
        return _FOLDER / f"{text}{SUFFIX}"
    if os.path.lexists(text):
        return Path(text)
    if is_path:
        raise BundleError(f"{text}: no such file; give the path of a .bundle file or one of: {_listed()}")
    import difflib

    close = difflib.get_close_matches(text, names(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise BundleError(f"no bundle is called {text!r}; {hint}shipped are {_listed()}, or give a file's path")


def waveform_file(name: str) -> Path | None:
    """The stored universal waveform against the bundle of that name, None where there is none."""
    path = _FOLDER / f"{name}.universal.npz"
    return path if name in names() and path.exists() else None


def _listed() -> str:
    return ", ".join(names()) or "none"
