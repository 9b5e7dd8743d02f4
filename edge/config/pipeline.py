"""What is done to samples: queue and windows, overload, events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from edge.config.fields import NotNegative, OpenShare, Seconds, Section, Share, Shares, Texts, split


class PipelineSettings(Section):
    """What lies between sources and sinks."""

    queue_blocks: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="Sample blocks that wait; when full, sources wait (nothing is dropped).",
    )
    max_streams: int = Field(
        default=256, ge=1, le=100_000, description="Streams at once; samples of further ones are dropped."
    )
    stream_idle_s: Seconds = Field(default=3600.0, description="A stream silent for so long is forgotten.")
    silent_s: Seconds = Field(
        default=30.0,
        description="A stream silent for so long, and for three messages, is announced as offline.",
    )


Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{0,64}\*?$", min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(split)]


class OverloadSettings(Section):
    """What happens when windows come faster than they are judged (docs/overload.md)."""

    mode: Literal["wait", "stretch", "shed"] = Field(
        default="wait",
        description="wait: nothing is left out, latency grows. stretch: all but high-priority streams answer fewer "
        "windows. shed: low-priority streams answer none, then all but the high-priority ones.",
    )
    lag_s: Seconds = Field(default=1.0, description="Samples that wait longer than this are an overload.")
    recover_s: Seconds = Field(
        default=5.0, description="After so long with less than a quarter of lag_s, a step less is left out."
    )
    high: Patterns = Field(
        default=(), description="Streams that keep every window and go first; NAME or BEGINNING*."
    )
    low: Patterns = Field(default=(), description="Streams whose windows are shed first; NAME or BEGINNING*.")


class EventSettings(Section):
    """What people are told of: windows that agree become one event. All seconds are the signal's own."""

    labels: Texts = Field(
        default=(), description="Labels of the bundle whose appearance is an event. Default: none."
    )
    threshold: Share = Field(
        default=0.5, description="A window with this probability of the label speaks for it."
    )
    thresholds: Shares = Field(
        default_factory=dict,
        description="Instead, for single labels: { af = 0.6 }, in a flag af=0.6+other=0.8.",
    )
    hysteresis: Share = Field(
        default=0.1,
        description="An event goes on while the probability is no more than this below its threshold.",
    )
    k: int = Field(default=2, ge=1, le=8640, description="So many of the last n judged windows must agree.")
    n: int = Field(default=3, ge=1, le=8640, description="Windows that are looked at together.")
    min_s: NotNegative = Field(default=0.0, description="A label's event is told once it has lasted so long.")
    cooldown_s: NotNegative = Field(
        default=0.0, description="Windows within so long of an event's end start no other."
    )
    gap_s: Seconds = Field(
        default=300.0, description="An event ends when no window could be judged for so long."
    )
    update_s: NotNegative = Field(default=60.0, description="Least time between two updates of an event.")
    tamper: bool = Field(
        default=True, description="Suspect windows raise `tamper` events and the attack rate is watched."
    )
    tamper_k: int = Field(default=2, ge=1, le=8640, description="k for suspect windows.")
    tamper_n: int = Field(default=3, ge=1, le=8640, description="n for suspect windows.")
    clean_rate: OpenShare = Field(
        default=0.01, description="Share of clean windows that are suspect (edge-agent calibrate sets it up)."
    )
    attacked_rate: OpenShare = Field(
        default=0.2, description="Share of suspect windows that the attack-rate alarm is made to notice."
    )
    false_alarm_days: Seconds = Field(
        default=30.0,
        description="Mean time between false attack-rate alarms of one stream, in days of signal, at least.",
    )

    @model_validator(mode="after")
    def _rules_make_sense(self) -> EventSettings:
        for k, n, name in ((self.k, self.n, "k"), (self.tamper_k, self.tamper_n, "tamper_k")):
            if k > n:
                raise ValueError(f"{name} = {k} is above n = {n}: of {n} windows at most {n} can agree")
        if self.clean_rate >= self.attacked_rate:
            raise ValueError(
                f"clean_rate = {self.clean_rate:g} is not below attacked_rate = {self.attacked_rate:g}"
            )
        unknown = sorted(set(self.thresholds) - set(self.labels))
        if unknown:
            raise ValueError(f"thresholds names {', '.join(unknown)}, which is not among labels")
        return self
