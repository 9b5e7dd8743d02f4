"""The figures as pictures, from their cells alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer.evaluate.rejection import KINDS
from trainer.reproduce.iot.style import LABELS, MARKERS, look, picture

Cell = Mapping[str, Any]


def figure4(cell: Cell, file: Path) -> None:
    y = np.array(cell["y"])

    def draw(axes: Any) -> None:
        for one, panel in zip(axes.flat, cell["panels"], strict=True):
            points = np.array(panel["points"])
            for k, label in enumerate(np.unique(y)):
                of = points[y == label]
                ink = ("black", "0.6")[k % 2]
                one.scatter(of[:, 0], of[:, 1], s=14, marker=MARKERS[k % 6], color=ink, linewidths=0.8)
            name = "clean" if not panel["epsilon"] else f"ε = {panel['epsilon']:g}"
            one.set_title(f"{name}: stress {panel['stress']:.3f}, separable {panel['separability']:.2f}")

    picture(file, draw, rows=2, columns=2, size=(3.4, 2.6))


def figure6(cell: Cell, file: Path) -> None:
    def draw(axes: Any) -> None:
        for one, kind in zip(axes[0], KINDS, strict=True):
            one.plot(cell["examples"][kind], color="black", linewidth=0.7)
            high = np.mean(np.array(cell["resnet_confidence"][kind]) > 0.9)
            one.set_title(f"{kind}: {100 * high:.0f} % over 0.9")
        for one, kind in zip(axes[1], KINDS, strict=True):
            one.hist(cell["resnet_confidence"][kind], bins=20, range=(0, 1), color="0.75", label="ResNet")
            shape = cell[kind]["confidence"]
            one.hist(shape, bins=20, range=(0, 1), histtype="step", color="black", label="best defence")
            one.set_xlabel("confidence")
        axes[1][0].legend(frameon=False)

    picture(file, draw, rows=2, columns=len(KINDS), size=(2.4, 2.0))


def figure7(cell: Cell, file: Path) -> None:
    def draw(axes: Any) -> None:
        for one, example in zip(axes[0], cell["examples"], strict=False):
            x, weight = np.array(example["x"]), np.array(example["map"])
            weight = (weight - weight.min()) / max(np.ptp(weight), 1e-9)
            one.plot(x, color="0.7", linewidth=0.6)
            one.scatter(np.arange(len(x)), x, c=1 - weight, cmap="gray", s=7, vmin=0, vmax=1)
            one.set_title(f"class {example['label']}: dark where the class is seen")

    picture(file, draw, columns=2)


def figure8(cell: Cell, file: Path) -> None:
    def draw(axes: Any) -> None:
        for k, example in enumerate(cell["examples"][:2]):
            top, under = axes[0][k], axes[1][k]
            top.plot(example["x"], color="black", linewidth=0.9, label="series")
            top.plot(example["attacked"], color="0.55", linewidth=0.7, label="attacked")
            state = "fooled" if example["fooled"] else "held"
            top.set_title(f"class {example['label']}, {state}")
            top.legend(frameon=False)
            weight = np.array(example["map"])
            under.plot((weight - weight.min()) / max(np.ptp(weight), 1e-9), color="black", linewidth=0.9, label="map")
            under.plot(example["strength"], color="0.55", linewidth=0.7, label="loss gradient")
            under.legend(frameon=False)

    picture(file, draw, rows=2, columns=2, size=(4.0, 2.1))


def figure10(cell: Cell, file: Path) -> None:
    def draw(axes: Any) -> None:
        first, second, third = axes[0]
        first.plot(cell["noisy"], color="0.55", linewidth=0.7)
        first.set_title("series with noise")
        second.imshow(np.array(cell["code"]), aspect="auto", cmap="gray_r", origin="lower", interpolation="nearest")
        second.set_title("thermometer code of the series")
        third.plot(cell["x"], color="0.6", linewidth=0.7, label="series")
        third.plot(cell["reconstruction_of_noisy"], color="black", linewidth=0.9, label="reconstruction")
        third.set_title("decoded from the noisy one")
        third.legend(frameon=False)

    picture(file, draw, columns=3, size=(3.2, 2.5))


def figure11(cell: Cell, file: Path) -> None:
    def draw(axes: Any) -> None:
        one = axes[0][0]
        for threshold in cell["thresholds"]:
            one.axhline(threshold, color="0.85", linewidth=0.6)
        one.plot(cell["x"], color="0.55", linewidth=0.8, label="series")
        steps = cell["quantised"]
        one.step(range(len(steps)), steps, where="mid", color="black", linewidth=0.9, label="quantised")
        one.legend(frameon=False)

    picture(file, draw, size=(5.0, 2.8))


def figure12(cell: Cell, file: Path) -> None:
    def draw(axes: Any) -> None:
        left, right = axes[0]
        left.plot(cell["x"], color="0.6", linewidth=0.8, label="series")
        left.plot(cell["reconstruction"], color="black", linewidth=0.8, label="reconstruction")
        left.set_title(f"RMS error {cell['rms_error']:.3f}")
        left.legend(frameon=False)
        middle = [(b["from"] + b["to"]) / 2 for b in cell["bands"]]
        for k, key in enumerate(("series", "noise", "error", "error_from_noisy")):
            values = [max(b[key], 1e-9) for b in cell["bands"]]
            right.semilogy(middle, values, label=key.replace("_", " "), **look(k))
        right.set(xlabel="frequency, cycles a sample", ylabel="share of the series' power")
        right.legend(frameon=False)

    picture(file, draw, columns=2)


def curves(cell: Cell, file: Path) -> None:
    """Fig. 14 and 15: accuracy over epsilon."""

    def draw(axes: Any) -> None:
        one = axes[0][0]
        for k, key in enumerate(key for key in cell if key in LABELS):
            one.plot(cell["epsilon"], cell[key], label=LABELS[key], **look(k))
        if "without_attack" in cell:
            one.axhline(cell["without_attack"], color="0.8", linewidth=1, label="without attack")
        one.set(xlabel="ε", ylabel="accuracy", ylim=(0, 1.02))
        one.legend(frameon=False, fontsize=7)

    picture(file, draw, size=(5.2, 3.2))


FIGURES = {
    4: figure4,
    6: figure6,
    7: figure7,
    8: figure8,
    10: figure10,
    11: figure11,
    12: figure12,
    14: curves,
    15: curves,
}
