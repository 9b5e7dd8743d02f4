"""Names and topics: one level each, nothing that could split or widen a topic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.names import MAX_NAME, is_name, to_name
from edge.topics import Topics, results_filter, stream_of

TOPICS = Topics("wavewall", "gw1")


@pytest.mark.parametrize("text", ["a", "A-Z_09", "x" * MAX_NAME])
def test_names(text: str):
    assert is_name(text)
    assert to_name(text) == text


@pytest.mark.parametrize("text", ["", "a/b", "a+b", "#", "é", "a b", "a\n", "x" * (MAX_NAME + 1), "a\x00"])
def test_what_is_no_name(text: str):
    assert not is_name(text)


@given(st.text(max_size=200))
def test_every_text_becomes_a_name(text: str):
    assert is_name(to_name(text))


def test_texts_that_look_alike_become_different_names():
    assert to_name("Gerät 1") != to_name("Ger\u00e4t/1") != to_name("Ger t 1")


def test_stream_of_its_own_topic():
    assert stream_of("wavewall/gw1/stream/A00001/samples", TOPICS.root) == "A00001"


@pytest.mark.parametrize(
    "topic",
    [
        "wavewall/gw1/stream/a/b/samples",
        "wavewall/gw1/stream//samples",
        "wavewall/gw1/stream/é/samples",
        "wavewall/gw1/stream/a/result",
        "wavewall/gw2/stream/a/samples",
        "wavewall/gw1/stream/" + "x" * (MAX_NAME + 1) + "/samples",
        "wavewall/gw1/stream/#/samples",
    ],
)
def test_no_stream_in_a_wrong_topic(topic: str):
    assert stream_of(topic, TOPICS.root) is None


def test_filters():
    assert TOPICS.samples_filters(("a", "b")) == [
        "wavewall/gw1/stream/a/samples",
        "wavewall/gw1/stream/b/samples",
    ]
    # A slash in an id makes one level more; that message is wanted, too, so that it can be counted.
    assert "wavewall/gw1/stream/+/+/samples" in TOPICS.samples_filters()
    assert results_filter("wavewall", None) == "wavewall/+/stream/+/result"
    assert results_filter("wavewall", "s", "gw1") == "wavewall/gw1/stream/s/result"
