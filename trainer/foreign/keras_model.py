"""A foreign Keras file as a model of ours: windows (time, channel) in, logits out. Nothing in it may run code.

``.keras`` and ``.h5`` store layers as names and numbers. A Lambda layer stores Python bytecode, a custom layer needs
somebody's source: both are refused by reading the stored configuration before anything is built from it.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from trainer.data.base import DataSpec
from trainer.errors import ExportError

SUFFIXES = (".keras", ".h5", ".hdf5")
# A bundle holds 64 MB at most; optimizer state triples what training saved.
MAX_BYTES = 256 << 20


def load(path: Path) -> Any:
    """The Keras model in the file, uncompiled.

    Raises:
        ExportError: too large, damaged, or with layers that are not Keras's own.
    """
    import keras

    if path.stat().st_size > MAX_BYTES:
        raise ExportError(f"{path}: larger than {MAX_BYTES >> 20} MB; a bundle holds 64 MB at most")
    _check(stored_config(path), str(path))
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged archive raises whatever its parser does
        raise ExportError(f"{path}: Keras cannot load it: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(model, keras.Model):
        raise ExportError(f"{path}: holds a {type(model).__name__}, not a model")
    return model


def stored_config(path: Path) -> Any:
    """The configuration as plain JSON values, without building anything."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(info.file_size for info in archive.infolist()) > MAX_BYTES:
                    raise ExportError(f"{path}: unpacks to more than {MAX_BYTES >> 20} MB")
                return json.loads(archive.read("config.json"))
        import h5py

        with h5py.File(path, "r") as file:
            text = file.attrs["model_config"]
            return json.loads(text.decode() if isinstance(text, bytes) else text)
    except KeyError as error:
        raise ExportError(f"{path}: holds weights without a model; save the whole model with model.save()") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ExportError(f"{path}: not a Keras file (.keras or .h5): {error}") from error


def _check(value: Any, where: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check(item, where)
    if not isinstance(value, dict):
        return
    kind, module = value.get("class_name"), value.get("module")
    if kind in ("Lambda", "__lambda__"):
        raise ExportError(
            f"{where}: a {kind} in it holds Python code, which is not run; replace it by Keras layers and save again"
        )
    named = f"{value.get('registered_name') or ''} {kind}"  # PACKAGE>NAME where its author registered it
    homes = ("keras", "builtins") if kind == "function" else ("keras",)  # a Keras function is stored by its bare name
    if isinstance(kind, str) and ((isinstance(module, str) and module.split(".")[0] not in homes) or ">" in named):
        raise ExportError(
            f"{where}: {kind!r} is no layer of Keras ({module or named.strip()}); use Keras's own layers and save again"
        )
    for item in value.values():
        _check(item, where)


def adapt(model: Any, spec: DataSpec, outputs: str, sample: Any) -> Any:
    """(time, channel) -> (n, class) logits, around ``model``, whose weights are shared and frozen.

    Args:
        outputs: "probabilities", "logits" or "auto", which looks at the answers to ``sample`` (n, time, channel).

    Raises:
        ExportError: shapes that do not fit the spec.
    """
    import keras
    import numpy as np

    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ExportError(
            f"{model.name}: {len(model.inputs)} inputs, {len(model.outputs)} outputs; one of each is wrapped"
        )
    model.trainable = False
    inputs = keras.Input((spec.window_samples, len(spec.channels)), name="window")
    shaped = _layout(inputs, model.input_shape[1:], spec, model.name)
    classes, given = len(spec.labels), model.output_shape
    if len(given) != 2 or given[-1] not in (classes, 1) or (given[-1] == 1 and classes != 2):
        raise ExportError(
            f"{model.name}: its output has shape {tuple(given)}, labels has {classes} entries; a classifier gives one "
            "number for each label (or one alone for two labels)"
        )
    whole = keras.Model(inputs, model(shaped))
    if outputs == "auto":
        outputs = kind_of(np.asarray(whole.predict(sample, verbose=0)))
    logits = _logits(model, shaped, outputs)
    if given[-1] == 1:  # one number is that of the second label
        logits = keras.ops.concatenate([keras.ops.zeros_like(logits), logits], axis=-1)
    adapted = keras.Model(inputs, logits, name="foreign")
    adapted.trainable = False
    return adapted


def kind_of(answers: Any) -> str:
    """"probabilities" where rows (n, class) are some, or a single column lies in 0 to 1; else "logits"."""
    inside = bool((answers >= -1e-6).all() and (answers <= 1 + 1e-6).all())
    whole = answers.shape[-1] == 1 or bool((abs(answers.sum(-1) - 1) < 1e-2).all())
    return "probabilities" if inside and whole else "logits"


def _layout(inputs: Any, shape: tuple[int | None, ...], spec: DataSpec, name: str) -> Any:
    from keras import layers

    time, channels = spec.window_samples, len(spec.channels)

    def fits(*wanted: int) -> bool:
        return len(shape) == len(wanted) and all(a in (None, b) for a, b in zip(shape, wanted, strict=True))

    if fits(time, channels):
        return inputs
    if channels == 1 and fits(time):
        return layers.Reshape((time,), name="as_vector")(inputs)
    if fits(time, channels, 1) or fits(time, 1, channels):
        return layers.Reshape(tuple(side or 1 for side in shape), name="as_image")(inputs)
    if fits(channels, time):
        return layers.Permute((2, 1), name="channels_first")(inputs)
    raise ExportError(
        f"{name}: takes windows of shape {shape}; the spec's {time} samples of {channels} channel(s) do not fit"
    )


def _logits(model: Any, inputs: Any, outputs: str) -> Any:
    """What the last softmax or sigmoid reads, so that gradients do not vanish where the model is sure."""
    import keras
    from keras import layers, ops

    if outputs == "logits":
        return model(inputs)
    last = model.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    squashes = activation in ("softmax", "sigmoid")
    if isinstance(last, layers.Softmax) or (isinstance(last, layers.Activation) and squashes):
        return keras.Model(model.inputs, last.input)(inputs)
    if isinstance(last, layers.Dense) and squashes:
        linear = layers.Dense(last.units, use_bias=last.use_bias, name="foreign_logits", trainable=False)
        answer = linear(keras.Model(model.inputs, last.input)(inputs))
        linear.set_weights(last.get_weights())
        return answer
    answers = ops.clip(model(inputs), 1e-7, 1.0 - 1e-7)
    if model.output_shape[-1] == 1:
        return ops.log(answers) - ops.log(1.0 - answers)
    return ops.log(answers)
