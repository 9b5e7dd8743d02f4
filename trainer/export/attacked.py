"""Attacked golden windows for a bundle: synthetic windows, turned as far as an attacker with the float twin can.

An agent runs them before a bundle takes over (``edge.models``). What is stored as right is the bundle's own answer on
the window unharmed, so that the share of kept answers says how firmly it stands, not how well it diagnoses.
"""

from __future__ import annotations

import numpy as np

from edge.bundle import Bundle, preprocess
from edge.pipeline.classify import Classifier
from trainer.attacks.pgd import PGD
from trainer.data.base import DataSpec
from trainer.export import golden
from trainer.models.wrap import AttackModel

COUNT = 8
STEPS = 40
SEED = 7
# The budget of both papers' main tables, and a tenth of a standard deviation where there is no unit.
EPSILON_UV, EPSILON_OTHER = 10.0, 0.1


def windows(twin: AttackModel, bundle: Bundle, spec: DataSpec) -> dict[str, np.ndarray]:
    """Arrays of ``edge.bundle.attacked``: PGD of 40 steps on the margin from the exact gradient of ``twin``."""
    epsilon = EPSILON_UV if spec.units == "uV" else EPSILON_OTHER
    x, valid = golden.windows(spec, COUNT, SEED)
    classifier, steps = Classifier(bundle), bundle.manifest.preprocess
    answers = [
        int(classifier.run(preprocess.apply(steps, x[i], valid[i])[None])["probabilities"][0].argmax())
        for i in range(COUNT)
    ]
    labels = np.asarray(answers, np.int64)
    attack = PGD(epsilon=epsilon, steps=STEPS, step_share=0.1, loss="margin", keep="worst")
    attacked = attack.run(twin, x, labels, valid, np.random.default_rng(SEED))
    return {
        "windows": np.asarray(attacked, np.float32),
        "valid": valid,
        "labels": labels,
        "epsilon": np.float32(epsilon),
    }
