"""Sample messages: what is read, and that everything else is refused with the field's name."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.sources import json_payload, senml
from edge.sources.base import PayloadError
from edge.sources.samples import ParsedSamples
from edge.sources.units import split_key
from tests.edge.agent.helpers import attempt

GOOD = {"t0": 1.8e9, "rate_hz": 300, "ch": {"ecg_uv": [1, 2.5, -3]}}


def parse(**changes: Any) -> ParsedSamples:
    message = {**GOOD, **changes}
    return json_payload.parse(json_payload.decode(json.dumps(message).encode()))


def test_compact_json():
    parsed = parse()
    assert (parsed.t0, parsed.rate_hz, parsed.channels, parsed.units) == (1.8e9, 300.0, ("ecg",), ("uV",))
    assert parsed.values.dtype == np.float32
    assert parsed.values.tolist() == [[1.0], [2.5], [-3.0]]
    assert not parsed.end
    assert parsed.epoch is None


def test_values_are_the_float32_nearest_to_what_was_sent():
    values = [0.1, 1e-7, 123456.789, -32768.5]
    assert parse(ch={"ecg_uv": values}).values[:, 0].tolist() == [float(np.float32(v)) for v in values]


def test_channels_keep_their_order_and_units():
    parsed = parse(ch={"resp_mv": [1, 2], "ecg_uv": [3, 4], "temp": [5, 6]})
    assert parsed.channels == ("resp", "ecg", "temp")
    assert parsed.units == ("mV", "uV", "")
    assert parsed.values.tolist() == [[1, 3, 5], [2, 4, 6]]


def test_a_key_that_is_a_channels_name_has_no_unit_in_it():
    message = {**GOOD, "ch": {"power_w": [1]}}
    assert json_payload.parse(message).channels == ("power",)
    assert json_payload.parse(message, known=("power_w",)).channels == ("power_w",)
    assert split_key("_uv") == ("_uv", "")


def test_optional_fields():
    parsed = parse(t0=None, end=True, epoch=7, device="ignored")
    assert (parsed.t0, parsed.end, parsed.epoch) == (None, True, "7")
    assert parse(t0="2027-01-15T08:00:00Z").t0 == 1.8e9
    assert parse(ch={"ecg_uv": []}, end=True).values.shape == (0, 1)


def test_null_is_a_missing_sample():
    values = parse(ch={"ecg_uv": [1, None, 3]}).values[:, 0]
    assert math.isnan(values[1])
    assert values[[0, 2]].tolist() == [1, 3]


def test_nan_and_infinity_pass_as_missing_samples_not_as_errors():
    parsed = json_payload.parse(json_payload.decode(b'{"rate_hz":1,"ch":{"x":[NaN,Infinity,1e999,2]}}'))
    assert np.isfinite(parsed.values[:, 0]).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"rate_hz": None}, "wrong_type", "rate_hz"),
        ({"rate_hz": "300"}, "wrong_type", "rate_hz"),
        ({"rate_hz": True}, "wrong_type", "rate_hz"),
        ({"rate_hz": 0}, "bad_rate", "rate_hz"),
        ({"rate_hz": -1}, "bad_rate", "rate_hz"),
        ({"rate_hz": 1e9}, "bad_rate", "rate_hz"),
        ({"rate_hz": math.nan}, "not_finite", "rate_hz"),
        ({"rate_hz": 10**400}, "not_finite", "rate_hz"),
        ({"t0": "yesterday"}, "wrong_type", "t0"),
        ({"t0": [1]}, "wrong_type", "t0"),
        ({"t0": 1.8e12}, "bad_time", "t0"),
        ({"t0": -1}, "bad_time", "t0"),
        ({"t0": math.inf}, "not_finite", "t0"),
        ({"end": 1}, "wrong_type", "end"),
        ({"epoch": [1]}, "wrong_type", "epoch"),
        ({"epoch": "x" * 65}, "wrong_type", "epoch"),
        ({"ch": None}, "missing_field", "ch"),
        ({"ch": [1, 2]}, "wrong_type", "ch"),
        ({"ch": {}}, "bad_channels", "ch"),
        ({"ch": {f"c{i}": [1] for i in range(65)}}, "bad_channels", "ch"),
        ({"ch": {"x" * 65: [1]}}, "bad_channels", "ch"),
        ({"ch": {"a": [1, 2], "b": [1]}}, "bad_channels", "ch"),
        ({"ch": {"a": []}}, "empty", "ch"),
        ({"ch": {"a": 3}}, "wrong_type", "ch.a"),
        ({"ch": {"a": "123"}}, "wrong_type", "ch.a"),
        ({"ch": {"a": [1, "2"]}}, "wrong_type", "ch.a[1]"),
        ({"ch": {"a": ["1", "2"]}}, "wrong_type", "ch.a[0]"),
        ({"ch": {"a": [True, False]}}, "wrong_type", "ch.a[0]"),
        ({"ch": {"a": [[1], [2]]}}, "wrong_type", "ch.a[0]"),
        ({"ch": {"a": [[1], 2]}}, "wrong_type", "ch.a[0]"),
        ({"ch": {"a": [{}]}}, "wrong_type", "ch.a[0]"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], reason: str, field: str):
    with pytest.raises(PayloadError) as caught:
        parse(**change)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert field.partition(".")[0].partition("[")[0] in str(caught.value)


@pytest.mark.parametrize("payload", [b"", b"{", b"nope", b"\xff\xfe", b'{"a":1}}', b"[" * 100_000])
def test_what_is_not_json(payload: bytes):
    with pytest.raises(PayloadError) as caught:
        json_payload.decode(payload)
    assert caught.value.reason == "not_json"
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("value", [None, 3, "text", [1, 2], True])
def test_json_that_is_no_object(value: Any):
    with pytest.raises(PayloadError):
        json_payload.parse(value)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "t0": ANY_JSON,
        "rate_hz": st.floats() | ANY_JSON,
        "ch": st.dictionaries(st.text(max_size=6), ANY_JSON | st.lists(st.floats(), max_size=5), max_size=3),
        "end": st.booleans() | ANY_JSON,
        "epoch": ANY_JSON,
    },
)


@given(SHAPED | ANY_JSON)
def test_any_object_is_samples_or_our_error(message: Any):
    parsed = attempt(lambda: json_payload.parse(message), PayloadError)
    if parsed is not None:
        assert parsed.values.dtype == np.float32
        assert parsed.values.shape[1] == len(parsed.channels) == len(parsed.units)


NUMBER = st.integers(-(2**70), 2**70) | st.floats(width=32, allow_infinity=False)


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.dictionaries(
            st.sampled_from(["ecg_uv", "resp", "é_mv"]),
            st.lists(st.none() | NUMBER, min_size=n, max_size=n),
            min_size=1,
        )
    ),
    st.floats(0.1, 1e5),
)
def test_every_number_that_was_sent_arrives(columns: dict[str, list[float | None]], rate_hz: float):
    parsed = parse(ch=columns, rate_hz=rate_hz)
    assert parsed.rate_hz == rate_hz
    assert parsed.channels == tuple(key.partition("_")[0] for key in columns)
    for at, column in enumerate(columns.values()):
        sent = np.array([math.nan if value is None else float(value) for value in column])
        np.testing.assert_allclose(parsed.values[:, at], sent, rtol=1e-6)


def same(a: Any, b: Any) -> bool:
    """Equal and of the same type all through: 1, 1.0 and true differ, NaN is itself, and keys keep their order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b)))


