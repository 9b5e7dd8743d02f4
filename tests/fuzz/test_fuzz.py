"""The fuzzer's own run: short here, `make fuzz` for minutes, FUZZ_S=3600 for longer. What it found is played first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.run import CRASHERS, mutated
from tests.fuzz.targets import TARGETS

# What the EDF reader says about a damaged file is for its user.
pytestmark = [pytest.mark.security, pytest.mark.filterwarnings("ignore:.*EDF.*:UserWarning")]

ROOT = Path(__file__).resolve().parents[2]
FOUND = sorted(path for path in CRASHERS.glob("*/*") if path.is_file())


def test_there_is_a_target_for_each_folder_of_crashers():
    assert {path.parent.name for path in FOUND} <= set(TARGETS)


def test_what_once_broke_something_does_so_no_more():
    for path in FOUND:
        TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_mutated_inputs_parse_or_raise_our_own_error(name: str):
    assert mutated(TARGETS[name], seed=3, count=60, seconds=60) > 0


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_truncated_inputs_parse_or_raise_our_own_error(name: str):
    for data in TARGETS[name].corpus():
        for end in range(0, len(data), max(1, len(data) // 25)):
            TARGETS[name].run(data[:end])


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=300))
def test_any_bytes_parse_or_raise_our_own_error(name: str, data: bytes):
    TARGETS[name].run(data)


@pytest.mark.slow
def test_the_fuzzer_finds_nothing_in_a_moment():
    """Guided by coverage where atheris is installed."""
    names = ("payload", "request")
    words = [word for name in names for word in ("--target", name)]
    command = [sys.executable, "-m", "tests.fuzz.run", "--seconds", "8", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("ok  ") == len(names)
