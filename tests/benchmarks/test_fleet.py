"""The fleet benchmark: its arithmetic, and a small fleet through a real agent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet import figures, holds, plan, slopes
from benchmarks.fleet_generator import parse_plan
from tests.edge.tiny import tiny_bundle


def step(streams: int, **more: Any) -> dict[str, Any]:
    """What a run tells of one step."""
    return {
        "streams": streams,
        "windows": streams * 2,
        "lost": 0,
        "left_out": 0,
        "repeated": 0,
        "p50_ms": 10.0,
        "p99_ms": 50.0,
        "agent_cores": 0.1 + streams / 1000,
        "broker_cores": 0.1,
        "generator_cores": 0.2,
        "agent_peak_mb": 60 + streams / 10,
        "agent_us_a_message": 1000.0,
        **more,
    }


def missed(steps: list[dict[str, Any]], asked: int) -> tuple[list[str], int]:
    rows, facts = figures({"late_s": 0.0, "steps": steps}, asked)
    return [row.name for row in rows if row.missed], facts["held"]


def test_steps_rise_to_what_is_asked_for_and_on():
    steps = parse_plan(plan(1000, 3, 42.0, True, True))
    assert [streams for streams, _ in steps[:5]] == [125, 250, 500, 750, 1000]
    assert steps[4][1] == 42 + 180
    assert [streams for streams, _ in steps] == sorted(streams for streams, _ in steps)
    assert parse_plan(plan(7, 1, 42.0, False, False)) == [(7, 102.0)]


def test_slopes_are_those_of_the_line():
    line = slopes([step(100), step(200), step(400)])
    assert line["cores_for_1000_streams"] == pytest.approx(1.0)
    assert line["cores_without_streams"] == pytest.approx(0.1)
    assert line["kb_a_stream"] == pytest.approx(100.0)


@pytest.mark.parametrize("bad", [{"lost": 1}, {"left_out": 2}, {"repeated": 1}, {"p99_ms": 1200.0}])
def test_a_step_holds_or_not(bad: dict[str, Any]):
    assert holds(step(10))
    assert not holds(step(10, **bad))


def test_goals_are_judged_at_the_number_that_held():
    assert missed([step(500), step(1000)], 1000) == ([], 1000)
    assert missed([step(500), step(1000, p99_ms=3000.0)], 1000) == ([], 500)
    assert missed([step(500, agent_peak_mb=300.0), step(1000, lost=4)], 1000) == (["resident memory, peak"], 500)
    assert missed([step(500, lost=1), step(1000, lost=4)], 1000) == (["windows lost"], 0)
    assert missed([step(500, p99_ms=2000.0)], 500) == (["last sample to verdict, p99"], 0)


@pytest.mark.slow
def test_a_small_fleet_loses_nothing(tmp_path: Path):
    out, bundle = tmp_path / "fleet.json", tiny_bundle(tmp_path / "tiny.bundle")
    command = [sys.executable, "-m", "benchmarks.fleet", "--streams", "6", "--minutes", "0.1", "--no-curve"]
    command += ["--bundle", str(bundle)]
    done = subprocess.run([*command, "--json", str(out)], capture_output=True, text=True, timeout=150)
    assert done.returncode in (0, 1), done.stderr
    facts = json.loads(out.read_text())
    (only,) = facts["curve"]
    assert only["windows"] > 0
    assert (only["lost"], only["left_out"], only["repeated"]) == (0, 0, 0)
    assert only["agent_cores"] > 0
    assert "windows lost" in done.stdout
