"""JSON schemas for programs in other languages: result.json and event.json (what is published),
manifest.json (in a bundle).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read_schema"]


def read_schema(name: str) -> dict[str, Any]:
    """The schema of that name, such as "result"."""
    schema: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text("utf-8"))
    return schema
