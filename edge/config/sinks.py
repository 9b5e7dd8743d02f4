"""Where results go: one class for each kind of sink."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from edge.config.fields import Section


class MqttSink(Section):
    """Results on `<base>/<node>/stream/<id>/result`, events on `.../event`."""

    kind: Literal["mqtt"] = "mqtt"
    last: bool = Field(
        default=True, description="Also keep each stream's latest result, retained, on `last`."
    )


Holds = Literal["results", "events", "all"]
HOLDS: Any = Field(default="results", description="What is written; each line's `schema` tells which it is.")


class FileSink(Section):
    """Results appended to a file, one JSON object a line."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="The file; its folder must exist.")
    max_mb: int = Field(
        default=0,
        ge=0,
        le=1 << 20,
        description="A file of so many MiB becomes PATH.1, and the one before it goes; 0: never.",
    )
    keep_days: float = Field(
        default=0.0, ge=0, le=36_500, description="PATH.1 goes when it was last written so long ago; 0: never."
    )
    holds: Holds = HOLDS


class StdoutSink(Section):
    """Results on standard output, one JSON object a line."""

    kind: Literal["stdout"] = "stdout"
    holds: Holds = HOLDS


SinkSettings = Annotated[MqttSink | FileSink | StdoutSink, Field(discriminator="kind")]
