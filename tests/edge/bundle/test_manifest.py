"""The manifest: its schema, and every field that is refused by name."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from typing import Any

import jsonschema
import pytest

from edge.bundle import Decision, InputSpec, Manifest, MemberEntry, OutputSpec, Thermometer
from edge.bundle.preprocess import Clip, RemoveDc, Scale, Znorm
from edge.errors import BundleError, ManifestError
from edge.schemas import read_schema
from tests.edge.tiny import tiny_manifest

FULL = tiny_manifest(
    preprocess=(RemoveDc(), Scale(0.001), Znorm(), Clip(-5.0, 5.0)),
    decision=Decision(0.2, 30.0, 0.5, 0.4),
    members={"model.tflite": MemberEntry("0" * 64, 12)},
)


def test_bytes_there_and_back() -> None:
    stored = FULL.to_json()
    assert Manifest.from_json(stored) == FULL
    assert Manifest.from_json(stored).to_json() == stored
    assert FULL.ref == "tiny@1.0.0"
    assert FULL.window_shape == (64, 1)


def test_schema_and_dataclasses_agree() -> None:
    schema = read_schema("manifest")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(FULL.to_dict(), schema)
    parts = {
        "input": InputSpec,
        "decision": Decision,
        "thermometer": Thermometer,
    }
    assert set(schema["properties"]) == set(schema["required"]) == {field.name for field in fields(Manifest)}
    for name, cls in parts.items():
        part = schema["properties"][name]
        part = part["oneOf"][1] if "oneOf" in part else part
        assert set(part["properties"]) == set(part["required"]) == {field.name for field in fields(cls)}
    output = schema["$defs"]["output"]
    assert set(output["properties"]) == {field.name for field in fields(OutputSpec)}
    entry = schema["properties"]["members"]["additionalProperties"]
    assert set(entry["properties"]) == {field.name for field in fields(MemberEntry)}


def changed(path: str, value: Any) -> dict[str, Any]:
    data: dict[str, Any] = copy.deepcopy(FULL.to_dict())
    *parents, last = path.split(".")
    at: Any = data
    for key in parents:
        at = at[int(key) if key.isdigit() else key]
    key = int(last) if last.isdigit() else last
    if value is ...:
        del at[key]
    else:
        at[key] = value
    return data


# path changed, new value (... deletes), whether the JSON schema can see it
REFUSED = [
    ("schema", 2, True),
    ("schema", "1", True),
    ("schema", ..., True),
    ("name", "a b", True),
    ("name", "", True),
    ("version", "../1", True),
    ("created", "last week", False),
    ("labels", ["one"], True),
    ("labels", ["a", "a", "b"], True),
    ("labels", ["a", "b"], False),
    ("labels", ["a", "b", 3], True),
    ("labels", "abc", True),
    ("input.channels", [], True),
    ("input.units", 1, True),
    ("input.rate_hz", 0, True),
    ("input.rate_hz", True, True),
    ("input.rate_hz", "300", True),
    ("input.window_samples", 1, True),
    ("input.window_samples", 2**21, True),
    ("input.window_samples", 64.5, True),
    ("input.window_samples", 65, False),
    ("input.hop_samples", 0, True),
    ("input.hop_samples", 65, False),
    ("input.pad", "left", True),
    ("input.extra", 1, True),
    ("preprocess", {}, True),
    ("preprocess.0.op", "fft", True),
    ("preprocess.0.factor", 2, True),
    ("preprocess.1.factor", ..., True),
    ("preprocess.1.factor", None, True),
    ("preprocess.3.low", 6.0, False),
    ("thermometer.thresholds", [], True),
    ("thermometer.thresholds", [1.0, 1.0], False),
    ("thermometer.thresholds", [2.0, 1.0], False),
    ("thermometer", [], True),
    ("outputs.probabilities", ..., True),
    ("outputs.probabilities.index", -1, True),
    ("outputs.probabilities.index", 1, False),
    ("outputs.probabilities.shape", [1, 4], False),
    ("outputs.probabilities.shape", [0], True),
    ("outputs.reconstruction.shape", [1, 63, 1], False),
    ("outputs.logits", {"index": 9, "shape": [1]}, True),
    ("outputs.reconstruction", ..., False),
    ("outputs.probabilities_raw", ..., False),
    ("decision.max_missing", 1.5, True),
    ("decision.max_missing", None, True),
    ("decision.suspect_residual", -1, True),
    ("decision.abstain_score", ..., True),
    ("decision.suspicion", 1, True),
    ("quantization", "int4", True),
    ("quantization", ["int8"], True),
    ("members", [], True),
    ("members.model.tflite", 3, False),
    ("note", "hello", True),
]


@pytest.mark.parametrize(("path", "value", "in_schema"), REFUSED)
def test_refused_with_the_field(path: str, value: Any, in_schema: bool) -> None:
    data = (
        changed(path, value) if path != "members.model.tflite" else {**FULL.to_dict(), "members": {"x/y": 3}}
    )
    with pytest.raises(ManifestError) as caught:
        Manifest.from_dict(data)
    assert caught.value.member == "manifest.json"
    assert caught.value.field
    assert caught.value.field.split(".")[0].split("[")[0] in str(caught.value)
    if in_schema:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data, read_schema("manifest"))


def test_unknown_schema_version_says_what_to_do() -> None:
    with pytest.raises(ManifestError, match=r"schema version 2 is unknown.*update wavewall"):
        Manifest.from_dict({"schema": 2, "anything": "else"})


def test_label_count_against_output_shape() -> None:
    with pytest.raises(
        ManifestError, match=r"outputs\.probabilities\.shape is \[1, 3\], but 2 labels need \[1, 2\]"
    ):
        Manifest.from_dict(changed("labels", ["a", "b"]))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"schema": NaN}',
        b'{"schema": 1, "schema": 1}',
        b"[" * 100_000,
        b"9" * 10_000,
    ],
)
def test_bytes_that_are_no_manifest(stored: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Manifest.from_json(stored)


def test_huge_numbers_are_refused_not_raised() -> None:
    data = changed("input.rate_hz", 10**400)
    with pytest.raises(ManifestError, match="rate_hz"):
        Manifest.from_dict(data)
    assert json.loads(FULL.to_json())["input"]["rate_hz"] == 100.0
