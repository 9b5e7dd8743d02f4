"""Large constants kept in fewer bytes."""

from __future__ import annotations

import keras
import numpy as np

from trainer import tflite
from trainer.export.narrow import narrow
from trainer.export.quantize import convert
from trainer.export.slim import slim


def graph(leaf: np.ndarray, picked: np.ndarray) -> keras.Model:
    @keras.saving.register_keras_serializable("test")
    class Pick(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: object) -> object:
            flat = keras.ops.reshape(x, (-1,))
            return keras.ops.take(flat, picked, axis=0) * leaf

        def compute_output_shape(self, shape: object) -> tuple[int, ...]:
            return picked.shape

    window = keras.Input((200, 1), batch_size=1, name="window")
    return keras.Model(window, {"out": Pick()(window)})


def answer(model: bytes, x: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_content=model, num_threads=1).get_signature_runner()
    return np.array(run(window=x)["out"])


def test_picks_become_bytes_and_leaves_half_precision() -> None:
    rng = np.random.default_rng(0)
    leaf, picked = rng.normal(size=4000).astype(np.float32), rng.integers(0, 200, 4000).astype(np.int32)
    whole = convert(graph(leaf, picked), "none", np.zeros((0, 200, 1)))
    small, x = narrow(whole), rng.normal(size=(1, 200, 1)).astype(np.float32)
    assert len(slim(small)) < len(slim(whole)) - 16000
    expected = x.reshape(-1)[picked] * leaf.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(answer(small, x), expected, rtol=1e-6)
    np.testing.assert_array_equal(answer(slim(small), x), answer(small, x))


def test_numbers_that_do_not_fit_stay() -> None:
    leaf, picked = np.full(4000, 1e6, np.float32), np.full(4000, 199, np.int32)
    picked[0] = 0
    whole = convert(graph(leaf, picked), "none", np.zeros((0, 200, 1)))
    kinds = tflite.schema().TensorType
    types = [t.type for t in tflite.unpack(narrow(whole)).subgraphs[0].tensors]
    assert kinds.FLOAT16 not in types  # half precision ends at 65,504
    assert kinds.UINT8 in types


def test_a_file_with_nothing_large_is_as_it_was() -> None:
    whole = convert(graph(np.ones(8, np.float32), np.arange(8)), "none", np.zeros((0, 200, 1)))
    assert narrow(whole) == whole
