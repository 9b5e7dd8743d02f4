"""Bundles from an attacker: unsigned, replayed, older, swollen. Refused before anything of them is used."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.build import load_bundle
from edge.bundle import parse_bundle, signing
from edge.bundle.version import is_older
from edge.config import BundleSettings
from edge.errors import BundleError
from firmware_bridge.errors import RecordingError
from firmware_bridge.recordings import open_recordings
from tests.edge.tiny import tiny_bundle

MINE, OTHER = bytes(range(32)), bytes(range(1, 33))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of several versions and makers, and the key that is trusted."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "maker.pub").write_text(signing.public_key_text(signing.public_key(MINE)))
    for name, key, version in [
        ("good", MINE, "1.10.0"),
        ("old", MINE, "1.9.0"),
        ("unsigned", None, "1.10.0"),
        ("foreign", OTHER, "1.10.0"),
    ]:
        tiny_bundle(folder / f"{name}.bundle", signing_key=key, version=version)
    return folder


def load(folder: Path, name: str, **settings: str) -> str:
    bundle, _ = load_bundle(
        BundleSettings(path=folder / f"{name}.bundle", key=folder / "maker.pub", **settings)
    )
    assert bundle.verified
    return bundle.manifest.version


def test_only_the_makers_signature_counts(folder: Path):
    assert load(folder, "good") == "1.10.0"
    for name, says in (("unsigned", "signature is missing"), ("foreign", "not the trusted key's")):
        with pytest.raises(BundleError, match=says):
            load(folder, name)


def test_a_signature_cannot_be_taken_from_another_bundle(folder: Path):
    good, old = ((folder / f"{name}.bundle").read_bytes() for name in ("good", "old"))
    with zipfile.ZipFile(io.BytesIO(good)) as one, zipfile.ZipFile(io.BytesIO(old)) as other:
        signature, other_signature = one.read("signature"), other.read("signature")
    forged = good.replace(signature, other_signature)
    with pytest.raises(BundleError, match=r"signature|damaged"):
        parse_bundle(forged, trusted_key=signing.public_key(MINE))


def test_a_signed_bundle_that_is_too_old_is_refused(folder: Path):
    assert load(folder, "old") == "1.9.0"
    assert load(folder, "good", min_version="1.10") == "1.10.0"
    with pytest.raises(BundleError, match=r"version 1\.9\.0 is older than bundle\.min_version 1\.10\.0"):
        load(folder, "old", min_version="1.10.0")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.9", "1.10"),
        ("1.0.0-rc1", "1.0.0"),
        ("1.0-alpha", "1.0-beta"),
        ("1.0-rc.2", "1.0-rc.10"),
        ("0.9.9", "1"),
        ("a", "1"),
        ("2", "10"),
    ],
)
def test_the_order_of_versions(one: str, other: str):
    assert is_older(one, other)
    assert not is_older(other, one)


@pytest.mark.parametrize(("one", "other"), [("1", "1.0.0"), ("1.0+a", "1.0+b"), ("1.2-rc", "1.2.0-rc")])
def test_versions_that_are_the_same(one: str, other: str):
    assert not is_older(one, other)
    assert not is_older(other, one)


VERSION = st.from_regex(r"\A[0-9A-Za-z][0-9A-Za-z.+-]{0,20}\Z")


@given(VERSION, VERSION, VERSION)
def test_the_order_of_versions_is_one(a: str, b: str, c: str):
    assert not (is_older(a, b) and is_older(b, a))
    if is_older(a, b) and is_older(b, c):
        assert is_older(a, c)


def overlapping(members: int, size: int) -> bytes:
    """A stored ZIP whose members all are the same bytes of the file: small on disk, `members` times that in memory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.json", bytes(size))
    data = buffer.getvalue()
    start = int.from_bytes(data[-6:-2], "little")
    entry = data[start:-22]
    names = [f"member{at:07d}" for at in range(members)]
    entries = b"".join(entry.replace(b"manifest.json", name.encode()) for name in names)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, members, members, len(entries), start, 0)
    return data[:start] + entries + end


def test_a_bomb_is_refused_before_it_is_unpacked():
    data = overlapping(members=60, size=4 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="which the file does not hold"):
            parse_bundle(data)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_among_recordings_is_refused_before_it_is_unpacked(tmp_path: Path):
    path = tmp_path / "records.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("r1.csv", "w") as file:
        for _ in range(160):
            file.write(b"0\n" * (1 << 18))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match="zip bomb"):
            open_recordings(path, rate_hz=300.0).read("r1")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_no_pickle_is_loaded(tmp_path: Path):
    path = tmp_path / "r1.npz"
    np.savez(path, values=np.array([{"a": 1}], dtype=object), rate_hz=100.0)
    with pytest.raises(RecordingError):
        open_recordings(path, rate_hz=100.0).read("r1")
