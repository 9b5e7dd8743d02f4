"""The attacks of Table 4 on one network: which test series stay right under which.

White-box attacks go through the whole network; a thermometer passes its gradient straight through or by BPDA, under
every surrogate, and the worst counts. Nothing in these networks is random when they answer, so there is nothing to
average over (EOT). Every list is one bool a test series, kept as a string of 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.attacks.base import Attack
from trainer.attacks.fgsm import FGSM
from trainer.attacks.pgd import PGD
from trainer.attacks.square import Square
from trainer.data.base import Windows
from trainer.evaluate.answers import attacked
from trainer.models.wrap import BATCH, AttackModel
from trainer.reproduce.iot.plan import Scale

Made = Mapping[str, np.ndarray]
# More than this share, and two series at least, must be found by the weaker attack before the stronger one is doubted.
DOUBT = 0.01
LEFT_AT_LARGE = 0.02


def bits(flags: np.ndarray) -> str:
    return "".join("1" if f else "0" for f in flags)


def flags(text: str) -> np.ndarray:
    return np.array([c == "1" for c in text], bool)


def right(model: AttackModel, x: np.ndarray, windows: Windows) -> np.ndarray:
    """(n,) which windows ``x`` the model names rightly."""
    return np.asarray(model.predict(x, windows.valid).argmax(-1) == windows.y)


class Standing:
    """Series that nothing has broken yet, and for each the window that broke it or came nearest."""

    def __init__(self, model: AttackModel, windows: Windows) -> None:
        self.model, self.windows = model, windows
        self.clean = right(model, windows.x, windows)
        self.right = self.clean.copy()
        self.worst = windows.x.copy()
        self.without_gradient = np.ones(len(windows), bool)

    def attack(self, attack: Attack, rows: np.ndarray, seed: Sequence[int]) -> np.ndarray:
        """Attack ``rows`` under the gradient that the model has now; (n,) which series stay right."""
        w, stays = self.windows, self.right.copy()
        if not len(rows):
            return stays
        index = whole_batches(rows, len(w))
        x_adv, stuck = attacked(attack, self.model, w.x[index], w.y[index], w.valid[index], list(seed))
        x_adv, stuck = x_adv[: len(rows)], stuck[: len(rows)]
        if attack.gradient != "none":
            self.without_gradient[rows[~stuck]] = False
        stays[rows] = self.model.predict(x_adv, w.valid[rows]).argmax(-1) == w.y[rows]
        broken = rows[self.right[rows] & ~stays[rows]]
        self.worst[broken] = x_adv[np.isin(rows, broken)]
        return stays


def whole_batches(rows: np.ndarray, n: int) -> np.ndarray:
    """``rows`` and repeats of the last up to whole batches of one size, so that every attack is one compiled step."""
    size = min(BATCH, n)
    return np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % size)])


def white(model: AttackModel, windows: Windows, scale: Scale, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """FGSM, PGD with restarts and Square on the whole network; and the worst window of each series.

    FGSM and the first PGD see every series that is right; restarts, further surrogates and Square those that still
    stand. ``one_step_only`` and ``square_only`` count what only the weaker attack found.
    """
    s = Standing(model, windows)
    everything = np.flatnonzero(s.clean)
    fgsm = s.clean.copy()
    for surrogate in model.surrogates:
        with model.surrogate(surrogate):
            fgsm &= s.attack(FGSM(epsilon=scale.epsilon), everything, [seed])
    fgsm_worst, s.worst = s.worst, windows.x.copy()
    for restart in range(scale.restarts):
        for surrogate in model.surrogates:
            rows = np.flatnonzero(s.right)
            with model.surrogate(surrogate):
                s.right &= s.attack(pgd(scale, restart), rows, [seed, restart])
    pgd_right = s.right.copy()
    one_step_only = pgd_right & ~fgsm
    s.worst[one_step_only] = fgsm_worst[one_step_only]
    without = s.without_gradient & s.clean
    s.right &= fgsm & ~without  # where there was no gradient to follow, nothing was shown: counted as lost
    before = s.right.copy()
    square = Square(epsilon=scale.epsilon, queries=scale.queries)
    s.right &= s.attack(square, np.flatnonzero(before), [seed, 99])
    cell = {
        "clean": bits(s.clean),
        "fgsm": bits(fgsm),
        "pgd": bits(pgd_right),
        "white": bits(before),
        "with_square": bits(s.right),
        "one_step_only": int(one_step_only.sum()),
        "square_only": int((before & ~s.right).sum()),
        "without_gradient": int(without.sum()),
        "left_at_large": _large(model, windows, scale, seed),
    }
    return cell, s.worst


def pgd(scale: Scale, restart: int) -> PGD:
    """PGD-40, the worst iterate kept; cross-entropy from the series itself, then the margin from random starts."""
    if restart == 0:
        return PGD(epsilon=scale.epsilon, steps=scale.pgd_steps, step_share=0.1, keep="worst")
    return PGD(
        epsilon=scale.epsilon, steps=scale.pgd_steps, step_share=0.1, loss="margin", keep="worst", random_start=True
    )


def _large(model: AttackModel, windows: Windows, scale: Scale, seed: int) -> float:
    """Share of series, among some that are right, left by PGD at a budget that drowns every series: should be 0."""
    rows = np.flatnonzero(right(model, windows.x, windows))
    if not len(rows):
        return 0.0
    rows = rows[np.linspace(0, len(rows) - 1, min(scale.large_limit, len(rows))).round().astype(int)]
    s = Standing(model, windows)
    s.right[:] = False
    s.right[rows] = True
    attack = PGD(epsilon=scale.large_epsilon, steps=20, step_share=0.2, keep="worst", loss="margin")
    for surrogate in model.surrogates:
        with model.surrogate(surrogate):
            s.right &= s.attack(attack, np.flatnonzero(s.right), [seed, 7])
    return float(s.right.sum() / len(rows))


def made_on(source: AttackModel, windows: Windows, scale: Scale, seed: int) -> dict[str, np.ndarray]:
    """Series attacked on ``source``, to be put to other networks: ``fgsm`` and ``pgd``."""
    every = np.arange(len(windows))
    index = whole_batches(every, len(windows))
    found = {}
    for name, attack in (("fgsm", FGSM(epsilon=scale.epsilon)), ("pgd", pgd(scale, 0))):
        x, _ = attacked(attack, source, windows.x[index], windows.y[index], windows.valid[index], [seed])
        found[name] = x[: len(windows)]
    return found


def transferred(model: AttackModel, windows: Windows, made: Mapping[str, Made]) -> dict[str, str]:
    """Which series stay right when another network's attacked windows come; by ``source/attack``."""
    return {
        f"{source}/{name}": bits(right(model, x, windows))
        for source, by_attack in made.items()
        for name, x in by_attack.items()
    }


