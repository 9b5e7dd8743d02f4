"""The classifiers of paper 1: shapes, parameter counts worked out by hand, and what export may rely on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.data.base import DataSpec
from trainer.errors import RecipeError
from trainer.models import registry

SPEC = DataSpec("toy", ("a", "b", "c"), "1", 1.0, 50, ("x", "y"))
SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"width": 4},
    "fcn": {"width": 4},
    "compact": {},
    "ecg13": {"width": 0.03},
}


def conv(inputs: int, filters: int, kernel: int, *, bias: bool = True) -> int:
    return inputs * filters * kernel + filters * bias


def norm(filters: int) -> int:
    return 4 * filters


@pytest.mark.parametrize("name", registry.MODELS)
def test_named_layers_and_logits(name: str) -> None:
    model = registry.build(name, SPEC, **SMALL[name])
    assert model.input_shape == (None, 50, 2)
    assert model.output_shape == (None, 3)
    features, embedding = model.get_layer("features").output, model.get_layer("embedding").output
    assert len(features.shape) == 3
    assert embedding.shape[1] in (features.shape[2], 2 * features.shape[2])
    logits = model.get_layer("logits")
    assert isinstance(logits, keras.layers.Dense)
    assert logits.activation is keras.activations.linear
    assert logits.output is model.output


@pytest.mark.parametrize("name", registry.MODELS)
def test_same_seed_same_weights_and_keras_file(name: str, tmp_path: Any) -> None:
    first, second = (registry.build(name, SPEC, seed=3, **SMALL[name]) for _ in range(2))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    first.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", compile=False)
    x = np.random.default_rng(0).normal(size=(2, 50, 2)).astype(np.float32)
    np.testing.assert_allclose(again.predict(x, verbose=0), first.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("stride", [2, 5, 10])
def test_the_compact_stem_reaches_four_strides(stride: int) -> None:
    model = registry.build("compact", SPEC, stem=4, widths=[6], stride=stride)
    assert model.get_layer("stem_conv").kernel.shape == (4 * stride + 1, 2, 4)
    assert model.get_layer("stem_relu").output.shape[1] == -(-50 // stride)


@pytest.mark.parametrize("name", ["resnet", "fcn"])
def test_only_layers_that_every_runtime_has(name: str) -> None:
    plain = {"InputLayer", "Conv1D", "BatchNormalization", "ReLU", "Add", "GlobalAveragePooling1D", "Dense"}
    assert {type(layer).__name__ for layer in registry.build(name, SPEC).layers} <= plain


def test_resnet_is_the_paper_s() -> None:
    spec = DataSpec("coffee", ("0", "1"), "1", 1.0, 286)

    def block(inputs: int, filters: int) -> int:
        main = (
            conv(inputs, filters, 8)
            + conv(filters, filters, 5)
            + conv(filters, filters, 3)
            + 3 * norm(filters)
        )
        return main + norm(filters) + (conv(inputs, filters, 1) if inputs != filters else 0)

    by_hand = block(1, 64) + block(64, 128) + block(128, 128) + 128 * 2 + 2
    model = registry.build("resnet", spec)
    assert model.count_params() == by_hand
    assert [layer.kernel_size for layer in model.layers if isinstance(layer, keras.layers.Conv1D)].count(
        (8,)
    ) == 3
    assert model.get_layer("features").output.shape == (None, 286, 128)


def test_fcn_is_the_paper_s() -> None:
    spec = DataSpec("coffee", ("0", "1"), "1", 1.0, 286)
    by_hand = (
        conv(1, 128, 8)
        + conv(128, 256, 5)
        + conv(256, 128, 3)
        + norm(128)
        + norm(256)
        + norm(128)
        + 128 * 2
        + 2
    )
    assert registry.build("fcn", spec).count_params() == by_hand


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("resnett", {}, "did you mean 'resnet'"),
        ("transformer", {}, "choose one of compact, ecg13, fcn, resnet"),
        ("resnet", {"widht": 3}, r"model\.arguments\.widht.*did you mean 'width'"),
        ("fcn", {"width": 0}, "cannot be built"),
    ],
)
def test_mistakes_name_the_key(name: str, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        registry.build(name, SPEC, **arguments)
