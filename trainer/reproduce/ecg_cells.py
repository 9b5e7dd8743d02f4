"""Paper 2's attacks on trained networks, one result cell for each: clean, situation I and II, boundary.

Situation I: the attack is made on the undefended network of the same run and put to every defended one; II: on the
defended network itself. A cell keeps the answer to every record, so that methods can be compared record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.boundary import Walk, decisions, make_set
from trainer.attacks.registry import make
from trainer.attacks.sap import SAP
from trainer.cells import Cells
from trainer.data.base import Windows
from trainer.evaluate.answers import candidates
from trainer.evaluate.subject import load_twin, softmax
from trainer.models.wrap import AttackModel
from trainer.reproduce.ecg_nets import folder_of

CHUNK = 64
UNDEFENDED = "none"


@dataclass(frozen=True)
class Shot:
    """SAP with t ``steps``, t' ``smooth_steps`` (0 is PGD), ``epsilon`` and step size alpha in uV."""

    steps: int = 20
    smooth_steps: int = 0
    epsilon: float = 10.0
    step_size: float = 1.0

    @property
    def name(self) -> str:
        return f"t{self.steps}-s{self.smooth_steps}-e{self.epsilon:g}-a{self.step_size:g}"

    def attack(self) -> SAP:
        share = self.step_size / self.epsilon
        return SAP(epsilon=self.epsilon, steps=self.steps, smooth_steps=self.smooth_steps, step_share=share)


SAP_SHOT, PGD_SHOT = Shot(smooth_steps=40), Shot()
SMOOTHING = [Shot(smooth_steps=k) for k in (0, 10, 20, 30, 40)]  # Fig. 3 and 4
BUDGETS = [Shot(epsilon=float(e)) for e in (5, 10, 15, 20, 25)]  # Fig. 5 and 6, alpha 1 uV as in the paper
HONEST = [Shot(epsilon=float(e), step_size=e / 10) for e in (5, 10, 15, 20, 25)]  # alpha grows with epsilon


class Grid:
    """Cells of the networks under ``out``, evaluated on ``windows``."""

    def __init__(
        self,
        cells: Cells,
        out: Path,
        windows: Windows,
        walk: Walk,
        per_pair: int,
        tell: Callable[[str], None],
    ) -> None:
        self.cells, self.out, self.windows = cells, out, windows
        self.walk, self.per_pair, self.tell = walk, per_pair, tell
        self._models: dict[tuple[int, str], AttackModel] = {}

    def clean(self, run: int, net: str) -> dict[str, Any]:
        """``predictions`` of each record and ``stuck``, the number whose gradient was zero."""

        def compute() -> dict[str, Any]:
            logits = self._model(run, net).predict(self.windows.x, self.windows.valid)
            return {"predictions": logits.argmax(-1).tolist(), "stuck": 0}

        return self._get(f"run{run}/{net}/clean", compute)

    def own(self, run: int, net: str, shot: Shot) -> dict[str, Any]:
        """Situation II. A record without gradient counts as wrong."""

        def compute() -> dict[str, Any]:
            model = self._model(run, net)
            x, stuck = self._attacked(model, shot.attack(), run)
            p = softmax(model.predict(x, self.windows.valid))
            p[stuck, self.windows.y[stuck]] = -1.0
            return {"predictions": p.argmax(-1).tolist(), "stuck": int(stuck.sum())}

        return self._get(f"run{run}/{net}/{shot.name}", compute)

    def attacked_by(
        self, run: int, net: str, name: str, settings: dict[str, Any], index: np.ndarray
    ) -> dict[str, Any]:
        """The records ``index`` under a registered attack made on the network itself."""

        def compute() -> dict[str, Any]:
            model, part = self._model(run, net), self.windows
            x, stuck = self._attacked(model, make(name, **settings), run, index)
            p = softmax(model.predict(x, part.valid[index]))
            p[stuck, part.y[index][stuck]] = -1.0
            return {"predictions": p.argmax(-1).tolist(), "stuck": int(stuck.sum())}

        told = "-".join(f"{key}_{value}" for key, value in settings.items())
        return self._get(f"run{run}/{net}/{name}-{told}-n{len(index)}", compute)

    def through(self, run: int, net: str, shot: Shot, nets: Sequence[str]) -> dict[str, Any]:
        """Situation I for ``net``; one cell holds all ``nets``, since the attacked windows are made once."""

        def compute() -> dict[str, Any]:
            x, stuck = self._attacked(self._model(run, UNDEFENDED), shot.attack(), run)
            answers = {
                name: self._model(run, name).predict(x, self.windows.valid).argmax(-1).tolist()
                for name in nets
            }
            return {"predictions": answers, "stuck": int(stuck.sum())}

        cell = self._get(f"run{run}/through/{shot.name}", compute)
        return {"predictions": cell["predictions"][net], "stuck": cell["stuck"]}

    def boundary(self, run: int, nets: Sequence[str]) -> dict[str, Any]:
        """Table 6: windows made on the undefended network, true classes ``y``, and every net's ``predictions``."""

        def compute() -> dict[str, Any]:
            decide = decisions(self._model(run, UNDEFENDED))
            made = make_set(decide, self.windows, per_pair=self.per_pair, walk=self.walk, seed=run)
            answers = {
                name: decisions(self._model(run, name))(made.x, made.valid).tolist() if len(made.y) else []
                for name in nets
            }
            return {
                "y": made.y.tolist(),
                "target": made.target.tolist(),
                "tried": made.tried,
                "mean_l2": float(made.distance.mean()) if len(made.y) else None,
                "predictions": answers,
            }

        return self._get(f"run{run}/boundary", compute)

    def _get(self, name: str, compute: Callable[[], Any]) -> Any:
        def told() -> Any:
            self.tell(f"cell {name}")
            return compute()

        return self.cells.get(name, told)

    def _model(self, run: int, net: str) -> AttackModel:
        if (run, net) not in self._models:
            self._models = {key: model for key, model in self._models.items() if key[0] == run}
            self._models[run, net] = load_twin(folder_of(self.out, net, run), net, ())
        return self._models[run, net]

    def attacked(self, run: int, net: str, shot: Shot, at: int) -> tuple[np.ndarray, int]:
        """One record under attack on ``net`` itself: (time,) samples and the answer."""
        model, windows = self._model(run, net), self.windows
        part = slice(at, at + 1)
        (found,) = candidates(
            shot.attack(), model, windows.x[part], windows.y[part], windows.valid[part], seed=[run, at]
        )
        return found.x[0, :, 0], int(model.predict(found.x, windows.valid[part]).argmax(-1)[0])

    def _attacked(
        self, model: AttackModel, attack: Attack, run: int, index: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        windows = self.windows
        index = np.arange(len(windows)) if index is None else index
        x, stuck = np.empty((len(index), *windows.x.shape[1:]), np.float32), np.zeros(len(index), bool)
        for start in range(0, len(index), CHUNK):
            part, chosen = slice(start, start + CHUNK), index[start : start + CHUNK]
            (found,) = candidates(
                attack, model, windows.x[chosen], windows.y[chosen], windows.valid[chosen], seed=[run, start]
            )
            x[part], stuck[part] = found.x, found.stuck
        return x, stuck
