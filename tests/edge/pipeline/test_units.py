"""Channels and units of a source against a bundle's."""

from __future__ import annotations

import numpy as np
import pytest

from edge.bundle import InputSpec
from edge.errors import BlockError
from edge.pipeline.units import factor, match_channels

TWO = InputSpec(("I", "II"), "uV", 300.0, 10, 5)
ONE = InputSpec(("ecg",), "uV", 300.0, 10, 5)


@pytest.mark.parametrize(
    ("unit", "wanted", "want"),
    [
        ("uV", "uV", 1.0),
        ("mV", "uV", 1000.0),
        ("V", "uV", 1e6),
        ("nV", "uV", 1e-3),
        ("\u00b5V", "uV", 1.0),
        ("\u03bcV", "mV", 1e-3),
        ("kW", "W", 1000.0),
        ("1", "1", 1.0),
        (" mV ", "uV", 1000.0),
    ],
)
def test_factor(unit: str, wanted: str, want: float) -> None:
    assert factor(unit, wanted) == want


@pytest.mark.parametrize(
    ("unit", "wanted"), [("1", "uV"), ("", "uV"), ("W", "uV"), ("V", "1"), ("adc", "uV")]
)
def test_units_of_another_kind(unit: str, wanted: str) -> None:
    with pytest.raises(ValueError, match="cannot be turned into"):
        factor(unit, wanted)


def test_by_name_in_the_bundles_order() -> None:
    channels = match_channels(TWO, ("ii", "resp", "I"), ("mV", "1", "uV"))
    values = np.array([[1, 9, 2], [3, 9, 4]], np.float32)
    assert channels.apply(values).tolist() == [[2, 1000], [4, 3000]]
    assert channels.apply(values).dtype == np.float32


@pytest.mark.parametrize("name", ["ECG", " ecg ", "ch0", "column 1", "value", "", "0", "x"])
def test_names_that_match_or_say_nothing(name: str) -> None:
    channels = match_channels(ONE, (name,), ("uV",))
    values = np.ones((3, 1), np.float32)
    assert channels.apply(values) is values


@pytest.mark.parametrize(
    ("channels", "units", "match"),
    [
        (("temp_c",), ("uV",), "has channels 'temp_c', the bundle needs 'ecg'; name them"),
        (("ch0", "ch1"), ("uV", "uV"), "has channels 'ch0', 'ch1'"),
        (("ecg",), ("1",), "'1' cannot be turned into 'uV'"),
        (("ecg",), (), "1 channels but 0 units"),
        ((), (), "has channels"),
    ],
)
def test_refused(channels: tuple[str, ...], units: tuple[str, ...], match: str) -> None:
    with pytest.raises(BlockError, match=match) as caught:
        match_channels(ONE, channels, units, "s1")
    assert caught.value.stream == "s1"
