"""What settings are made of: the base of every table, and the kinds of values that many of them take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from edge.names import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def split(value: Any) -> Any:
    """`a+b` -> (a, b): how a list is written in a flag or an environment variable."""
    return tuple(part for part in value.split("+") if part) if isinstance(value, str) else value


Names = Annotated[tuple[Name, ...], BeforeValidator(split)]
Texts = Annotated[tuple[str, ...], BeforeValidator(split)]


def _pairs(value: Any) -> Any:
    """`a=0.6+b=0.8` -> {"a": "0.6", "b": "0.8"}: how a table of numbers is written in a flag or the environment."""
    if not isinstance(value, str):
        return value
    found = {}
    for part in value.split("+"):
        key, equals, number = part.rpartition("=")
        if not equals:
            raise ValueError(f"{part!r} is not LABEL=NUMBER")
        found[key] = number
    return found


Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[dict[str, Share], BeforeValidator(_pairs)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 365)]
NotNegative = Annotated[float, Field(ge=0, le=86_400 * 365)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """One table of the file: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, validate_default=False)
