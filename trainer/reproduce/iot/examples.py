"""Table 1 and the figures that show one dataset (the paper's Coffee): each a cell of plain numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from edge.bundle.thermometer import encode
from trainer.attacks.fgsm import FGSM
from trainer.data.base import Windows
from trainer.defenses.smoothing import moving_average, savitzky_golay, smooth
from trainer.evaluate.subject import softmax
from trainer.explain import cam, mds
from trainer.models.wrap import AttackModel, thermometers
from trainer.reproduce.iot import suite
from trainer.reproduce.iot.grid import Grid
from trainer.reproduce.iot.recipes import NOISE, UNDEFENDED

TABLE1_EPSILONS = (0.08, 0.1, 0.12, 0.15)
FIGURE4_EPSILONS = (0.0, 0.06, 0.07, 0.08)
FIGURE14_EPSILONS = (0.0, 0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
FIGURE15_EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
SMOOTHERS = {"moving_average_5": moving_average(5), "savitzky_golay_11_3": savitzky_golay(11, 3)}
BANDS = 8


def fgsm(model: AttackModel, windows: Windows, epsilon: float) -> np.ndarray:
    return suite.attack_all(model, windows, FGSM(epsilon=epsilon)) if epsilon else windows.x


def accuracy(model: AttackModel, x: np.ndarray, windows: Windows) -> float:
    return float(suite.right(model, x, windows).mean())


def transferability(grid: Grid, name: str) -> dict[str, Any]:
    """Table 1: FGSM made on each undefended network and put to both, in all four directions."""

    def compute() -> dict[str, Any]:
        data = grid.data(name)
        models = {net: grid.nets.whole(net, data, 0) for net in UNDEFENDED}
        rows = []
        for epsilon in TABLE1_EPSILONS:
            row: dict[str, Any] = {"epsilon": epsilon}
            for source, model in models.items():
                x = fgsm(model, data.windows, epsilon)
                for target, other in models.items():
                    row[f"{target}_on_{source}"] = accuracy(other, x, data.windows)
            rows.append(row)
        clean = {net: accuracy(model, data.windows.x, data.windows) for net, model in models.items()}
        return {"clean": clean, "rows": rows}

    found: dict[str, Any] = grid.get(f"{name}/table1", name, compute, UNDEFENDED)
    return found


def plane(grid: Grid, name: str) -> dict[str, Any]:
    """Fig. 4: the ResNet's pooled features of clean and attacked series in two dimensions."""

    def compute() -> dict[str, Any]:
        data = grid.data(name)
        model = grid.nets.whole("resnet", data, 0)
        panels = []
        for epsilon in FIGURE4_EPSILONS:
            x = fgsm(model, data.windows, epsilon)
            points, stress = mds.embed(pooled(model, x))
            panels.append(
                {
                    "epsilon": epsilon,
                    "points": points.round(5).tolist(),
                    "stress": stress,
                    "separability": mds.separability(points, data.windows.y),
                    "accuracy": accuracy(model, x, data.windows),
                }
            )
        return {"y": data.windows.y.tolist(), "panels": panels}

    found: dict[str, Any] = grid.get(f"{name}/figure4", name, compute, ("resnet",))
    return found


def pooled(model: AttackModel, x: np.ndarray) -> np.ndarray:
    """(n, filter) averages of the last convolution of an undefended network."""
    import keras

    inner = keras.Model(model.model.inputs, model.model.get_layer("embedding").output)
    return np.concatenate([np.asarray(inner(x[i : i + 64], training=False)) for i in range(0, len(x), 64)])


