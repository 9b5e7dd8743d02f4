"""The encode-decode in front of a foreign classifier: its levels from the windows, its weights from training on them.

Two phases. First it learns to give windows back from their thermometer code with noise added (paper 1, section 4).
Then, where the classifier is differentiable, windows are attacked through both with PGD and the encode-decode alone
learns to keep the classifier's own answer on the clean window: no label is needed and the classifier stays as it is
(in the manner of H. Salman and others, "Denoised smoothing", 2020, whose stability loss this is, for PGD instead of
Gaussian noise).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import preprocess
from trainer.data.base import Dataset, DataSpec
from trainer.foreign.spec import WindowFile
from trainer.recipe import Recipe

Report = Callable[[dict[str, Any]], None]


def thresholds(prepared: np.ndarray, levels: int) -> dict[str, float]:
    """Arguments of ``encode_decode.build`` that place the levels over preprocessed windows (n, time, channel).

    Spaced by a sinh (fine near zero, wide outside) where values are centred, else evenly over their range.
    """
    values = prepared.reshape(-1).astype(np.float64)
    low, high = np.quantile(values, (0.0005, 0.9995))
    spread = float(values.std()) or 1.0
    if abs(float(np.median(values))) > 0.5 * spread:
        margin = 0.05 * (high - low) or 1.0
        return {"low": float(low - margin), "high": float(high + margin)}
    inner = float(np.quantile(np.abs(values), 0.6)) or spread
    return {"scale": inner, "reach": float(np.arcsinh(max(abs(low), abs(high), 2 * inner) / inner))}


def build(spec: DataSpec, file: WindowFile, prepared: np.ndarray) -> tuple[Any, Any]:
    """(the encode-decode of one channel, the same over all channels with shared weights)."""
    import keras
    from keras import layers

    from trainer.models import encode_decode

    f = file.front
    one = encode_decode.build(
        replace(spec, channels=("value",)), levels=f.levels, stride=f.stride, kernel=f.kernel, width=f.width,
        seed=f.seed, **thresholds(prepared, f.levels),
    )  # fmt: skip
    if len(spec.channels) == 1:
        return one, one
    inputs = keras.Input((spec.window_samples, len(spec.channels)), name="window")
    parts = [one(inputs[:, :, i : i + 1]) for i in range(len(spec.channels))]
    return one, keras.Model(inputs, layers.Concatenate()(parts), name="encode_decode_channels")


def recipe(file: WindowFile, epochs: tuple[int, int], unit: float) -> Recipe:
    """The same as a recipe, so that the trainer's own loop runs it and the card holds every number."""
    f = file.front
    noise = f.noise if f.noise is not None else unit / 8.0
    arguments = {
        "steps": f.attack_steps, "step_share": 0.5, "share": 0.7, "noise": noise, "reconstruction_weight": 0.5,
        "reconstruction_unit": unit, "reconstruction_power": 2,
    }  # fmt: skip
    return Recipe.model_validate(
        {
            "data": {"kind": "own", "preprocess": file.preprocess},
            "model": {"name": "foreign", "encode_decode": {"levels": f.levels, "stride": f.stride}},
            "defense": {"name": "adversarial_training", "epsilons": [file.budget], "arguments": arguments},
            "training": {
                "epochs": epochs[1], "pretrain_epochs": epochs[0], "batch": f.batch, "seed": f.seed,
                "learning_rate": f.learning_rate, "average_decay": 0.98, "validate_every": 100_000,
            },
            "export": {"name": file.name, "version": file.version, "false_alarms": file.false_alarms},
        }
    )  # fmt: skip


def train(
    file: WindowFile, data: Dataset, front: Any, classifier: Any | None, unit: float, scratch: Path, report: Report
) -> tuple[Recipe, Any | None]:
    """Train ``front`` in place; gives the recipe and the joint model, None without a differentiable classifier.

    ``data``: windows whose labels are the classifier's own answers. ``unit``: an error that counts as 1.
    """
    from trainer.defenses import registry
    from trainer.defenses.encode_decode import Reconstruction
    from trainer.models import encode_decode
    from trainer.training import Trainer

    per_epoch = max(1, len(data) // min(file.front.batch, max(2, len(data))))
    epochs = max(1, round(file.front.steps / per_epoch))
    plan = recipe(file, (epochs, max(1, epochs // 2)), unit)
    arguments = plan.defense.arguments
    first = Trainer(
        plan, front, Reconstruction(noise=arguments["noise"], unit=unit, power=2), data, scratch, "encode_decode"
    )
    first.run(None, report, resume=False)
    _keep_average(first)
    if classifier is None:
        return plan, None
    joint = encode_decode.join(front, classifier)
    if file.front.attack_steps:
        second = Trainer(plan, joint, registry.make(plan.defense.name, **arguments), data, scratch, "joint")
        second.run(None, report, resume=False)
        _keep_average(second)
    return plan, joint


def _keep_average(stage: Any) -> None:
    trained = {id(weight) for weight in stage.model.trainable_weights}  # the classifier's stay to the bit
    for weight, mean in zip(stage.model.weights, stage.state.average, strict=True):
        if id(weight) in trained:
            weight.assign(np.asarray(mean))


def prepared(data: Dataset, steps: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(raw x, preprocessed x, valid) of a data set's windows."""
    windows = data.windows()
    x = np.stack([preprocess.apply(steps, w, v) for w, v in zip(windows.x, windows.valid, strict=True)])
    return windows.x, x, windows.valid