def grey(whole: AttackModel, classifier: AttackModel, windows: Windows, epsilon: float, label: str = "true") -> str:
    """The paper's path: FGSM on the ResNet part alone with the series as its input, put to the whole."""
    with_x = attack_all(classifier, windows, FGSM(epsilon=epsilon, label=label))
    return bits(right(whole, with_x, windows))


def attack_all(model: AttackModel, windows: Windows, attack: Attack) -> np.ndarray:
    """Every series attacked under the first gradient of ``model``; one without gradient stays as it is."""
    index = whole_batches(np.arange(len(windows)), len(windows))
    with model.surrogate(model.surrogates[0]):
        x, _ = attacked(attack, model, windows.x[index], windows.y[index], windows.valid[index], [0])
    return x[: len(windows)]


def adaptive(white_cell: Mapping[str, Any], transfer_cell: Mapping[str, str]) -> np.ndarray:
    """(n,) which series nothing broke: the worst of all attacks, series by series."""
    standing = flags(white_cell["with_square"])
    for text in transfer_cell.values():
        standing = standing & flags(text)
    return standing


def warnings_of(white_cell: Mapping[str, Any], transfer_cell: Mapping[str, str]) -> list[str]:
    """Codes of ``trainer.evaluate.checks.WARNINGS``: signs that the white-box figure flatters the network."""
    n = len(white_cell["clean"])
    limit = max(2, DOUBT * n)
    held = flags(white_cell["white"])
    found = []
    if white_cell["without_gradient"]:
        found.append("zero_gradient")
    lost = sum(int((held & ~flags(text)).sum()) >= limit for text in transfer_cell.values())
    if white_cell["square_only"] >= limit or lost:
        found.append("black_box_beats_white_box")
    if white_cell["one_step_only"] >= limit:
        found.append("more_steps_do_not_help")
    if white_cell["left_at_large"] > LEFT_AT_LARGE:
        found.append("large_epsilon_leaves_some")
    return found


def all_warnings(cells: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]) -> list[str]:
    return sorted({code for pair in cells for code in warnings_of(*pair)})


