"""Table 4 from cells: one row a dataset, fractions between 0 and 1, and the means where every dataset has a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evaluate.intervals import mean_interval, wilson
from trainer.reproduce.iot import suite
from trainer.reproduce.iot.grid import Grid, MissingCellError
from trainer.reproduce.papers import IOT as PAPER

COLUMNS = (
    "resnet_clean",
    "resnet_fgsm",
    "encdec_clean",
    "encdec_fgsm_paper",
    "encdec_adaptive",
    "best_clean",
    "best_fgsm",
    "best_adaptive",
    "ceiling",
)
MORE = (
    "best_without_transfer",
    "resnet_fgsm_predicted",
    "encdec_fgsm_predicted",
    "two_stage_clean",
    "two_stage_fgsm_paper",
    "two_stage_adaptive",
    "int8_clean",
    "int8_adaptive",
)


def share(text: str) -> float:
    return float(suite.flags(text).mean())


def figures(grid: Grid, name: str, seed: int) -> dict[str, Any]:
    """One seed's figures of one dataset; None where a cell is missing, or export refused the int8 file."""

    def int8(key: str) -> str:
        cell = grid.int8(name, seed)
        if "refused" in cell:
            raise MissingCellError(cell["refused"])
        return str(cell[key])

    def adaptive(net: str) -> float:
        return float(suite.adaptive(grid.white(net, name, seed), grid.transfer(net, name, seed)).mean())

    sources: dict[str, Callable[[], float]] = {
        "resnet_clean": lambda: share(grid.undefended("resnet", name, seed)["clean"]),
        "resnet_fgsm": lambda: share(grid.undefended("resnet", name, seed)["fgsm_true"]),
        "encdec_clean": lambda: share(grid.grey("joint", name, seed)["clean"]),
        "encdec_fgsm_paper": lambda: share(grid.grey("joint", name, seed)["fgsm_true"]),
        "encdec_adaptive": lambda: adaptive("joint"),
        "best_clean": lambda: share(grid.white("best", name, seed)["clean"]),
        "best_fgsm": lambda: share(grid.white("best", name, seed)["fgsm"]),
        "best_adaptive": lambda: adaptive("best"),
        "ceiling": lambda: float(grid.facts(name)["ceiling"]),
        "best_without_transfer": lambda: share(grid.white("best", name, seed)["with_square"]),
        "resnet_fgsm_predicted": lambda: share(grid.undefended("resnet", name, seed)["fgsm_predicted"]),
        "encdec_fgsm_predicted": lambda: share(grid.grey("joint", name, seed)["fgsm_predicted"]),
        "two_stage_clean": lambda: share(grid.grey("two_stage", name, seed)["clean"]),
        "two_stage_fgsm_paper": lambda: share(grid.grey("two_stage", name, seed)["fgsm_true"]),
        "two_stage_adaptive": lambda: adaptive("two_stage"),
        "int8_clean": lambda: share(int8("clean")),
        "int8_adaptive": lambda: float(
            np.mean(
                suite.flags(int8("worst"))
                & suite.adaptive(grid.white("best", name, seed), grid.transfer("best", name, seed))
            )
        ),
    }
    found = {}
    for key, source in sources.items():
        try:
            found[key] = source()
        except MissingCellError:
            found[key] = None
    return found


def warnings(grid: Grid, name: str, seeds: Sequence[int]) -> list[str]:
    """``net: code`` of every doubt about a white-box figure; why there is no int8 file; ``ceiling: bound`` where it is
    no exact one.
    """
    found = set()
    for net in ("joint", "two_stage", "best"):
        for seed in seeds:
            try:
                cells = grid.white(net, name, seed), grid.transfer(net, name, seed)
            except MissingCellError:
                continue
            found |= {f"{net}: {code}" for code in suite.warnings_of(*cells)}
    for seed in seeds:
        try:
            found |= {f"best: no int8 file, {why}" for why in [grid.int8(name, seed).get("refused")] if why}
        except MissingCellError:
            continue
    if not grid.facts(name)["ceiling_exact"]:
        found.add("ceiling: upper bound")
    return sorted(found)


def build(grid: Grid, names: Sequence[str], seeds: int) -> dict[str, Any]:
    """``table4.json`` and, under ``more``, the two-stage reading and the int8 file."""
    rows: dict[str, dict[str, Any]] = {}
    more: dict[str, dict[str, Any]] = {}
    for name in names:
        try:
            facts = grid.facts(name)
        except MissingCellError:
            continue
        by_seed = [figures(grid, name, seed) for seed in range(seeds)]
        row = {key: _mean([f[key] for f in by_seed]) for key in COLUMNS}
        row["n_test"] = facts["n_test"]
        first = {"resnet": "resnet_clean", "encdec": "encdec_adaptive", "best": "best_adaptive"}
        row["seeds"] = {
            key: [seed for seed, f in enumerate(by_seed) if f[column] is not None]
            for key, column in first.items()
        }
        row["warnings"] = warnings(grid, name, range(seeds))
        rows[name] = row
        more[name] = {key: _mean([f[key] for f in by_seed]) for key in MORE}
    means = _means(rows, names, COLUMNS)
    return {
        "table4": {"datasets": rows, "means": means, "intervals": _intervals(rows, means)},
        "more": {"datasets": more, "means": _means(more, names, MORE)},
    }


def _intervals(rows: Mapping[str, Mapping[str, Any]], means: Mapping[str, float | None]) -> dict[str, Any]:
    """95 % intervals, (low, high), of what was counted on test series: Wilson's for a dataset, MOVER's for a mean.

    Seeds answer the same series, so they do not add to n.
    """
    counted = [key for key in COLUMNS if key != "ceiling"]

    def own(row: Mapping[str, Any], key: str) -> tuple[float, float]:
        return wilson(row[key] * row["n_test"], row["n_test"])

    found: dict[str, Any] = {
        name: {key: own(row, key) for key in counted if row[key] is not None} for name, row in rows.items()
    }
    whole = [key for key in counted if means[key] is not None]
    of_means = {
        key: mean_interval([row[key] for row in rows.values()], [own(row, key) for row in rows.values()])
        for key in whole
    }
    return {"datasets": found, "means": of_means}


def paper_means() -> tuple[float, ...]:
    """The paper's three columns averaged over its ten datasets, in percent."""
    return tuple(float(np.mean(column)) for column in zip(*PAPER.values(), strict=True))


def _mean(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return float(np.mean(there)) if there else None


def _means(
    rows: dict[str, dict[str, Any]], names: Sequence[str], columns: Sequence[str]
) -> dict[str, float | None]:
    """A mean stands only where every dataset has its figure: a mean of some would be read as the mean of all."""
    found: dict[str, float | None] = {}
    for key in columns:
        values = [rows[name][key] if name in rows else None for name in names]
        found[key] = (
            float(np.mean([v for v in values if v is not None])) if values and None not in values else None
        )
    return found
