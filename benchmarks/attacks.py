"""Our attacks beside those of adversarial-robustness-toolbox: ``python -m benchmarks.attacks --json F``.

FGSM and PGD-20 at the same budget on the same ResNet and the same series, in one process, one after the other and
several times; throughput is series a second by the median run, success the share of rightly named series that are
fooled. The toolbox gets its own fastest road for TensorFlow (TensorFlowV2Classifier) and our batch size; both sides
warm up once. Series are synthetic, so that nothing needs to be fetched; the network learns them first.

The goal holds for a width that small devices can afford (16 filters); the paper's 64 stand beside it, where arithmetic
outweighs all else on a CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.goals import Figure, report

TIMES, POINTS = 3.0, 0.01
EPSILON, STEPS, STEP_SHARE, BATCH = 0.1, 20, 0.1, 64


def series(n: int, samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, samples, 1) noisy sines of three frequencies, z-normalised, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    t = np.linspace(0, 1, samples)
    x = np.sin(2 * np.pi * (3 + 2 * y[:, None]) * t + rng.uniform(0, 6, (n, 1))) + rng.normal(0, 1.0, (n, samples))
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return x[..., None].astype(np.float32), y


def trained(width: int, samples: int, epochs: int) -> Any:
    """The ResNet of paper 1 with ``width`` filters in its first block, trained on other series of the kind."""
    import keras

    from trainer.data.base import DataSpec
    from trainer.models import resnet

    model = resnet.build(DataSpec("sines", ("a", "b", "c"), "1", 1.0, samples), width=width, momentum=0.8)
    x, y = series(96, samples, seed=1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.002), loss)
    model.fit(x, y, batch_size=16, epochs=epochs, verbose=0)
    return model


def ours(model: Any) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Our attacks, the model prepared once."""
    from trainer.attacks.registry import make
    from trainer.models.wrap import AttackModel

    wrapped = AttackModel(model)
    fgsm, pgd = make("fgsm", epsilon=EPSILON), make("pgd", epsilon=EPSILON, steps=STEPS, step_share=STEP_SHARE)
    return {"FGSM": lambda x, y: fgsm.run(wrapped, x, y), "PGD-20": lambda x, y: pgd.run(wrapped, x, y)}


def theirs(model: Any) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """The toolbox's attacks with the same settings."""
    import keras
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import TensorFlowV2Classifier

    classifier = TensorFlowV2Classifier(
        model=model,
        nb_classes=model.output_shape[-1],
        input_shape=model.input_shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    fgsm = FastGradientMethod(classifier, norm=np.inf, eps=EPSILON, batch_size=BATCH)
    pgd = ProjectedGradientDescent(
        classifier,
        norm=np.inf,
        eps=EPSILON,
        eps_step=STEP_SHARE * EPSILON,
        max_iter=STEPS,
        num_random_init=0,
        batch_size=BATCH,
        verbose=False,
    )
    return {"FGSM": fgsm.generate, "PGD-20": pgd.generate}


def measure(n: int, samples: int, width: int, epochs: int, runs: int, goal: bool) -> list[Figure]:
    """Both sides in turn, ``runs`` times each; with ``goal`` the throughput is held to it."""
    model = trained(width, samples, epochs)
    x, y = series(n, samples)
    right = model.predict(x, batch_size=BATCH, verbose=0).argmax(-1) == y
    sides = {"ours": ours(model), "toolbox": theirs(model)}
    found = []
    for name in ("FGSM", "PGD-20"):
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        fooled = {}
        for attacks in sides.values():
            attacks[name](x[:BATCH], y[:BATCH])  # compiles
        for _ in range(runs):
            for side, attacks in sides.items():
                began = time.perf_counter()
                attacked = attacks[name](x, y)
                seconds[side].append(time.perf_counter() - began)
                answers = model.predict(attacked, batch_size=BATCH, verbose=0).argmax(-1)
                fooled[side] = float((answers != y)[right].mean())
        rate = {side: n / statistics.median(taken) for side, taken in seconds.items()}
        tag, times = f"{name}, width {width}", rate["ours"] / rate["toolbox"]
        apart = abs(fooled["ours"] - fooled["toolbox"])
        found += [
            Figure(f"{tag}, ours", rate["ours"], "/s", None, f"{fooled['ours']:.3f} of right series fooled"),
            Figure(f"{tag}, toolbox", rate["toolbox"], "/s", None, f"{fooled['toolbox']:.3f} fooled"),
            Figure(f"{tag}, times as fast", times, "x", TIMES if goal else None, f"{runs} runs", at_least=True),
            Figure(f"{tag}, success apart", apart, "", POINTS, "share of series"),
        ]
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--series", type=int, default=256)
    parser.add_argument("--samples", type=int, default=286, help="of a series (286: Coffee)")
    parser.add_argument(
        "--widths", type=int, nargs="+", default=[16, 64], help="filters of the first block; the goal is the first's"
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    a = parser.parse_args(argv)
    from trainer.cli.common import load_keras

    load_keras()
    try:
        from art import __version__ as version
    except ModuleNotFoundError:
        print("benchmarks.attacks: pip install 'adversarial-robustness-toolbox==1.20.*'", file=sys.stderr)
        return 1
    context = {"toolbox": version, "series": a.series, "samples": a.samples, "widths": a.widths, "batch": BATCH}
    found = [
        figure
        for k, width in enumerate(a.widths)
        for figure in measure(a.series, a.samples, width, a.epochs, a.runs, goal=k == 0)
    ]
    return report(found, context, a.json)


if __name__ == "__main__":
    sys.exit(main())
