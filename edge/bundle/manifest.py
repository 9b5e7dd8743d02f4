"""manifest.json as dataclasses: what a bundle promises about its model, and the parser that holds it to that.

The JSON schema for other languages is edge/schemas/manifest.json; a test keeps the two alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from edge.errors import ManifestError

from .fields import Fields, load_json
from .preprocess import Step, parse_steps

__all__ = [
    "MANIFEST_SCHEMA",
    "MAX_CHANNELS",
    "MAX_LABELS",
    "MAX_WINDOW_VALUES",
    "OPTIONAL_OUTPUTS",
    "QUANTIZATIONS",
    "Decision",
    "InputSpec",
    "Manifest",
    "MemberEntry",
    "OutputSpec",
    "Thermometer",
]

MANIFEST_SCHEMA: Final = 1
# An hour at 300 Hz in one channel is 1.1 million values; in float32 that is 4 MB per stream, as much as a Pi
# with a hundred streams can give.
MAX_WINDOW_VALUES: Final = 1 << 20
# A bigger head is no longer something a person reads as a verdict; also bounds the size of a result message.
MAX_LABELS: Final = 256
# More leads than a 12-lead ECG plus motion by far; bounds the names kept in memory for each stream.
MAX_CHANNELS: Final = 64
# A thermometer multiplies the size of the model's first tensor by its levels.
MAX_THRESHOLDS: Final = 1024

QUANTIZATIONS: Final = ("int8", "float16", "dynamic", "none")
OPTIONAL_OUTPUTS: Final = ("probabilities_raw", "reconstruction", "embedding", "features")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")
_MEMBER = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9]+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a window holds: channels in order, their common unit, rate, length and hop in samples."""

    channels: tuple[str, ...]
    units: str
    rate_hz: float
    window_samples: int
    hop_samples: int
    pad: str = "center"