def activation(grid: Grid, name: str) -> dict[str, Any]:
    """Fig. 7 and 8: maps of the ResNet, two attacked series, and the overlap of attack and map as a number."""

    def compute() -> dict[str, Any]:
        data, w = grid.data(name), grid.data(name).windows
        model = grid.nets.whole("resnet", data, 0)
        attacked = fgsm(model, w, 0.1)
        maps = cam.maps(model.model, w.x, w.y)
        strength = loss_slope(model, w)
        share = cam.overlap(strength, maps)
        broken = suite.right(model, w.x, w) & ~suite.right(model, attacked, w)
        examples = []
        for label in range(min(2, data.classes)):
            of_class = np.flatnonzero(w.y == label)
            fooled = of_class[broken[of_class]]
            i = int((fooled if len(fooled) else of_class)[0]) if len(of_class) else 0
            answers = softmax(model.predict(np.stack([w.x[i], attacked[i]]))).max(-1)
            examples.append(
                {
                    "label": data.train.spec.labels[label],
                    "x": w.x[i, :, 0].round(5).tolist(),
                    "attacked": attacked[i, :, 0].round(5).tolist(),
                    "map": maps[i].round(5).tolist(),
                    "strength": (strength[i] / max(strength[i].max(), 1e-12)).round(5).tolist(),
                    "confidence": [float(a) for a in answers],
                    "fooled": bool(broken[i]),
                }
            )
        return {
            "examples": examples,
            "overlap": float(share.mean()),
            "overlap_of_fooled": float(share[broken].mean()) if broken.any() else None,
            "chance": cam.TOP,
            "n": len(share),
        }

    found: dict[str, Any] = grid.get(f"{name}/figure7", name, compute, ("resnet",))
    return found


def loss_slope(model: AttackModel, windows: Windows) -> np.ndarray:
    """(n, time) size of the loss's gradient at every point: how much FGSM's move there matters."""
    from trainer import gradients
    from trainer.defenses.base import cross_entropy

    classes = model.model.outputs[0].shape[-1]
    target = np.eye(classes, dtype=np.float32)[windows.y]

    def slope(x: Any, valid: Any, target: Any) -> Any:
        return gradients.input_gradient(lambda a: cross_entropy(target, model.logits(a, valid)), x)[1]

    step = gradients.compiled(slope)
    found = [
        np.asarray(step(*(gradients.tensor(a[i : i + 64]) for a in (windows.x, windows.valid[..., None], target))))
        for i in range(0, len(windows), 64)
    ]
    return np.asarray(np.abs(np.concatenate(found)).sum(-1))


def encode_decode(grid: Grid, name: str) -> dict[str, Any]:
    """Fig. 10 to 12: one series with noise, its quantised curve, its reconstruction, and the error by band."""

    def compute() -> dict[str, Any]:
        data, w = grid.data(name), grid.data(name).windows
        model = grid.nets.whole("joint", data, 0)
        layer = thermometers(model.model)[0]
        rng = np.random.default_rng(0)
        noisy = (w.x + NOISE * rng.standard_normal(w.x.shape)).astype(np.float32) * w.valid[..., None]
        clean_back, noisy_back = reconstructed(model, w.x), reconstructed(model, noisy)
        code = encode(w.x[0, :, 0], layer.thresholds)
        # the value that a code stands for: halfway between the thresholds around it
        edges = np.concatenate([[data.reach[0]], layer.thresholds, [data.reach[1]]])
        quantised = ((edges[:-1] + edges[1:]) / 2)[code.sum(-1).astype(int)]
        return {
            "x": w.x[0, :, 0].round(5).tolist(),
            "noisy": noisy[0, :, 0].round(5).tolist(),
            "reconstruction": clean_back[0, :, 0].round(5).tolist(),
            "reconstruction_of_noisy": noisy_back[0, :, 0].round(5).tolist(),
            "quantised": quantised.round(5).tolist(),
            "thresholds": [float(t) for t in layer.thresholds],
            "code": code.astype(int).T.tolist(),
            "bands": bands(w.x[..., 0], clean_back[..., 0], noisy[..., 0], noisy_back[..., 0]),
            "rms_error": float(np.sqrt(np.mean((clean_back - w.x) ** 2))),
            "rms_error_from_noisy": float(np.sqrt(np.mean((noisy_back - w.x) ** 2))),
        }

    found: dict[str, Any] = grid.get(f"{name}/figure10", name, compute, ("joint",))
    return found


def reconstructed(model: AttackModel, x: np.ndarray) -> np.ndarray:
    """What a network with an encode-decode gives back, in its own (preprocessed) units."""
    parts = [np.asarray(model.model(x[i : i + 64], training=False)[1]) for i in range(0, len(x), 64)]
    return np.concatenate(parts)


