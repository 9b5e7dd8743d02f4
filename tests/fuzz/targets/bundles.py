"""Bundles, what lies beside them, and keys."""

from __future__ import annotations

import json
import tempfile
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import parse_bundle, read_bundle, signing
from edge.bundle.archive import read_stored, write_stored
from edge.bundle.arrays import read_arrays, write_arrays
from edge.bundle.manifest import Manifest
from edge.errors import BundleError, EdgeError
from edge.overlay import OverlayError, apply_overlay, overlay_json
from tests.edge.tiny import tiny_bundle
from tests.fuzz.targets.base import Target, as_file, npz_corpus


@lru_cache(maxsize=1)
def _bundle_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_bundle(Path(folder) / "tiny.bundle", signing_key=bytes(range(32)))
        read_bundle(path)
        return path.read_bytes()


def bundle(data: bytes) -> None:
    """The whole file, or one member within a file that is right otherwise: the first byte says which."""
    if not data:
        return
    mode, data = data[0], data[1:]
    if mode % 4:
        members = dict(read_stored(_bundle_bytes()))
        name = ("", "manifest.json", "vectors.npz", "card.json")[mode % 4]
        members.pop("signature")
        members[name] = data
        if name != "manifest.json":
            members["manifest.json"] = _relisted(members)
        data = write_stored(members)
    try:
        made = parse_bundle(data)
    except BundleError as error:
        assert str(error)
        return
    assert made.manifest.members


def _relisted(members: dict[str, bytes]) -> bytes:
    import hashlib

    manifest = json.loads(members["manifest.json"])
    for name, entry in manifest["members"].items():
        entry.update(sha256=hashlib.sha256(members[name]).hexdigest(), bytes=len(members[name]))
    return json.dumps(manifest).encode()


def manifest(data: bytes) -> None:
    try:
        made = Manifest.from_json(data)
    except BundleError:
        return
    assert Manifest.from_json(made.to_json()) == made


def arrays(data: bytes) -> None:
    try:
        made = read_arrays(data, "vectors.npz")
    except BundleError:
        return
    again = read_arrays(write_arrays(made), "vectors.npz")
    assert list(again) == list(made)
    for name, array in made.items():
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
        assert again[name].tobytes() == array.tobytes()


def key(data: bytes) -> None:
    path = as_file(data)
    for load in (signing.load_public_key, signing.load_private_key):
        try:
            assert len(load(path)) == signing.KEY_BYTES
        except EdgeError:
            continue


def _bundle_corpus() -> list[bytes]:
    whole = _bundle_bytes()
    members = read_stored(whole)
    picked = [members[name] for name in ("manifest.json", "vectors.npz", "card.json")]
    return [b"\0" + whole, *(bytes([mode]) + member for mode, member in enumerate(picked, 1))]


def _key_corpus() -> list[bytes]:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = private.public_key()
    return [
        private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()),
        public.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo),
        signing.public_key_text(bytes(32)).encode(),
    ]


def overlay(data: bytes) -> None:
    """Thresholds beside a bundle."""
    try:
        apply_overlay(parse_bundle(_bundle_bytes()), as_file(data))
    except OverlayError as error:
        assert str(error)


def _overlay_corpus() -> list[bytes]:
    made = parse_bundle(_bundle_bytes())
    return [
        overlay_json(made, made.manifest.decision, {"windows": 3}).encode(),
        b'{"schema":"wavewall.overlay/1"}',
    ]


TARGETS: dict[str, Target] = {
    "bundle": Target(bundle, _bundle_corpus, ("edge.bundle",), 1 << 16),
    "manifest": Target(manifest, lambda: [read_stored(_bundle_bytes())["manifest.json"]], ("edge.bundle",)),
    "arrays": Target(arrays, npz_corpus, ("edge.bundle",)),
    "key": Target(key, _key_corpus, ("edge.bundle.signing",), 1024),
    "overlay": Target(overlay, _overlay_corpus, ("edge.overlay",), 2048),
}  # fmt: skip
