"""Result: JSON there and back, its schema, and what is refused."""

from __future__ import annotations

import json
from dataclasses import fields

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ResultError
from edge.schemas import read_schema
from edge.types import RESULT_SCHEMA, Result, ResultWindow, parse_time, rfc3339

unit = st.floats(0, 1)
times = st.floats(0, 4e9)
optional = st.none() | st.floats(0, 1e6)
results = st.builds(
    Result,
    id=st.text(max_size=40),
    t=times,
    boot_id=st.text(max_size=20),
    seq=st.integers(0, 2**53),
    stream=st.text(max_size=20),
    label=st.text(max_size=20),
    score=unit,
    probabilities=st.dictionaries(st.text(max_size=9), unit, min_size=2, max_size=5),
    status=st.sampled_from(["ok", "suspect", "abstain"]),
    reason=st.text(max_size=30),
    model=st.text(max_size=20),
    window=st.builds(
        ResultWindow,
        t0=times,
        n=st.integers(1, 2**20),
        rate_hz=st.floats(0.1, 1e6),
        missing=st.integers(0, 9000),
        crc_errors=st.integers(0, 9000),
    ),
    disagreement=st.none() | unit,
    residual=optional,
    latency_ms=st.floats(0, 1e6),
    historical=st.booleans(),
)

EXAMPLE = Result(
    id="00ff",
    t=1767225600.25,
    boot_id="b",
    seq=7,
    stream="ward-1",
    label="AF",
    score=0.12345678,
    probabilities={"AF": 0.12345678, "N": 0.87654321},
    status="suspect",
    reason="residual",
    model="ecg-rhythm@1.0.0",
    window=ResultWindow(t0=1767225570.0, n=9000, rate_hz=300.0, missing=3, crc_errors=1),
    disagreement=0.25,
    residual=12.3456789,
    latency_ms=1.23456,
)


@settings(deadline=None)
@given(results)
def test_json_there_and_back(result: Result) -> None:
    text = result.to_json()
    assert "\n" not in text
    jsonschema.validate(json.loads(text), read_schema("result"))
    back = Result.from_json(text)
    assert back.to_json() == text
    assert back.id == result.id
    assert abs(back.t - result.t) <= 0.0006


def test_json_is_what_subscribers_are_told() -> None:
    assert json.loads(EXAMPLE.to_json()) == {
        "schema": "wavewall.result/1",
        "id": "00ff",
        "t": "2026-01-01T00:00:00.250Z",
        "boot_id": "b",
        "seq": 7,
        "stream": "ward-1",
        "label": "AF",
        "score": 0.123457,
        "probabilities": {"AF": 0.123457, "N": 0.876543},
        "status": "suspect",
        "reason": "residual",
        "model": "ecg-rhythm@1.0.0",
        "window": {
            "t0": "2025-12-31T23:59:30.000Z",
            "n": 9000,
            "rate_hz": 300.0,
            "missing": 3,
            "crc_errors": 1,
        },
        "disagreement": 0.25,
        "residual": 12.3457,
        "latency_ms": 1.235,
        "historical": False,
    }


def test_schema_has_exactly_the_dataclass_fields() -> None:
    schema = read_schema("result")
    names = {"schema", *(field.name for field in fields(Result))}
    assert set(schema["properties"]) == names
    assert set(schema["required"]) == names - {"prev"}  # where results form a chain
    window = schema["properties"]["window"]
    assert (
        set(window["properties"]) == set(window["required"]) == {field.name for field in fields(ResultWindow)}
    )
    assert schema["properties"]["schema"]["const"] == RESULT_SCHEMA


@pytest.mark.parametrize("field", ["schema", *(f.name for f in fields(Result) if f.name != "prev")])
def test_a_missing_field_is_named(field: str) -> None:
    data = EXAMPLE.to_dict()
    del data[field]
    with pytest.raises(ResultError, match=field) as caught:
        Result.from_json(json.dumps(data))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "wavewall.result/2"),
        ("seq", -1),
        ("seq", True),
        ("seq", 1.5),
        ("score", "0.5"),
        ("score", 10**400),
        ("status", "fine"),
        ("t", "2026-01-01T00:00:00"),
        ("t", "yesterday"),
        ("historical", 0),
        ("residual", "x"),
        ("label", None),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object) -> None:
    data = {**EXAMPLE.to_dict(), field: value}
    with pytest.raises(ResultError) as caught:
        Result.from_json(json.dumps(data))
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["", "{", "[]", "3", b"\xff\xfe", '{"schema": NaN}', "[" * 100_000])
def test_what_is_not_a_result_is_refused(text: str | bytes) -> None:
    with pytest.raises(ResultError):
        Result.from_json(text)


def test_unknown_fields_pass_so_that_old_subscribers_read_new_agents() -> None:
    assert Result.from_json(json.dumps({**EXAMPLE.to_dict(), "digest": "x"})).id == EXAMPLE.id


@settings(deadline=None)
@given(times)
def test_times_there_and_back(time_s: float) -> None:
    assert abs(parse_time(rfc3339(time_s)) - time_s) <= 0.0006


def test_rounding_up_a_second_carries() -> None:
    assert rfc3339(1767225599.9996) == "2026-01-01T00:00:00.000Z"
