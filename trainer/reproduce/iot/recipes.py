"""The recipe of each network: what Fawaz and others trained, the paper's encode-decode in two readings, the best.

Networks by name: ``resnet`` and ``fcn`` undefended, ``joint`` (encode-decode and ResNet learn together, two losses,
Fig. 9), ``two_stage`` (the encode-decode learns alone, then a ResNet on its reconstructions), ``best`` (this
project's defence: attacked in training through the thermometer's wide surrogate). Recipes are text, so that
``trainer train`` makes the same network and a network is named by what made it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from trainer.reproduce.iot.archive import Prepared
from trainer.reproduce.iot.closeness import Closeness, closeness
from trainer.reproduce.iot.plan import Scale

NETS = ("resnet", "fcn", "joint", "two_stage", "best")
UNDEFENDED = ("resnet", "fcn")
PAPER_LEVELS = 10  # section 4: ten evenly spaced levels
# Section 4: the encoder maps "to a fixed-length vector" that carries the meaning, without a size. Half as many numbers
# as the series has samples, over windows of 33: what a wider code lets through, an attack passes too (experiments.md)
CODE = {"stride": 8, "kernel": 33, "width": 4}
NOISE = 0.1  # section 4 adds "some random noise" and gives no size
LEVELS = (32, 128)  # of the best defence: spaced by half the gap between classes, within what a device affords
MOSTLY, HARDLY = 0.5, 0.07  # shares of the classes' difference that a budget leaves
QUIET = 0.005  # share of samples that a budget may carry over a level
WIDE = 0.3  # deviations between classes that a warped clock does not bridge
FINE = 0.05  # deviations between classes below which any budget worth the name swallows them
HEAVY_TAIL = 8.0  # deviations: a set that reaches beyond it has its levels where its base load is not

RECIPE = """\
[data]
kind = "ucr"
name = {name}
{data}
[model]
name = "{model}"
arguments = {arguments}
{front}
[defense]
{defense}
[training]
{training}
weight_decay = {weight_decay}
seed = {seed}
checkpoint_every_s = 120
validate_every = 100000
[export]
name = "{export}"
max_drop = 1.0
"""


def batch_of(n: int, smallest: int) -> int:
    """Fawaz and others: min(n / 10, 64); at least ``smallest``."""
    return max(smallest, min(n // 10, 64))


def text(net: str, data: Prepared, scale: Scale, seed: int) -> str:
    """The whole recipe of ``net`` for one dataset at one scale."""
    fields = _best(data, scale) if net == "best" else _paper(net, data, scale)
    fields["arguments"] = _table({**fields["arguments"], "seed": seed})
    front = fields["front"]
    fields["front"] = f"encode_decode = {_table({**front, 'seed': seed})}" if front else ""
    fields["training"] |= {"precision": scale.precision}
    fields["training"] = "\n".join(f"{key} = {_value(value)}" for key, value in fields["training"].items())
    # names of datasets come from folders: quoted as JSON strings, which TOML reads alike
    export = "".join(c if c.isalnum() and c.isascii() else "-" for c in f"{data.name}-{net}")[:64]
    return RECIPE.format(name=json.dumps(data.name), seed=seed, export=export, **fields)


def _paper(net: str, data: Prepared, scale: Scale) -> dict[str, Any]:
    fcn = net == "fcn"
    training: dict[str, Any] = {
        "epochs": scale.fcn_epochs if fcn else scale.epochs,
        # FCN: batch 16 (Fawaz and others 2019)
        "batch": 16 if fcn else batch_of(len(data.train), scale.smallest_batch),
        "learning_rate": 0.001,
        "schedule": "plateau",
        "patience": 50,
        "rate_floor": 1e-4,
        "keep": "lowest_loss",
        "stop_after": scale.stop_after,
        "stop_delta": scale.stop_delta,
        "settle_steps": scale.settle_steps,
        "clip_norm": 1e9,
    }
    low, high = data.reach
    front: dict[str, Any] = {}
    defense = 'name = "none"'
    if net in ("joint", "two_stage"):
        front = {"levels": PAPER_LEVELS, "low": low, "high": high, **CODE}
        weights = {"noise": NOISE, "reconstruction_unit": 1.0, "reconstruction_power": 2}
        defense += f"\narguments = {_table(weights)}"
        if net == "two_stage":
            training |= {"pretrain_epochs": scale.epochs, "freeze_encode_decode": True}
    arguments = {"width": scale.fcn_width if fcn else scale.width, "momentum": scale.momentum}
    return {
        "data": "",
        "model": "fcn" if fcn else "resnet",
        "arguments": arguments,
        "front": front,
        "defense": defense,
        "training": training,
        "weight_decay": 0.0,
    }


def _best(data: Prepared, scale: Scale) -> dict[str, Any]:
    n = len(data.train)
    batch = min(32, max(16, n // 8))
    epochs = max(scale.best_epochs, -(-scale.best_steps // max(1, n // batch)))
    values = np.concatenate([signal.ravel() for signal in data.train.signals])
    heavy = float(np.abs(values).max()) > HEAVY_TAIL
    close = closeness(data.train, scale.epsilon)
    low, high = float(values.min()) - scale.epsilon, float(values.max()) + scale.epsilon
    levels = int(np.clip(2 * (high - low) / max(close.gap, 1e-3), *LEVELS))
    if heavy:
        low, high, levels = float(np.arcsinh(quiet(values, scale.epsilon))), float(np.arcsinh(high)), LEVELS[0]
    attack: dict[str, Any] = {
        "steps": 4,
        "step_share": 0.5,
        "share": 0.7 if close.beyond >= HARDLY else 0.5,
        "noise": round(min(0.05, close.gap / 4), 3),
        "reconstruction_weight": 0.3,
        "reconstruction_unit": 1.0,
        "reconstruction_power": 2,
    }
    gain, warp, mix = round(min(0.1, close.gap / 2), 3), 0.5 if close.gap >= WIDE else 0.3, 0.5
    fine = close.gap < FINE
    if fine:
        attack["steps"], warp, mix = 0, 0.1, 0.2
    data_lines = f"gain = {gain}\nwarp = {warp}\nmix = {mix}\n"
    spent = budgets(close, scale.epsilon)
    if heavy:
        data_lines = 'gain = 0.05\nwarp = 0.3\nmix = 0.3\npreprocess = [{ op = "asinh", scale = 1.0 }]'
        attack |= {"steps": 3, "share": 0.5, "noise": 0.05, "reconstruction_power": 1}
        spent = [scale.epsilon]
    return {
        "data": data_lines,
        "model": "resnet",
        "arguments": {"width": scale.best_width, "momentum": 0.9, "stride": 2},
        "front": {
            "levels": levels,
            "low": low,
            "high": high,
            "stride": 2,
            "kernel": 9,
            "width": scale.best_front,
            "surrogate": "sigmoid",
        },
        "defense": f'name = "adversarial_training"\nepsilons = {_value(spent)}\n'
        f"arguments = {_table(attack)}",
        "training": {
            "epochs": epochs,
            "pretrain_epochs": max(20, epochs // 20),
            "batch": batch,
            "learning_rate": 0.003,
            "warmup_epochs": max(1, epochs // 20),
            "average_decay": 0.99,
            "label_smoothing": 0.05,
        },
        "weight_decay": 0.02,
    }


def budgets(close: Closeness, epsilon: float) -> list[float]:
    """What training's attacks may spend, by how much of the classes' difference a budget of ``epsilon`` leaves.

    Where most of it is left, half and all; where some is, smaller ones too; where hardly any, clean accuracy is what
    can be had.
    """
    shares = (0.5, 1.0) if close.beyond >= MOSTLY else (0.3, 0.6, 1.0) if close.beyond >= HARDLY else (0.1, 0.3)
    return [round(share * epsilon, 6) for share in shares]


def quiet(values: np.ndarray, epsilon: float) -> float:
    """The lowest level above the median that hardly a sample of a heavy-tailed set lies within ``epsilon`` of.

    Most samples of such a set are a base load within a few tenths; a thermometer with levels among them hands the
    attacker every sample, one whose levels begin above it hands over none, whatever the network does.
    """
    for level in np.arange(np.median(values), values.max(), max(epsilon, 0.01) / 2):
        if np.mean(np.abs(values - level) <= epsilon) <= QUIET:
            return float(level)
    return float(np.median(values))


def _value(value: Any) -> str:
    return json.dumps(value)


def _table(values: dict[str, Any]) -> str:
    """A TOML inline table of names, numbers and lists of numbers."""
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in values.items()) + " }"
