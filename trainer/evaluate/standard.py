"""The suite of record: ``--attacks standard``. Defined here once; a change of anything in it is another version.

Members are tried in turn on the records that some target still has right; per record and target the worst answer of
all counts. Gradients cross a thermometer by every surrogate in the first member; the others take the one that turned
most records there, since the surrogates' order hardly changes with the attack. The gradient-free member asks each
target itself, so the int8 file is attacked through its own answers, not through its twin's. Transfer comes from an
undefended network where the caller names one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.data.base import DataSpec

NAME, VERSION = "standard", 1
QUERIES = 500


@dataclass(frozen=True)
class Member:
    """One attack of the suite: ``label`` in reports, registry ``name`` and settings.

    ``every_surrogate``: all gradients through a thermometer; ``transfer``: made on the undefended network.
    """

    label: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    every_surrogate: bool = False
    transfer: bool = False


def members(spec: DataSpec) -> tuple[Member, ...]:
    """The suite for windows of ``spec``; the band is 0.5 to 40 Hz where the rate allows, else the same share of it."""
    rate = spec.rate_hz if spec.rate_hz >= 100 else 300.0
    band = {"steps": 50, "low": 0.5 / rate, "high": min(0.5, 40.0 / rate)}
    return (
        Member("apgd-ce", "apgd", {"steps": 50}, every_surrogate=True),
        Member("apgd-t", "apgd", {"steps": 20, "loss": "targeted", "targets": 3}),
        Member("sap", "sap", {"steps": 20, "smooth_steps": 40}),
        Member("pgd-50x5", "pgd", {"steps": 50, "restarts": 5, "keep": "worst"}),
        Member("band", "band", band),
        Member("square", "square", {"queries": QUERIES}),
        Member("transfer", "pgd", {"steps": 50}, transfer=True),
    )
