"""The fuzzer's own run: short here, `python -m tests.firmware_bridge.fuzz.run` for as long as wanted."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import codec
from firmware_bridge import messages as m
from tests.firmware_bridge.fuzz.run import mutated
from tests.firmware_bridge.fuzz.target import corpus, one_input

ROOT = Path(__file__).resolve().parents[2]


def test_mutated_streams_parse_or_count():
    assert mutated(seed=5, count=1500, seconds=120) == 1500


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=600))
def test_any_bytes_parse_or_count(data: bytes):
    one_input(data)


def test_every_truncation_of_the_corpus_parses_or_counts():
    for data in corpus():
        for end in range(0, len(data), 1 if len(data) < 200 else 7):
            one_input(data[:end])


def test_a_text_that_was_none_is_cut_where_it_no_longer_fits():
    """Found by the fuzzer: each bad byte is read as a character of three."""
    one_input(b"\x05\x04\x01\0\0\0\xc2" + b"\xb9" * 100 + b"@" * 200)
    verdict = codec.unframe(codec.encode(m.Verdict(0, 9000, 1, "A" * 30, 0.875, 1))[:-1])[1:]
    one_input(b"\x05" + verdict.replace(b"A", b"\xb9"))


def test_memory_stays_flat():
    mutated(seed=6, count=100, seconds=60)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        mutated(seed=7, count=300, seconds=60)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000


@pytest.mark.slow
def test_the_fuzzer_finds_nothing_in_half_a_minute():
    """Guided by coverage where atheris is installed."""
    command = [sys.executable, "-m", "tests.firmware_bridge.fuzz.run", "--seconds", "30", "--seed", "9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
