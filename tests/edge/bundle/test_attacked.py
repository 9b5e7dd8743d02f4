"""Attacked golden windows in a bundle: what is stored comes back, what does not fit is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import read_bundle, write_bundle
from edge.errors import BundleError
from edge.pipeline.golden import load_verified, robust_accuracy
from edge.zoo import names, resolve_bundle
from tests.edge.models.parts import attacked
from tests.edge.tiny import tiny_parts


def test_what_is_stored_comes_back(tmp_path: Path):
    given = attacked()
    write_bundle(tmp_path / "a.bundle", **tiny_parts(), attacked=given)
    got = read_bundle(tmp_path / "a.bundle").attacked
    assert got is not None
    assert np.array_equal(got.windows, given["windows"])
    assert got.labels.tolist() == given["labels"].tolist()
    assert got.epsilon == 10.0
    write_bundle(tmp_path / "b.bundle", **tiny_parts())
    assert read_bundle(tmp_path / "b.bundle").attacked is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("windows", np.zeros((4, 63, 1), np.float32)),
        ("windows", np.full((4, 64, 1), np.nan, np.float32)),
        ("valid", np.ones((4, 63), bool)),
        ("labels", np.array([0, 1, 2, 3])),
        ("labels", np.array([0, 1, 2], np.int64)),
        ("labels", np.zeros(0, np.int64)),
        ("epsilon", np.float32(0)),
        ("more", np.float32(1)),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, name: str, value: Any):
    with pytest.raises(BundleError, match=r"attacked\.npz"):
        write_bundle(tmp_path / "a.bundle", **tiny_parts(), attacked={**attacked(), name: value})


@pytest.mark.parametrize("name", names())
def test_shipped_bundles_have_them(name: str):
    bundle, classifier = load_verified(resolve_bundle(name))
    kept = robust_accuracy(bundle, classifier)
    assert kept is not None
    # The undefended one is there to be compared with, and would not pass an activation.
    assert (kept >= 0.7) == (name != "ecg-undefended")
