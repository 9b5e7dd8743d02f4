"""A card as text: figures as a table, foreign cards as an outline, nothing that a terminal would obey."""

from __future__ import annotations

from typing import Any

import pytest

from edge.bundle import read_bundle
from edge.cli import card
from edge.zoo import names, resolve_bundle

ROW = {
    "target": "float", "attack": "standard", "epsilon": 10.0, "units": "uV", "n": 820, "accuracy": 0.8312,
    "accuracy_low": 0.8041, "accuracy_high": 0.8549, "warnings": ["attack_helps"], "suite": {"version": 1},
}  # fmt: skip
SHARE = {"count": 2, "n": 820, "share": 0.0024, "low": 0.0007, "high": 0.0088}
CARD: dict[str, Any] = {
    "model": {
        "parameters": 259681, "file_bytes": 331776, "quantization": "int8", "exported_on": "Linux x86_64",
        "speed": {"cpu": "a board", "cores": 4, "load_1min": 0.1, "runtime": "ai_edge_litert", "runtime_version": "2.1",
                  "windows": 90, "p50_ms": 1.25, "p90_ms": 1.5},
    },
    "calibration": {"temperature": 1.25, "fitted": True, "n": 815, "loss_before": 0.5, "loss_after": 0.4,
                    "error": {"file": {"n": 815, "error": 0.021, "low": 0.015, "high": 0.04}}},
    "decision": {"suspect": {"chosen": 0.01, "limits": {"residual": 193.6, "disagreement": None}, "clean": SHARE}},
    "evaluation": {"data": "cinc2017/test", "seed": 0, "rows": [ROW, {**ROW, "target": "int8", "accuracy": None}]},
    "detector": [{"attacker": "aware", "epsilon": 50.0, "units": "uV", "flips": 40, "right": 120,
                  "at": [{"at": "1 % false alarms", "false_alarms": SHARE, "noticed": SHARE}]}],
    "limits": "One thing. Another.",
}  # fmt: skip


def test_what_was_measured_is_told_with_its_interval() -> None:
    text = "\n".join(card.lines(CARD))
    for told in (
        "259,681 parameters", "1.25 ms a window", "a board", "temperature 1.250", "0.021 (0.015 to 0.040)",
        "residual 193.6: 2 of 820", "0.0024 (0.0007 to 0.0088); chosen 0.01",
        "standard v1  10 uV   0.831 (0.804 to 0.855)  no gradient  attack_helps", "1 % false alarms", "40 of 120",
        "\n  One thing.\n  Another.",
    ):  # fmt: skip
        assert told in text, told


@pytest.mark.parametrize("key", list(CARD))
@pytest.mark.parametrize("value", ["text", 3, [1, 2], {"rows": 5}, {"a": {"b": [1]}}, None, [[]], [{"at": 1}]])
def test_a_card_of_other_making_is_an_outline(key: str, value: Any) -> None:
    assert next(iter(card.lines({key: value}))).startswith(f"card: {key}")


def test_no_card_moves_the_cursor() -> None:
    text = "".join(card.lines({"name": "a\x1b[2Jb\rc", "limits": "x\x1b]0;title\x07", "a\x1bkey": {"in\x9bside": 1}}))
    assert text.isprintable()
    assert "a?[2Jb?c" in text


@pytest.mark.parametrize("name", names())
def test_every_shipped_card_is_read_as_known(name: str) -> None:
    text = list(card.lines(read_bundle(resolve_bundle(name)).card))
    assert any("masking checks" in line for line in text)
    assert any("split: " in line for line in text)
    assert all(line.isprintable() for line in text)
