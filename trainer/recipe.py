"""A training recipe: a TOML file, checked whole before anything starts.

A recipe holds every number that decides the result; the data's place and the output folder are arguments.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainer.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(_Section):
    """``kind`` names the loader; ``name`` one data set of an archive; the rest is how windows are drawn."""

    kind: Literal["cinc2017", "ucr", "own"]
    name: str = ""
    class_weights: dict[str, float] = Field(default_factory=dict, description="how often a class is drawn")
    oversample: dict[str, int] = Field(
        default_factory=dict, description="copies of a class's records in the training part"
    )
    oversample_before_split: bool = Field(
        False,
        description="the order of paper 2's text: copies of a record on both sides, so figures too good",
    )
    place: bool = False
    crop: float = Field(0.0, ge=0, le=1)
    crop_min: float = Field(0.5, gt=0, le=1)
    gain: float = Field(0.0, ge=0)
    sign: float = Field(0.0, ge=0, le=1)
    noise: float = Field(0.0, ge=0, description="standard deviation of added noise, input units")
    warp: float = Field(0.0, ge=0, lt=1, description="how far a smooth random warp changes the local speed")
    mix: float = Field(0.0, ge=0, le=1, description="share of windows that are mixed with another of the batch")
    preprocess: list[dict[str, Any]] = Field(
        default_factory=list, description="the bundle's preprocessing steps"
    )
    folds: int = Field(0, ge=0, le=100, description="parts that the training records fall in, by name")
    leave_out: int | None = Field(
        None, ge=0, description="the fold not trained on, whose soft labels this run may give (cross-fitting)"
    )

    refit: bool = Field(
        False,
        description="learn from the validation records, too; export takes what they decide from a run before",
    )

    @model_validator(mode="after")
    def _a_refit_leaves_nothing_out(self) -> DataSection:
        if self.refit and (self.leave_out is not None or self.oversample_before_split):
            raise ValueError("refit learns from all but the test records; drop leave_out and oversample_before_split")
        return self

    @model_validator(mode="after")
    def _a_fold_of_several(self) -> DataSection:
        if self.leave_out is not None and (self.folds < 2 or self.leave_out >= self.folds):
            raise ValueError("leave_out is a fold from 0 to folds - 1, and folds is at least 2")
        return self

    @model_validator(mode="after")
    def _one_way_to_balance(self) -> DataSection:
        if self.oversample and self.class_weights:
            raise ValueError("oversample and class_weights both repeat records; keep one")
        return self


class ModelSection(_Section):
    """A classifier by name with its arguments; ``encode_decode`` puts the thermometer encode-decode in front."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    encode_decode: dict[str, Any] | None = None


class DefenseSection(_Section):
    """``epsilons``: the budgets a record's attack is drawn from, input units; other keys go to the defence."""

    name: Literal["none", "adversarial_training", "trades", "distillation", "adt", "jacobian", "nsr"] = "none"
    epsilons: list[float] = Field(default_factory=list)
    arguments: dict[str, Any] = Field(default_factory=dict)


class DistillationSection(_Section):
    """One of two stages (paper 2): the second learns from the probabilities of the first's finished run.

    ``teacher``: that run's folder, from the recipe's own folder on; ``trainer train --teacher`` replaces it.
    ``cross_fit``: a teacher is not asked about records that it was trained on, where another was not.
    """

    stage: Literal[1, 2]
    temperature: float = Field(1.0, gt=0)
    teacher: str | None = None
    cross_fit: bool = True


class TrainingSection(_Section):
    epochs: int = Field(ge=1, le=100_000)
    batch: int = Field(ge=2, le=4096)
    learning_rate: float = Field(0.002, gt=0)
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    patience: int = Field(50, ge=1, description="plateau: epochs without a lower loss before the rate is halved")
    rate_floor: float = Field(1e-4, gt=0, description="plateau: the rate goes no lower")
    stop_after: int = Field(0, ge=0, description="epochs without a lower training loss that end a phase; 0: never")
    stop_delta: float = Field(1e-4, ge=0, description="how much lower counts as lower there")
    keep: Literal["average", "lowest_loss"] = "average"
    settle_steps: int = Field(
        0, ge=0, description="batches at the end that only let normalisation's statistics follow the weights kept"
    )
    freeze_encode_decode: bool = Field(False, description="the classifier learns on fixed reconstructions")
    warmup_epochs: float = Field(1.0, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    prior_correction: float = Field(
        0.0, ge=0, le=1, description="share of log data.class_weights taken off the logits at the end"
    )
    average_decay: float = Field(0.0, ge=0, lt=1, description="running average of the weights; 0 is none")
    clip_norm: float = Field(5.0, gt=0)
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of products in training; bfloat16 where the processor has units for it"
    )
    seed: int = 0
    pretrain_epochs: int = Field(0, ge=0, description="epochs that train the encode-decode alone first")
    checkpoint_every_s: float = Field(120.0, ge=0)
    validate_limit: int = Field(512, ge=1)
    validate_every: int = Field(1, ge=1)


class ExportSection(_Section):
    """What the bundle says beyond the model: its name, hop and the largest accuracy lost by quantization."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    version: str = "1.0.0"
    hop_samples: int | None = Field(
        None, ge=1, description="samples between windows; the whole window if absent"
    )
    resolution: float | None = Field(
        None, gt=0, description="input units that one fine step of the raw path holds"
    )
    false_alarms: float = Field(
        0.01, gt=0, lt=1, description="share of clean validation windows that may be suspect"
    )
    abstentions: float = Field(
        0.01, ge=0, lt=1, description="share of clean validation windows that may abstain for a low score; 0: never"
    )
    max_drop: float = Field(0.02, ge=0, le=1)


class Recipe(_Section):
    data: DataSection
    model: ModelSection
    defense: DefenseSection = DefenseSection()
    distillation: DistillationSection | None = None
    training: TrainingSection
    export: ExportSection

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        name = self.defense.name
        if self.distillation is not None:
            if name not in ("adt", "distillation", "adversarial_training"):
                raise ValueError(
                    f"distillation needs defense.name adt, distillation or adversarial_training, not {name}"
                )
            if self.distillation.stage == 1 and self.distillation.teacher is not None:
                raise ValueError("distillation.teacher belongs to stage 2")
        if "temperature" in self.defense.arguments:
            raise ValueError("defense.arguments.temperature: set distillation.temperature instead")
        if self.training.prior_correction and not self.data.class_weights:
            raise ValueError("training.prior_correction takes data.class_weights back; there are none")
        if self.training.freeze_encode_decode and not self.training.pretrain_epochs:
            raise ValueError("training.freeze_encode_decode needs training.pretrain_epochs: a front that has learnt")
        if name in ("jacobian", "nsr") and self.model.encode_decode is not None:
            raise ValueError(f"defense.name {name} has no loss for model.encode_decode; leave one out")
        if name == "adt" and not self.defense.epsilons:
            raise ValueError(
                "defense.epsilons: adt attacks its own batches; give a budget, in the paper [10.0]"
            )
        return self


def read_recipe(path: str | Path) -> Recipe:
    """Read and check the recipe at ``path``.

    Raises:
        RecipeError: unreadable, not TOML (with the line), an unknown key or a value that cannot work.
    """
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        # a misspelt key also makes its right name missing: name the misspelling first
        first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{path}: {key}: {first['msg']}") from error
