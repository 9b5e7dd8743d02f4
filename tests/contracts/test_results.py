"""README's figures are those of the committed evaluation files, and those are of the shipped bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import generate_results
from edge import zoo
from edge.bundle import read_bundle


def test_readme_shows_the_committed_figures(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert generate_results.render(readme, generate_results.load()) == readme, "run: python -m docs.generate_results"


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_bundle_carries_the_figures_that_are_published(name: str) -> None:
    published = generate_results.load()[name]
    bundle = read_bundle(zoo.resolve_bundle(name))
    assert published["model"] == bundle.manifest.ref
    assert bundle.card["evaluation"] == published
    kinds = {(row["target"], row["attack"]) for row in published["rows"]}
    assert {(t, a) for t in ("float", "int8") for a in ("clean", "fgsm", "pgd")} <= kinds
