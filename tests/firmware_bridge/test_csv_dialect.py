from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.csv_dialect import CsvReader
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.messages import BadFrame, CsvSamples


def read(text: str, *, whole: bool = True) -> tuple[list[list[float]], tuple[str, ...], list[str]]:
    rows, columns, bad = [], (), []
    for item in CsvReader(whole=whole).feed(text.encode()):
        if isinstance(item, BadFrame):
            bad.append(item.reason)
        else:
            rows += item.values.tolist()
            columns = item.columns
    return rows, columns, bad


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("1\n2\n", [[1], [2]], ("ch0",)),
        ("1,2\r\n3,4\r\n", [[1, 2], [3, 4]], ("ch0", "ch1")),
        ("1;-2.5\n+3e2;.5\n", [[1, -2.5], [300, 0.5]], ("ch0", "ch1")),
        ("1\t2\n", [[1, 2]], ("ch0", "ch1")),
        ("1 2 3\n", [[1, 2, 3]], ("ch0", "ch1", "ch2")),
        (" 1, 2 \n", [[1, 2]], ("ch0", "ch1")),
        ("1,2,\n", [[1, 2]], ("ch0", "ch1")),
        ("ecg,ref\n1,2\n", [[1, 2]], ("ecg", "ref")),
        ("ECG(mV)\n1\n", [[1]], ("ECG_mV_",)),
        ("ecg:512\tref:3\n", [[512, 3]], ("ecg", "ref")),
        ("a,b\n\n1,2\n\n", [[1, 2]], ("a", "b")),
        ("a,b\n1,2\na,b\n3,4\n", [[1, 2], [3, 4]], ("a", "b")),
    ],
)
def test_what_sketches_print(text: str, rows: list, columns: tuple):
    assert read(text) == (rows, columns, [])


def test_missing_values():
    rows, _, bad = read("nan,1\ninf,2\n-inf,ovf\n!\n")
    assert [[math.isnan(x) for x in row] for row in rows] == [
        [True, False],
        [True, False],
        [True, True],
        [True, True],
    ]
    assert bad == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Leads off!", "csv_text"),
        ("12a", "csv_text"),
        ("1_0", "csv_text"),
        ("0x10", "csv_text"),
        ("1,2,3", "csv_columns"),
        ("1,,2,x", "csv_text"),
        ("gerät", "csv_text"),
        ("a:1", "csv_columns"),
        ("other,name", "csv_text"),
        ("1" * 1025, "too_long"),
    ],
)
def test_a_bad_line_is_dropped_and_counted(line: str, reason: str):
    rows, _, bad = read(f"1,2\n{line}\n3,4\n")
    assert rows == [[1, 2], [3, 4]]
    assert bad == [reason]


def test_more_columns_than_the_cap():
    rows, _, bad = read(",".join("1" * 17) + "\n")
    assert rows == []
    assert bad == ["csv_columns"]


def test_two_lines_of_another_width_change_the_layout():
    rows, columns, bad = read("a,b\n1,2\nx,y,z\n1,2,3\n4,5,6\n7,8,9\n")
    assert rows == [[1, 2], [4, 5, 6], [7, 8, 9]]
    assert columns == ("x", "y", "z")
    assert bad == ["csv_text", "csv_columns"]


def test_first_line_may_be_half_a_line():
    assert read("3,4\n5,6\n", whole=False)[0] == [[5, 6]]
    assert read("ecg,ref\n3,4\n5,6\n", whole=False)[0] == [[3, 4], [5, 6]]


def test_endless_line_is_one_drop_and_holds_no_memory():
    reader = CsvReader()
    bad = [item for _ in range(50) for item in reader.feed(b"7" * 1000)]
    assert [item.reason for item in bad if isinstance(item, BadFrame)] == ["too_long"]
    assert len(reader._rest) <= 1024
    assert reader.feed(b"7\n") == []
    assert reader.feed(b"1\n") == [CsvSamples(np.array([[1.0]]), ("ch0",))]


@given(st.text(alphabet="0123456789.,;:+-eE \t\r\nnaifvoxX!_", max_size=300))
def test_any_text_gives_rows_of_one_width_or_bad_lines(text: str):
    for item in FrameDecoder("csv").feed(text.encode()):
        if isinstance(item, CsvSamples):
            assert item.values.shape[1] == len(item.columns) > 0
        else:
            assert isinstance(item, BadFrame)
