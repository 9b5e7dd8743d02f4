"""What the canary says of slow, silent and failing models, and what the engine does with one that fails."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import Bundle
from edge.engine import Engine
from edge.metrics import Metrics
from edge.models.canary import Canary, Limits, incompatible
from edge.pipeline.classify import Classifier
from edge.pipeline.golden import load_verified, robust_accuracy
from edge.types import Result, Scores, Window
from tests.edge.agent.helpers import block, signal
from tests.edge.models.parts import bundle
from tests.edge.tiny import HOP, WINDOW, tiny_manifest

pytestmark = pytest.mark.update

LIMITS = Limits(windows=30, min_agreement=0.9, max_latency_ratio=3.0, max_withheld_rise=0.05)


class Slow(Classifier):
    """Takes 3 ms more for each window."""

    def classify(self, window: Window, *, explain: bool = False) -> Scores:
        time.sleep(0.003)
        scores = super().classify(window, explain=explain)
        return replace(scores, latency_ms=scores.latency_ms + 3.0)


class Broken(Classifier):
    """Fails on its fourth window."""

    left = 3

    def classify(self, window: Window, *, explain: bool = False) -> Scores:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("no such tensor")
        return super().classify(window, explain=explain)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Classifier]:
    return load_verified(bundle(tmp_path_factory.mktemp("b") / "one.bundle", "1.0.0"))


def live(loaded: tuple[Bundle, Classifier], count: int = 40) -> list[tuple[Window, Result]]:
    seen: list[tuple[Window, Result]] = []
    engine = Engine(*loaded, node="n", boot_id="b", metrics=Metrics(), on_verdict=lambda *pair: seen.append(pair))
    engine.push(block(signal(WINDOW + (count - 1) * HOP)))
    assert len(seen) == count
    return seen


def judged(candidate: Canary, windows: list[tuple[Window, Result]]) -> str:
    for window, result in windows:
        candidate.push(window, result)
    return candidate.objection()


def test_the_same_model_passes(loaded: tuple[Bundle, Classifier]):
    canary = Canary(*loaded, LIMITS)
    assert judged(canary, live(loaded)) == ""
    assert canary.enough
    assert canary.figures()["agreement"] == 1.0


def test_a_slow_model_does_not(loaded: tuple[Bundle, Classifier]):
    why = judged(Canary(loaded[0], Slow(loaded[0]), LIMITS), live(loaded))
    assert "ms a window instead of" in why
    assert "at most 3 times is set" in why


def test_a_model_that_withholds_its_answers_does_not(loaded: tuple[Bundle, Classifier], tmp_path: Path):
    shy = load_verified(
        bundle(tmp_path / "shy.bundle", decision=replace(tiny_manifest().decision, abstain_score=1.0))
    )
    assert "withholds its answer on 1.000 of 40 live windows" in judged(Canary(*shy, LIMITS), live(loaded))


def test_windows_that_say_nothing_of_a_model_do_not_count(loaded: tuple[Bundle, Classifier]):
    ((window, result), *_) = live(loaded)
    canary = Canary(*loaded, LIMITS)
    canary.push(window, replace(result, status="abstain", reason="missing"))
    assert canary.seen == 0
    assert "no live window" in canary.objection()


def test_other_windows_or_labels_need_a_restart(loaded: tuple[Bundle, Classifier]):
    made, _ = loaded
    spec = replace(made.manifest.input, hop_samples=8)
    assert "hop_samples 8 instead of 16" in incompatible(made, replace(made, manifest=tiny_manifest(input=spec)))
    assert "restart" in incompatible(made, replace(made, manifest=tiny_manifest(labels=("a", "b", "c"))))
    turned = tiny_manifest(labels=tuple(reversed(made.manifest.labels)))
    assert incompatible(made, replace(made, manifest=turned)) == ""


@pytest.mark.parametrize(("turned", "share"), [(0, 1.0), (1, 0.75), (4, 0.0), (None, None)])
def test_robust_accuracy_is_that_of_the_attacked_windows(tmp_path: Path, turned: int | None, share: float | None):
    assert robust_accuracy(*load_verified(bundle(tmp_path / "b.bundle", turned=turned))) == share


def test_a_window_that_the_new_model_fails_on_is_answered_by_the_old_one(
    loaded: tuple[Bundle, Classifier], tmp_path: Path
):
    new, _ = load_verified(bundle(tmp_path / "two.bundle"))
    engine = Engine(*loaded, node="n", boot_id="b", metrics=Metrics())
    values = signal(WINDOW + 9 * HOP)
    first = engine.push(block(values[: WINDOW + 2 * HOP]))
    engine.swap(new, Broken(new))
    rest = engine.push(block(values[WINDOW + 2 * HOP :], first=WINDOW + 2 * HOP))
    results = first + rest
    assert [r.seq for r in results] == list(range(10))
    assert [r.model[-5:] for r in results] == ["1.0.0"] * 3 + ["2.0.0"] * 3 + ["1.0.0"] * 4
    assert "no such tensor" in engine.take_failure()
    assert engine.take_failure() == ""


def test_after_the_trial_a_failure_is_an_ordinary_one(loaded: tuple[Bundle, Classifier], tmp_path: Path):
    new, _ = load_verified(bundle(tmp_path / "two.bundle"))
    broken: Any = Broken(new)
    broken.left = 0
    engine = Engine(*loaded, node="n", boot_id="b", metrics=Metrics())
    engine.swap(new, broken)
    engine.forget_fallback()
    with pytest.raises(RuntimeError):
        engine.push(block(signal(WINDOW)))
    assert engine.take_failure() == ""
