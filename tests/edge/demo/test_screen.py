"""The demo's screen says what happened, whichever way it went."""

from __future__ import annotations

import numpy as np
import pytest

from edge.demo.screen import DEFENDED, MODELS, UNDEFENDED, Screen
from edge.demo.stage import Stage
from edge.types import Result, ResultWindow, Status
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording

WINDOW, HALF = 900, 3000


@pytest.fixture
def screen() -> Screen:
    digital = np.random.default_rng(0).integers(-200, 200, (2 * HALF, 1)).astype(np.int16)
    recording = Recording("demo", 30.0, (Channel("ecg", "uV", 1.0),), digital=digital)
    delta = np.full((HALF, 1), -7, np.int16)
    return Screen(Stage(recording, HALF, HALF, delta, (("normal", HALF),)), WINDOW)


def result(label: str, status: Status = "ok") -> Result:
    return Result(
        id="0", t=0.0, boot_id="b", seq=0, stream="demo", label=label, score=0.9, probabilities={label: 0.9},
        status=status, reason="" if status == "ok" else "residual", model="m",
        window=ResultWindow(0.0, WINDOW, 30.0, 0, 0), disagreement=None, residual=None, latency_ms=1.0,
    )  # fmt: skip


def show(
    screen: Screen, model: str, clean: str, attacked: str, status: Status = "ok", windows: int = 3
) -> None:
    for k in range(windows):
        screen.push(model, 300 * k, result(clean))
        screen.push(model, HALF + 300 * k, result(attacked, status))


def test_a_row_appears_once_both_models_have_spoken_and_once_only(screen: Screen):
    assert screen.push(UNDEFENDED, 0, result("normal")) == []
    rows = screen.push(DEFENDED, 0, result("af"))
    assert len(rows) == 1
    assert rows[0].split() == ["30", "s", "clean", "normal", "normal", "0.90", "ok", "af", "0.90", "ok"]
    assert screen.push(DEFENDED, 0, result("noise")) == []


def test_flip_and_hold_are_marked_and_the_microvolts_are_printed(screen: Screen):
    for model in MODELS:
        screen.push(model, 0, result("normal"))
    screen.push(UNDEFENDED, HALF, result("af"))
    announcement, row = screen.push(DEFENDED, HALF, result("normal"))
    assert "at most 7 µV" in announcement
    assert row.count("FLIPPED") == 1
    assert row.index("FLIPPED") < row.index("held")


def test_summary_counts_and_says_so(screen: Screen):
    show(screen, UNDEFENDED, "normal", "af")
    show(screen, DEFENDED, "normal", "normal")
    lines, enough = screen.summary()
    assert enough
    text = "\n".join(lines)
    assert "3 flipped (3 of them with status ok), 0 held" in text
    assert "0 flipped (0 of them with status ok), 3 held" in text
    assert lines[-1] == (
        "With at most 7 µV on the wire the undefended model changed its answer on 3 of 3 windows, "
        "the defended one on 0 of 3."
    )


def test_a_flip_that_was_called_suspect_is_told_as_such(screen: Screen):
    show(screen, UNDEFENDED, "normal", "af")
    show(screen, DEFENDED, "normal", "af", status="suspect")
    assert screen.tally(DEFENDED).flipped_unnoticed == 0
    assert screen.tally(DEFENDED).suspect == 3
    assert "3 of them marked as not to be relied on" in screen.summary()[0][-1]


@pytest.mark.parametrize("attacked", ["normal", "af"])
def test_no_pretending_when_the_defence_makes_no_difference(screen: Screen, attacked: str):
    for model in MODELS:
        show(screen, model, "normal", attacked)
    lines, enough = screen.summary()
    assert enough
    assert lines[-1].endswith("this time the defence made no difference.")


def test_fewer_than_two_windows_on_a_side_are_not_enough(screen: Screen):
    show(screen, UNDEFENDED, "normal", "af")
    show(screen, DEFENDED, "normal", "normal", windows=1)
    lines, enough = screen.summary()
    assert not enough
    assert "Too little was seen" in lines[-1]


def test_a_lost_result_is_told_and_not_compared(screen: Screen):
    show(screen, UNDEFENDED, "normal", "af")
    show(screen, DEFENDED, "normal", "normal")
    del screen.seen[(DEFENDED, 0)]
    assert screen.tally(DEFENDED).lost == 1
    assert screen.tally(DEFENDED).compared == 2
    assert "1 attacked windows had no clean one" in "\n".join(screen.summary()[0])


def test_colours_only_where_asked(screen: Screen):
    assert "\x1b" not in screen.head()
    screen.colour = True
    assert "\x1b" in screen.head()