def is_as_the_json_module_says(payload: bytes) -> None:
    """The same value, or refused where that module refuses, too; deeper than MAX_DEPTH may be refused in any case."""
    got = attempt(lambda: (json_payload.decode(payload),), PayloadError)
    try:
        expected = json.loads(payload)
    except (ValueError, RecursionError):
        assert got is None
    else:
        if got is None:
            assert payload.count(b"[") + payload.count(b"{") > json_payload.MAX_DEPTH
        else:
            assert same(got[0], expected)


@given(ANY_JSON, st.booleans(), st.sampled_from([None, 1]))
def test_any_json_is_the_value_that_the_json_module_gives(value: Any, ascii_only: bool, indent: int | None):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    is_as_the_json_module_says(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0123456789.eE+-truefalsn \\u\n', max_size=60).map(str.encode))
@example(b'{"a":1,"a":2}')
@example(b"[-0, -0.0, 1E400, 1e-400, 0.1, 12345678901234567890123]")
@example(b"[NaN, Infinity, -Infinity]")
@example(b"\xef\xbb\xbf[1]")
@example("[1]".encode("utf-16"))
@example(b'"\\ud800"')
@example(b"[01]")
@example(b"[1,]")
@example(b'["\x01"]')
@example(b"[" * 16 + b"]" * 16)
@example(b"[" * 5000 + b"]" * 5000)
def test_any_bytes_are_json_or_our_error(payload: bytes):
    is_as_the_json_module_says(payload)


def pack(n: int = 4, step: float = 1 / 300, t0: float = 1.8e9, **first: Any) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = [{"n": "ecg", "t": round(i * step, 6), "v": float(i)} for i in range(n)]
    records[0] = {"bn": "urn:dev:mac:0024befffe804ff1:", "bt": t0, "bu": "mV", **records[0], **first}
    return records


def test_senml_pack():
    parsed = senml.parse(pack(300))
    assert (parsed.rate_hz, parsed.t0, parsed.channels, parsed.units) == (300.0, 1.8e9, ("ecg",), ("mV",))
    assert parsed.values[:, 0].tolist() == list(range(300))


def test_senml_base_value_and_units():
    parsed = senml.parse(
        [
            {"bn": "dev/", "bv": 100, "n": "a", "u": "uV", "v": 1, "t": 0},
            {"n": "a", "u": "uV", "v": 2, "t": 0.5},
        ]
    )
    assert parsed.values[:, 0].tolist() == [101.0, 102.0]
    assert (parsed.channels, parsed.units, parsed.t0) == (("a",), ("uV",), None)


def test_senml_holes_are_missing_samples():
    records = pack(10)
    del records[4:6]
    values = senml.parse(records).values[:, 0]
    assert values.shape == (10,)
    assert np.isnan(values[[4, 5]]).all()
    assert values[6] == 6.0


def test_senml_channels_at_different_times():
    records = [
        {"n": "a", "t": 1.8e9, "v": 1},
        {"n": "b", "t": 1.8e9, "v": 10},
        {"n": "a", "t": 1.8e9 + 0.5, "v": 2},
    ]
    parsed = senml.parse(records)
    assert parsed.channels == ("a", "b")
    assert parsed.values[0].tolist() == [1.0, 10.0]
    assert math.isnan(parsed.values[1, 1])


def test_senml_end_record():
    assert senml.parse([*pack(), {"n": "end", "vb": True}]).end
    assert not senml.parse([*pack(), {"n": "end", "vb": False}]).end


def test_senml_times_rounded_to_milliseconds_keep_the_streams_rate():
    records = [{"n": "ecg", "t": round(1.8e9 + i / 300, 3), "v": i} for i in range(30)]
    assert senml.parse(records, current_rate_hz=300.0).rate_hz == 300.0
    assert senml.parse(records).rate_hz == 300.0


@pytest.mark.parametrize("rate_hz", [999.0, 299.5, 0.1, 133.25, 50.0])
def test_senml_rates_that_are_not_round(rate_hz: float):
    records = [{"n": "ecg", "t": round(i / rate_hz, 6), "v": i} for i in range(300)]
    assert senml.parse(records).rate_hz == pytest.approx(rate_hz, rel=1e-4)


def test_senml_text_records_are_ignored():
    assert senml.parse([*pack(), {"n": "note", "vs": "hello"}]).channels == ("ecg",)


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "wrong_type"),
        ({}, "wrong_type"),
        ([3], "wrong_type"),
        ([{"n": "a", "v": "1", "t": 0}], "wrong_type"),
        ([{"n": 3, "v": 1}], "wrong_type"),
        ([{"v": 1}, {"v": 2, "t": 1}], "missing_field"),
        ([{"n": "a", "v": 1}], "bad_rate"),
        ([{"n": "a", "v": 1, "t": 0}, {"n": "a", "v": 1, "t": 1e-9}], "bad_rate"),
        ([{"n": "a", "v": i, "t": t} for i, t in enumerate([0, 1, 2, 1e7])], "bad_rate"),
        ([{"n": "a", "u": "V", "v": 1}, {"n": "a", "u": "A", "v": 1, "t": 1}], "bad_unit"),
        ([{"n": "a", "v": 1, "must_": 1}], "senml"),
        ([{"bver": 11, "n": "a", "v": 1}], "senml"),
        ([{"n": "a", "vs": "text"}], "empty"),
        ([{"n": "end", "vb": True}], "empty"),
        ([{"n": "a", "v": math.nan, "t": 0}, {"n": "a", "v": 1, "t": 1}], "not_finite"),
        ([{"n": "a", "v": 1, "t": math.inf}, {"n": "a", "v": 1, "t": 1}], "not_finite"),
        ([{"n": f"n{i}", "v": 1, "t": i} for i in range(65)], "bad_channels"),
    ],
)
def test_senml_that_is_refused(records: Any, reason: str):
    with pytest.raises(PayloadError) as caught:
        senml.parse(records)
    assert caught.value.reason == reason


RECORD = st.fixed_dictionaries(
    {},
    optional={
        "bn": st.text(max_size=3),
        "bt": st.floats(),
        "n": st.text(max_size=3),
        "u": st.sampled_from(["V", "mV"]),
        "v": st.floats() | st.text(max_size=2),
        "t": st.floats(),
        "vb": st.booleans(),
    },
)


@given(st.lists(RECORD | ANY_JSON, max_size=6) | ANY_JSON)
def test_any_pack_is_samples_or_our_error(records: Any):
    parsed = attempt(lambda: senml.parse(records), PayloadError)
    if parsed is not None:
        assert parsed.values.shape[1] == len(parsed.channels)
        assert parsed.rate_hz > 0


def test_a_long_array_is_read_in_milliseconds():
    payload = json.dumps({**GOOD, "ch": {"ecg_uv": list(range(100_000))}}).encode()
    began = time.perf_counter()
    assert json_payload.parse(json_payload.decode(payload)).values.shape == (100_000, 1)
    assert time.perf_counter() - began < 1.0
