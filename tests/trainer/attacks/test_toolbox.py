"""Where adversarial-robustness-toolbox has the same attack, it fools as many series, within one point on 200 of them.

Compared is what leaves nothing to chance: its attacks by queries are random walks of another length (and its Square
takes images alone, its momentum is switched off for TensorFlow).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from benchmarks.attacks import series
from trainer.attacks import registry
from trainer.models.wrap import AttackModel

pytestmark = [pytest.mark.attacks, pytest.mark.slow]
N, SAMPLES = 200, 96


@pytest.fixture(scope="module")
def net() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SAMPLES, 1))
    x = keras.layers.Conv1D(8, 9, strides=2, activation="relu")(inputs)
    x = keras.layers.Conv1D(8, 5, strides=2, activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = series(300, SAMPLES, seed=1)
    model.fit(x, y, batch_size=32, epochs=8, verbose=0)
    return model


@pytest.fixture(scope="module")
def toolbox(net: keras.Model) -> Any:
    from art.estimators.classification import TensorFlowV2Classifier

    return TensorFlowV2Classifier(
        model=net, nb_classes=3, input_shape=(SAMPLES, 1), clip_values=(-20.0, 20.0),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )  # fmt: skip


def theirs(classifier: Any, name: str, norm: str, epsilon: float) -> Any:
    from art.attacks import evasion

    order: Any = np.inf if norm == "linf" else 2
    steps = {"eps": epsilon, "eps_step": epsilon / 10, "max_iter": 20, "batch_size": 64, "verbose": False}
    if name == "fgsm":
        return evasion.FastGradientMethod(classifier, norm=order, eps=epsilon, batch_size=64)
    if name == "pgd":
        return evasion.ProjectedGradientDescent(classifier, norm=order, num_random_init=0, **steps)
    return evasion.AutoProjectedGradientDescent(
        classifier, norm=order, nb_random_init=1, loss_type="cross_entropy", **{**steps, "eps_step": 2 * epsilon}
    )


OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "fgsm": ("fgsm", {}),
    "pgd": ("pgd", {"steps": 20}),
    "apgd": ("apgd", {"steps": 20}),
}


@pytest.mark.parametrize(
    ("name", "norm", "epsilon"),
    [
        ("fgsm", "linf", 0.1), ("fgsm", "l2", 0.9), ("pgd", "linf", 0.1), ("pgd", "l2", 0.9),
        ("apgd", "linf", 0.1),
    ],
)  # fmt: skip
def test_fools_as_many_as_the_toolbox(name: str, norm: str, epsilon: float, net: keras.Model, toolbox: Any) -> None:
    x, y = series(N, SAMPLES, seed=2)
    right = net.predict(x, verbose=0).argmax(-1) == y
    mine, settings = OURS[name]
    ours = registry.make(mine, epsilon=epsilon, norm=norm, **settings).run(AttackModel(net), x, y)
    other = theirs(toolbox, name, norm, epsilon).generate(x, y)
    fooled = [(net.predict(a, verbose=0).argmax(-1) != y)[right].mean() for a in (ours, other)]
    assert 0.1 < fooled[1] < 0.95, "the budget must decide something"
    assert abs(fooled[0] - fooled[1]) <= 0.01