@dataclass(frozen=True, slots=True)
class Thermometer:
    """Thresholds of the encoder inside the graph, in the model's input unit; its numpy twin reads them."""

    thresholds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """Position of an output tensor in the interpreter's list, and its shape."""

    index: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Thresholds that turn scores into a status; None switches a test off.

    `max_missing` is a share of the window's real samples, `suspect_residual` in the model's input unit,
    `suspect_disagreement` a total variation (0..1), `abstain_score` the least probability of the top label.
    """

    max_missing: float = 0.2
    suspect_residual: float | None = None
    suspect_disagreement: float | None = None
    abstain_score: float | None = None


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """Hash and length of one stored member."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole manifest. `members` is filled in by write_bundle."""

    name: str
    version: str
    created: str
    labels: tuple[str, ...]
    input: InputSpec
    outputs: Mapping[str, OutputSpec]
    preprocess: tuple[Step, ...] = ()
    thermometer: Thermometer | None = None
    decision: Decision = field(default_factory=Decision)
    quantization: str = "none"
    members: Mapping[str, MemberEntry] = field(default_factory=dict)
    schema: int = MANIFEST_SCHEMA

    @property
    def ref(self) -> str:
        """Name and version in one word, as results carry it: ecg-rhythm@1.0.0."""
        return f"{self.name}@{self.version}"

    @property
    def window_shape(self) -> tuple[int, int]:
        """Samples and channels of one window."""
        return self.input.window_samples, len(self.input.channels)

    def with_members(self, members: Mapping[str, MemberEntry]) -> Manifest:
        """The same manifest for these members."""
        return replace(self, members=dict(members))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values in the order that they are stored."""
        return {
            "schema": self.schema,
            "name": self.name,
            "version": self.version,
            "created": self.created,
            "labels": list(self.labels),
            "input": {
                "channels": list(self.input.channels),
                "units": self.input.units,
                "rate_hz": self.input.rate_hz,
                "window_samples": self.input.window_samples,
                "hop_samples": self.input.hop_samples,
                "pad": self.input.pad,
            },
            "preprocess": [step.to_dict() for step in self.preprocess],
            "thermometer": None
            if self.thermometer is None
            else {"thresholds": list(self.thermometer.thresholds)},
            "outputs": {
                name: {"index": output.index, "shape": list(output.shape)}
                for name, output in self.outputs.items()
            },
            "decision": {
                "max_missing": self.decision.max_missing,
                "suspect_residual": self.decision.suspect_residual,
                "suspect_disagreement": self.decision.suspect_disagreement,
                "abstain_score": self.decision.abstain_score,
            },
            "quantization": self.quantization,
            "members": {
                name: {"sha256": entry.sha256, "bytes": entry.bytes} for name, entry in self.members.items()
            },
        }

    def to_json(self) -> bytes:
        """The bytes that are stored and signed: the same manifest always gives the same."""
        return (json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n").encode()

    @staticmethod
    def from_json(data: bytes) -> Manifest:
        """Parse stored bytes. Raises ManifestError that names the field."""
        return Manifest.from_dict(load_json(data, "manifest.json"))

    @staticmethod
    def from_dict(data: Any) -> Manifest:
        """Parse plain JSON values and check every rule that needs nothing but the manifest itself."""
        top = Fields(data, "")
        schema = top.integer("schema", least=0)
        if schema != MANIFEST_SCHEMA:
            raise ManifestError(
                f"manifest.json: schema version {schema} is unknown, this version reads {MANIFEST_SCHEMA}; "
                "update wavewall or export the bundle again",
                field="schema",
            )
        labels = top.texts("labels", least=2, most=MAX_LABELS)
        input_spec = _parse_input(top.object("input"))
        outputs = _parse_outputs(top.object("outputs"), len(labels), input_spec)
        thermometer = top.optional_object("thermometer")
        manifest = Manifest(
            schema=schema,
            name=top.text("name", pattern=_NAME),
            version=top.text("version", pattern=_VERSION),
            created=top.time("created"),
            labels=labels,
            input=input_spec,
            outputs=outputs,
            preprocess=parse_steps(top.array("preprocess")),
            thermometer=None if thermometer is None else _parse_thermometer(thermometer),
            decision=_parse_decision(top.object("decision"), outputs),
            quantization=top.choice("quantization", QUANTIZATIONS),
            members=_parse_members(top.object("members")),
        )
        top.close()
        return manifest


def _parse_input(fields: Fields) -> InputSpec:
    spec = InputSpec(
        channels=fields.texts("channels", least=1, most=MAX_CHANNELS),
        units=fields.text("units"),
        rate_hz=fields.number("rate_hz", above=0.0, most=1e7),
        window_samples=fields.integer("window_samples", least=2, most=MAX_WINDOW_VALUES),
        hop_samples=fields.integer("hop_samples", least=1, most=MAX_WINDOW_VALUES),
        pad=fields.choice("pad", ("center",)),
    )
    fields.close()
    if spec.window_samples * len(spec.channels) > MAX_WINDOW_VALUES:
        raise fields.wrong(
            "window_samples", f"times channels is above {MAX_WINDOW_VALUES}; use a shorter window"
        )
    if spec.hop_samples > spec.window_samples:
        raise fields.wrong(
            "hop_samples", "is above window_samples: samples would go unseen; use at most that"
        )
    return spec


def _parse_thermometer(fields: Fields) -> Thermometer:
    thresholds = fields.numbers("thresholds", least=1, most=MAX_THRESHOLDS)
    fields.close()
    if any(low >= high for low, high in pairwise(thresholds)):
        raise fields.wrong("thresholds", "do not rise strictly; sort them and drop the doubles")
    return Thermometer(thresholds)


def _parse_outputs(fields: Fields, labels: int, spec: InputSpec) -> dict[str, OutputSpec]:
    outputs: dict[str, OutputSpec] = {}
    for name in ("probabilities", *OPTIONAL_OUTPUTS):
        if name != "probabilities" and name not in fields:
            continue
        entry = fields.object(name)
        outputs[name] = OutputSpec(
            entry.integer("index", least=0, most=255), entry.integers("shape", least=1, most=8)
        )
        entry.close()
    fields.close()
    indices = [output.index for output in outputs.values()]
    if len(set(indices)) != len(indices):
        raise ManifestError(
            "manifest.json: two 'outputs' share one index; give each its own", field="outputs"
        )
    expected = {
        "probabilities": (1, labels),
        "probabilities_raw": (1, labels),
        "reconstruction": (1, spec.window_samples, len(spec.channels)),
    }
    for name, shape in expected.items():
        if name in outputs and outputs[name].shape != shape:
            why = f"{labels} labels" if len(shape) == 2 else "the window's samples and channels"
            raise ManifestError(
                f"manifest.json: outputs.{name}.shape is {list(outputs[name].shape)}, but {why} need "
                f"{list(shape)}; export the bundle again",
                field=f"outputs.{name}.shape",
            )
    return outputs


def _parse_decision(fields: Fields, outputs: Mapping[str, OutputSpec]) -> Decision:
    decision = Decision(
        max_missing=fields.number("max_missing", least=0.0, most=1.0),
        suspect_residual=fields.optional_number("suspect_residual", least=0.0),
        suspect_disagreement=fields.optional_number("suspect_disagreement", least=0.0, most=1.0),
        abstain_score=fields.optional_number("abstain_score", least=0.0, most=1.0),
    )
    fields.close()
    for name, value, output in (
        ("suspect_residual", decision.suspect_residual, "reconstruction"),
        ("suspect_disagreement", decision.suspect_disagreement, "probabilities_raw"),
    ):
        if value is not None and output not in outputs:
            raise fields.wrong(
                name, f"needs the output {output!r}, which is absent; set it to null or export that"
            )
    return decision


def _parse_members(fields: Fields) -> dict[str, MemberEntry]:
    members: dict[str, MemberEntry] = {}
    for name in fields:
        if not _MEMBER.fullmatch(name):
            raise fields.wrong(name, "is not a member name; use lower-case letters, digits, _ and one dot")
        entry = fields.object(name)
        members[name] = MemberEntry(entry.text("sha256", pattern=_SHA256), entry.integer("bytes", least=0))
        entry.close()
    fields.close()
    return members