def bands(x: np.ndarray, back: np.ndarray, noisy: np.ndarray, noisy_back: np.ndarray) -> list[dict[str, float]]:
    """Mean power of the series (n, time), of the noise and of both reconstruction errors in ``BANDS`` bands.

    Bands are equal parts of the frequencies up to half a cycle a sample; powers are shares of the series' own.
    """

    def power(a: np.ndarray) -> np.ndarray:
        spectrum = np.abs(np.fft.rfft(a, axis=1)) ** 2
        spectrum[:, 1:] *= 2  # both signs of the frequency
        if a.shape[1] % 2 == 0:
            spectrum[:, -1] /= 2
        return np.asarray(spectrum.mean(0))

    signals = {"series": x, "noise": noisy - x, "error": back - x, "error_from_noisy": noisy_back - x}
    powers = {key: power(a) for key, a in signals.items()}
    total, count = powers["series"].sum(), len(powers["series"])
    edges = np.linspace(0, count, BANDS + 1).round().astype(int)
    found = []
    for low, high in pairwise(edges):
        row = {"from": 0.5 * low / count, "to": 0.5 * high / count}
        found.append(row | {key: float(p[low:high].sum() / total) for key, p in powers.items()})
    return found


def over_epsilon(grid: Grid, name: str) -> dict[str, Any]:
    """Fig. 14: the encode-decode ResNet under FGSM, by the paper's path and through the whole."""

    def compute() -> dict[str, Any]:
        data, w = grid.data(name), grid.data(name).windows
        curves: dict[str, Any] = {"epsilon": list(FIGURE14_EPSILONS)}
        whole, part = grid.nets.whole("joint", data, 0), grid.nets.classifier("joint", data, 0)
        curves["grey_box"] = [accuracy(whole, fgsm(part, w, e), w) for e in FIGURE14_EPSILONS]
        for key, model in (("white_box", whole), ("best_white_box", grid.nets.whole("best", data, 0))):
            curves[key] = [float(white_fgsm(model, w, e).mean()) for e in FIGURE14_EPSILONS]
        resnet = grid.nets.whole("resnet", data, 0)
        curves["resnet"] = [accuracy(resnet, fgsm(resnet, w, e), w) for e in FIGURE14_EPSILONS]
        return curves

    found: dict[str, Any] = grid.get(f"{name}/figure14", name, compute, ("joint", "best", "resnet"))
    return found


def white_fgsm(model: AttackModel, windows: Windows, epsilon: float) -> np.ndarray:
    """(n,) right under FGSM through the whole network, by every surrogate."""
    stays = suite.right(model, windows.x, windows)
    for surrogate in model.surrogates if epsilon else ():
        with model.surrogate(surrogate):
            index = suite.whole_batches(np.arange(len(windows)), len(windows))
            x, _ = suite.attacked(
                FGSM(epsilon=epsilon), model, windows.x[index], windows.y[index], windows.valid[index], [0]
            )
            stays &= suite.right(model, x[: len(windows)], windows)
    return stays


def preprocessing(grid: Grid, name: str) -> dict[str, Any]:
    """Fig. 15: FGSM on the undefended ResNet, which reads the series after smoothing or encode-decode.

    The attacker does not know of the preprocessing here, as in the paper; Fig. 14 shows what happens when it does.
    """

    def compute() -> dict[str, Any]:
        data, w = grid.data(name), grid.data(name).windows
        resnet, front = grid.nets.whole("resnet", data, 0), grid.nets.whole("two_stage", data, 0)
        curves: dict[str, Any] = {"epsilon": list(FIGURE15_EPSILONS)}
        for epsilon in FIGURE15_EPSILONS:
            x = fgsm(resnet, w, epsilon)
            seen = {"none": x, "encode_decode": reconstructed(front, x)}
            seen |= {key: smooth(x, taps) for key, taps in SMOOTHERS.items()}
            for key, series in seen.items():
                curves.setdefault(key, []).append(accuracy(resnet, series, w))
        curves["without_attack"] = accuracy(resnet, w.x, w)
        return curves

    found: dict[str, Any] = grid.get(f"{name}/figure15", name, compute, ("resnet", "two_stage"))
    return found
