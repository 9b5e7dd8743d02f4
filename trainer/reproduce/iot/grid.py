"""Every result of one output folder as a cell, computed when it is first asked for.

Cells lie below ``cells/DATASET/seedN/``; each is a small JSON file, so a killed run loses one at most, and each names
the networks that it was made from: where a recipe has changed since, it is made again. Without ``compute`` nothing is
made: a cell that is not there is :class:`MissingCellError`, and a report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from trainer.attacks.fgsm import FGSM
from trainer.cells import Cells
from trainer.errors import TrainingError
from trainer.evaluate.ceiling import ceiling
from trainer.reproduce.iot import suite
from trainer.reproduce.iot.archive import Prepared, prepare
from trainer.reproduce.iot.nets import Nets
from trainer.reproduce.iot.plan import Scale
from trainer.reproduce.iot.recipes import UNDEFENDED

Tell = Callable[[str], None]


class MissingCellError(Exception):
    """A cell that is not there yet."""


class Grid:
    """The cells below ``out`` and what makes them."""

    def __init__(
        self, cells: Cells, nets: Nets, scale: Scale, data: Path, tell: Tell, *, compute: bool = True
    ) -> None:
        self.cells, self.nets, self.scale, self.data_at, self.tell = cells, nets, scale, data, tell
        self.compute = compute
        self._prepared = lru_cache(maxsize=32)(lambda name: prepare(self.data_at, name))
        self._made: dict[tuple[str, int], dict[str, dict[str, np.ndarray]]] = {}

    def data(self, name: str) -> Prepared:
        return self._prepared(name)

    def get(
        self, name: str, dataset: str, compute: Callable[[], Any], nets: Sequence[str] = (), seed: int = 0
    ) -> Any:
        """The cell ``name``, made from networks ``nets`` of ``dataset``.

        Raises:
            MissingCellError: it is not there and this grid makes none.
        """
        if not self.compute:
            if not self.cells.has(name):
                raise MissingCellError(name)
            return self.cells.get(name, compute)["cell"]
        of = [self.nets.name(net, self.data(dataset), seed) for net in nets]

        def made() -> dict[str, Any]:
            self.tell(name)
            return {"networks": of, "cell": compute()}

        kept = self.cells.get(name, made)
        if kept["networks"] != of:
            self.cells.drop(name)
            kept = self.cells.get(name, made)
        return kept["cell"]

    def facts(self, name: str) -> dict[str, Any]:
        """Sizes, labels and digest of a dataset, and its ceiling.

        Raises:
            TrainingError: the folder's cells were made from other data of that name.
        """

        def compute() -> dict[str, Any]:
            data = self.data(name)
            w = data.windows
            found = ceiling(w.x, w.y, self.scale.epsilon, w.valid)
            return {
                "digest": data.digest,
                "n_train": len(data.train),
                "n_test": len(data.test),
                "classes": data.classes,
                "samples": data.train.spec.window_samples,
                "notes": list(data.notes),
                "ceiling": found.share,
                "ceiling_exact": found.exact,
                "conflicts": found.conflicts,
                "cover": found.cover,
            }

        cell: dict[str, Any] = self.get(f"{name}/facts", name, compute)
        if self.compute and cell["digest"] != self.data(name).digest:
            raise TrainingError(
                f"{self.cells.out}: {name} there is other data than in {self.data_at}; give another --out"
            )
        return cell

    def train(self, net: str, name: str, seed: int) -> None:
        """See that the network is there."""
        if self.compute:
            self.nets.trained(net, self.data(name), seed)

    def undefended(self, net: str, name: str, seed: int) -> dict[str, Any]:
        """Clean and FGSM, by the true label and by the predicted one."""

        def compute() -> dict[str, Any]:
            model, w = self.nets.whole(net, self.data(name), seed), self.data(name).windows
            cell = {"clean": suite.bits(suite.right(model, w.x, w))}
            for label in ("true", "predicted"):
                x = suite.attack_all(model, w, FGSM(epsilon=self.scale.epsilon, label=label))
                cell[f"fgsm_{label}"] = suite.bits(suite.right(model, x, w))
            return cell

        found: dict[str, Any] = self.get(f"{name}/seed{seed}/{net}", name, compute, (net,), seed)
        return found

    def grey(self, net: str, name: str, seed: int) -> dict[str, Any]:
        """The paper's evaluation of the encode-decode: FGSM on its ResNet alone, put to the whole."""

        def compute() -> dict[str, Any]:
            data = self.data(name)
            whole, part = self.nets.whole(net, data, seed), self.nets.classifier(net, data, seed)
            w, epsilon = data.windows, self.scale.epsilon
            cell = {f"fgsm_{k}": suite.grey(whole, part, w, epsilon, k) for k in ("true", "predicted")}
            return {"clean": suite.bits(suite.right(whole, w.x, w)), **cell}

        found: dict[str, Any] = self.get(f"{name}/seed{seed}/{net}-grey", name, compute, (net,), seed)
        return found

    def white(self, net: str, name: str, seed: int) -> dict[str, Any]:
        """White-box attacks and Square; the worst windows are kept beside the network for its int8 file."""

        def compute() -> dict[str, Any]:
            data = self.data(name)
            cell, worst = suite.white(self.nets.whole(net, data, seed), data.windows, self.scale, seed)
            np.save(self.worst_file(net, name, seed), worst)
            return cell

        found: dict[str, Any] = self.get(f"{name}/seed{seed}/{net}-white", name, compute, (net,), seed)
        return found

    def worst_file(self, net: str, name: str, seed: int) -> Path:
        return self.nets.folder(net, self.data(name), seed) / "worst.npy"

    def transfer(self, net: str, name: str, seed: int) -> dict[str, str]:
        """What FGSM and PGD-40 on the undefended ResNet and FCN do to ``net``."""

        def compute() -> dict[str, str]:
            data = self.data(name)
            return suite.transferred(self.nets.whole(net, data, seed), data.windows, self._attacked(name, seed))

        found: dict[str, str] = self.get(
            f"{name}/seed{seed}/{net}-transfer", name, compute, (net, *UNDEFENDED), seed
        )
        return found

    def int8(self, name: str, seed: int) -> dict[str, Any]:
        """The int8 file of the best defence: clean, and on the windows that were worst for its float twin."""

        def compute() -> dict[str, Any]:
            from trainer.reproduce.iot.device import int8_cell

            self.white("best", name, seed)
            data, file = self.data(name), self.worst_file("best", name, seed)
            if not file.exists():  # another machine made the cell
                _, worst = suite.white(self.nets.whole("best", data, seed), data.windows, self.scale, seed)
                np.save(file, worst)
            return int8_cell(self.nets.trained("best", data, seed), data, np.load(file, allow_pickle=False))

        found: dict[str, Any] = self.get(f"{name}/seed{seed}/best-int8", name, compute, ("best",), seed)
        return found

    def _attacked(self, name: str, seed: int) -> dict[str, dict[str, np.ndarray]]:
        """Windows attacked on the undefended networks; those of the last dataset and seed stay in memory."""
        key = (name, seed)
        if key not in self._made:
            data = self.data(name)
            self._made = {
                key: {
                    net: suite.made_on(self.nets.whole(net, data, seed), data.windows, self.scale, seed)
                    for net in UNDEFENDED
                }
            }
        return self._made[key]
