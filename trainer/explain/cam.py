"""Class activation maps (paper 1, section 3.5; Zhou and others 2016, Wang and others 2017 for series).

The class score before the softmax is Z_c = sum_m w_cm sum_t A_m(t) (eq. 3) = sum_t sum_m w_cm A_m(t) (eq. 4), so the
map CAM_c(t) = sum_m w_cm A_m(t) (eq. 5) tells what each point of time adds, with A_m the last convolution's m-th
output and w_cm the weight from its average to class c. (Averages, not sums, are pooled: a factor of 1 / time.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

TOP = 0.2  # share of the points that count as attacked, and as key region


def class_activation(features: np.ndarray, weights: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Eq. 5 for each window: (n, time).

    Args:
        features: (n, time, filter), outputs of the last convolution. weights: (filter, class). label: (n,).
    """
    return np.asarray(np.einsum("ntm,nm->nt", features, weights.T[label]))


def maps(model: Any, x: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Maps of a Keras classifier with layers ``features`` and ``logits``, at the series' own time scale.

    Args:
        model: takes ``x`` (n, time, channel). label: (n,) the class whose map is wanted.
    """
    import keras

    inner = keras.Model(model.inputs, model.get_layer("features").output)
    features = np.concatenate([np.asarray(inner(x[i : i + 64], training=False)) for i in range(0, len(x), 64)])
    found = class_activation(features, np.asarray(model.get_layer("logits").kernel), label)
    # a strided net's map is drawn out to the length of the series
    at = (np.arange(x.shape[1]) + 0.5) * found.shape[1] / x.shape[1] - 0.5
    return np.stack([np.interp(at, np.arange(found.shape[1]), row) for row in found])


def overlap(attacked: np.ndarray, cam: np.ndarray, top: float = TOP) -> np.ndarray:
    """(n,) share of the ``top`` attacked points that lie in the ``top`` of the map; by chance it is ``top``.

    FGSM moves every point by the same epsilon, so ``attacked`` (n, time) must say how much each move matters: the
    size of the loss's gradient there.
    """
    k = max(1, round(top * cam.shape[1]))
    hit = np.argsort(-attacked, axis=1, kind="stable")[:, :k]
    key = np.argsort(-cam, axis=1, kind="stable")[:, :k]
    return np.array([len(np.intersect1d(a, b)) / k for a, b in zip(hit, key, strict=True)])
