"""Keys and signatures."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.bundle import signing
from edge.errors import BundleError, KeyFileError

pytestmark = pytest.mark.security


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    signing.generate_keys(tmp_path / "maker.key")
    return tmp_path / "maker.key"


def test_a_pair_of_files(key_path: Path) -> None:
    public_path = Path(f"{key_path}.pub")
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    private, public = signing.load_private_key(key_path), signing.load_public_key(public_path)
    assert signing.public_key(private) == public
    assert signing.load_public_key(signing.public_key_text(public)) == public
    text_path = key_path.with_name("line.pub")
    text_path.write_text(signing.public_key_text(public) + "\n")
    assert signing.load_public_key(text_path) == public
    signing.verify(b"message", signing.sign(b"message", private), public)


def test_existing_keys_are_kept(key_path: Path) -> None:
    before = key_path.read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        signing.generate_keys(key_path)
    with pytest.raises(KeyFileError, match="exists already"):
        signing.generate_keys(key_path, key_path.with_name("other.pub"))
    assert key_path.read_bytes() == before
    assert not key_path.with_name("other.pub").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_private_key_that_others_may_read_is_refused(key_path: Path, mode: int) -> None:
    key_path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        signing.load_private_key(key_path)


def test_other_files_are_no_keys(tmp_path: Path) -> None:
    other = tmp_path / "key"
    ec = generate_private_key(SECP256R1())
    contents = [
        b"",
        b"hello",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"x" * 5000,
        ec.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()),
        ec.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo),
        base64.b64encode(bytes(31)),
    ]
    for content in contents:
        other.write_bytes(content)
        other.chmod(0o600)
        with pytest.raises(KeyFileError, match="key"):
            signing.load_private_key(other)
        with pytest.raises(KeyFileError, match="key"):
            signing.load_public_key(other)


def test_an_encrypted_key_is_refused(tmp_path: Path, key_path: Path) -> None:
    key = ser.load_pem_private_key(key_path.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.touch(0o600)
    locked.write_bytes(
        key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(b"x"))
    )
    with pytest.raises(KeyFileError, match="plain PEM"):
        signing.load_private_key(locked)


def test_absent_files_and_folders(tmp_path: Path) -> None:
    for load in (signing.load_private_key, signing.load_public_key):
        with pytest.raises(KeyFileError, match="No such file"):
            load(tmp_path / "none")
        with pytest.raises(KeyFileError, match="directory"):
            load(tmp_path)
    with pytest.raises(KeyFileError, match="choose another folder"):
        signing.generate_keys(tmp_path / "no" / "folder")


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=50), st.integers(0, 63), st.integers(1, 255))
def test_any_other_signature_is_refused(message: bytes, at: int, change: int) -> None:
    private = bytes(range(32))
    public = signing.public_key(private)
    signature = bytearray(signing.sign(message, private))
    signature[at] ^= change
    with pytest.raises(BundleError, match="signature"):
        signing.verify(message, bytes(signature), public)
    with pytest.raises(BundleError, match="signature"):
        signing.verify(message + b"x", signing.sign(message, private), public)


def test_missing_and_short(key_path: Path) -> None:
    public = os.urandom(32)
    for signature in (None, b"", bytes(63), bytes(64)):
        with pytest.raises(BundleError, match="signature"):
            signing.verify(b"", signature, public)
    with pytest.raises(KeyFileError, match="32 bytes"):
        signing.verify(b"", bytes(64), b"short")
    with pytest.raises(KeyFileError, match="32 bytes"):
        signing.sign(b"", b"short")


def test_a_key_of_another_kind_with_our_length_is_refused(tmp_path: Path) -> None:
    """OpenSSL calls it an internal error: the identifier of X448, and 32 bytes."""
    private = bytes.fromhex("302e020100300506032b656f04220420") + bytes(32)
    public = bytes.fromhex("302a300506032b656f032100") + bytes(32)
    for kind, der, load in (
        ("PRIVATE", private, signing.load_private_key),
        ("PUBLIC", public, signing.load_public_key),
    ):
        path = tmp_path / kind
        path.write_text(f"-----BEGIN {kind} KEY-----\n{base64.b64encode(der).decode()}\n-----END {kind} KEY-----\n")
        path.chmod(0o600)
        with pytest.raises(KeyFileError, match=r"not a .*PEM"):
            load(path)
