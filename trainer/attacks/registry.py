"""Attacks by name. A new attack is one file, one line here and one row in the family's shared tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainer.attacks.apgd import APGD
from trainer.attacks.band import Band
from trainer.attacks.base import Attack
from trainer.attacks.boundary import Boundary
from trainer.attacks.cw import CW
from trainer.attacks.eot import EOT
from trainer.attacks.fgsm import FGSM
from trainer.attacks.hopskipjump import HopSkipJump
from trainer.attacks.joint import Joint
from trainer.attacks.nes import NES
from trainer.attacks.noise import Noise
from trainer.attacks.pgd import PGD
from trainer.attacks.quantized import Quantized
from trainer.attacks.sap import SAP
from trainer.attacks.smooth import Smooth
from trainer.attacks.square import Square
from trainer.attacks.universal import Universal
from trainer.errors import AttackError

FAMILY: tuple[type[Attack], ...] = (
    APGD, Band, Boundary, CW, EOT, FGSM, HopSkipJump, Joint, NES, Noise, PGD, Quantized, SAP, Smooth, Square,
    Universal,
)  # fmt: skip
ATTACKS: dict[str, type[Attack]] = {attack.name: attack for attack in FAMILY}


def make(name: str, *, epsilon: float | np.ndarray, **settings: Any) -> Attack:
    """The attack called ``name`` with its settings.

    Raises:
        AttackError: unknown name, a setting it does not have, or a value it cannot take.
    """
    if name not in ATTACKS:
        raise AttackError(
            f"unknown attack {name!r}; known are {', '.join(sorted(ATTACKS))} (and 'clean' for none)"
        )
    try:
        return ATTACKS[name](epsilon=epsilon, **settings)
    except (TypeError, ValueError) as error:
        raise AttackError(f"{name}: {error}") from error
