"""The 13-layer network against its table: parameters counted by hand, lengths, dilations."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainer.data.base import DataSpec
from trainer.data.cinc2017 import SPEC
from trainer.errors import RecipeError
from trainer.models import registry

pytestmark = pytest.mark.paper2


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return registry.build("ecg13", SPEC)


def trained(model: keras.Model) -> int:
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def test_parameters_of_the_projects_reading(model: keras.Model) -> None:
    shapes = [(1, 320, 24), (320, 256, 16), *[(256, 256, 16)] * 3, (256, 128, 8), *[(128, 128, 8)] * 5]
    shapes += [(128, 64, 8), (64, 64, 8)]
    convolutions = sum(inputs * filters * kernel + filters for inputs, filters, kernel in shapes)
    norms = 2 * sum(filters for _, filters, _ in shapes)
    assert trained(model) == convolutions + norms + 64 * 4 + 4 == 5_486_916


def test_layers_and_lengths(model: keras.Model) -> None:
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv1D)]
    assert [c.dilation_rate[0] for c in convolutions] == [1, 2, 4, 4, 4, 4, 6, 6, 6, 6, 8, 8, 8]
    assert [c.output.shape[1] for c in convolutions] == [9000, *[4500] * 5, *[2250] * 5, 1125, 1125]
    work = sum(c.output.shape[1] * int(np.prod(c.kernel.shape)) for c in convolutions)
    assert work == pytest.approx(22.9e9, rel=0.002)
    assert model.get_layer("features").output.shape == (None, 1125, 64)
    assert model.get_layer("embedding").output.shape == (None, 64)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 13


def test_narrow_one_and_a_width_that_cannot_be() -> None:
    spec = DataSpec("toy", ("a", "b"), "uV", 300.0, 101)
    narrow = registry.build("ecg13", spec, width=0.02)
    assert trained(narrow) < 5_000
    assert narrow(np.zeros((2, 101, 1), np.float32)).shape == (2, 2)
    with pytest.raises(RecipeError, match="width must be above 0"):
        registry.build("ecg13", spec, width=0.0)
