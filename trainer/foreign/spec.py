"""window.toml: what one window of a foreign classifier is, and how the encode-decode in front of it is trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.bundle.preprocess import parse_steps
from edge.errors import ManifestError
from trainer.data.base import DataSpec
from trainer.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FrontSection(_Section):
    """The encode-decode. Everything has a default that follows from the windows."""

    levels: int = Field(32, ge=2, le=256)
    stride: int = Field(2, ge=1, le=16)
    kernel: int = Field(15, ge=3, le=63)
    width: int = Field(24, ge=4, le=128)
    noise: float | None = Field(None, ge=0, description="added while training; an eighth of the spread if absent")
    steps: int = Field(400, ge=1, le=100_000, description="training steps on the windows alone")
    attack_steps: int = Field(3, ge=0, description="PGD steps of the second phase, 0 for none (Keras only)")
    budget: float | None = Field(None, gt=0, description="its budget, raw units; 10 where those are uV, else 0.1")
    learning_rate: float = Field(0.003, gt=0)
    batch: int = Field(32, ge=2, le=1024)
    seed: int = 0


class WindowFile(_Section):
    """A whole window.toml."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    version: str = "1.0.0"
    labels: tuple[str, ...] = Field(min_length=2)
    channels: tuple[str, ...] = ("value",)
    units: str = "1"
    rate_hz: float = Field(gt=0)
    window_samples: int = Field(ge=8)
    hop_samples: int | None = Field(None, ge=1)
    preprocess: list[dict[str, Any]] = Field(default_factory=list)
    windows: str | None = Field(None, description="unlabelled recordings, from this file's folder on")
    outputs: Literal["auto", "probabilities", "logits"] = "auto"
    false_alarms: float = Field(0.01, gt=0, lt=1)
    min_agreement: float = Field(0.9, ge=0, le=1, description="of defended and own answers on windows held out")
    front: FrontSection = FrontSection()

    @model_validator(mode="after")
    def _possible(self) -> WindowFile:
        if self.hop_samples is not None and self.hop_samples > self.window_samples:
            raise ValueError("hop_samples is above window_samples: samples would go unseen")
        try:
            parse_steps(self.preprocess)
        except ManifestError as error:
            raise ValueError(str(error).removeprefix("manifest.json: ")) from error
        return self

    @property
    def data(self) -> DataSpec:
        """The same as the trainer's own data sets say it."""
        return DataSpec(self.name, self.labels, self.units, self.rate_hz, self.window_samples, self.channels)

    @property
    def budget(self) -> float:
        return self.front.budget or (10.0 if self.units == "uV" else 0.1)


def read_window_file(path: str | Path) -> WindowFile:
    """Read and check the file at ``path``.

    Raises:
        RecipeError: unreadable, not TOML, an unknown key or a value that cannot work; names the key.
    """
    path = Path(path)
    try:
        return WindowFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{path}: {key + ': ' if key else ''}{first['msg']}") from error
