"""A planted defence that only hides its gradient: the figure under attack is high, and the warnings say so."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from trainer.data.base import DataSpec, Windows
from trainer.evaluate.plan import Plan
from trainer.evaluate.rows import rows_of
from trainer.evaluate.runner import Runner
from trainer.evaluate.subject import Subject
from trainer.models.wrap import AttackModel

pytestmark = pytest.mark.attacks
SPEC = DataSpec("masked", ("low", "high"), "1", 50.0, 60)


@keras.saving.register_keras_serializable("test")
class Misleading(keras.layers.Layer):
    """Stairs that lean a little the other way: there is a gradient, and it leads where the answer gets surer."""

    def call(self, x: Any) -> Any:
        return ops.round(4.0 * x) / 4.0 - 1e-3 * x


def subject(honest: bool) -> Subject:
    inputs = keras.Input((60, 1))
    x = inputs if honest else Misleading()(inputs)
    total = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant([[-9.0, 9.0]]))(
        keras.layers.GlobalAveragePooling1D()(keras.layers.Activation("tanh")(x))
    )
    found = Subject("masked", SPEC, (), None, None, None)
    found.__dict__["twin"] = AttackModel(keras.Model(inputs, total), name="masked")
    return found


def rows(honest: bool, epsilon: float) -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    x = (np.where(y, 0.3, -0.3)[:, None, None] + rng.normal(0, 0.3, (24, 60, 1))).astype(np.float32)
    windows = Windows(x, np.ones((24, 60), bool), y, tuple(map(str, range(24))), SPEC)
    fewer = {"square": {"queries": 200}}
    plan = Plan(("clean", "pgd", "square", "nes"), (epsilon,), ("float",), settings=fewer)
    return {row["attack"]: row for row in rows_of(Runner(subject(honest), windows, plan).run(), "1")}


def test_a_misleading_gradient_is_told_by_what_needs_none() -> None:
    found = rows(honest=False, epsilon=0.5)
    assert found["clean"]["accuracy"] == 1.0
    assert found["pgd"]["accuracy"] == 1.0, "to the gradient it looks robust"
    assert found["square"]["accuracy"] < 0.2
    assert found["nes"]["accuracy"] < 0.2
    assert "black_box_beats_white_box" in found["pgd"]["warnings"]


def test_a_budget_past_the_signal_that_leaves_some_is_told() -> None:
    found = rows(honest=False, epsilon=5.0)
    assert "large_epsilon_leaves_some" in found["pgd"]["warnings"]
    assert not found["square"]["warnings"]


def test_the_same_net_without_the_mask_has_no_such_warning() -> None:
    found = rows(honest=True, epsilon=0.5)
    assert found["pgd"]["accuracy"] < 0.2
    # its gradient has the same sign everywhere, which is the truth here and is told all the same
    assert found["pgd"]["warnings"] == ["constant_gradient"]
    assert not rows(honest=True, epsilon=5.0)["square"]["warnings"]
