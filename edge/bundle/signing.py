"""Ed25519 signatures of bundles, and the key files.

Keys travel through the code as 32 raw bytes. A private key file is PEM (PKCS 8, not encrypted) that only its
owner may read; a public key is PEM or one line of base64. cryptography is imported when a key is used.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path

from edge.errors import BundleError, KeyFileError

__all__ = [
    "SIGNATURE_BYTES",
    "generate_keys",
    "load_private_key",
    "load_public_key",
    "public_key",
    "public_key_text",
    "sign",
    "verify",
]

SIGNATURE_BYTES = 64
KEY_BYTES = 32
# A PEM key of either kind is under 200 bytes; whatever is longer is another file.
_MAX_KEY_FILE = 4096


def generate_keys(private_path: str | Path, public_path: str | Path | None = None) -> bytes:
    """Make a key pair: PEM files, the private one with mode 0600; existing files are never overwritten.

    `public_path` defaults to the private one plus ".pub". Returns the public key. Raises KeyFileError.
    """
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private_path = Path(private_path)
    public_path = Path(f"{private_path}.pub") if public_path is None else Path(public_path)
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    private_pem = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    public_pem = public.public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)
    # The public file first: if it cannot be written, no private key is left behind.
    _create(public_path, public_pem, 0o644)
    try:
        _create(private_path, private_pem, 0o600)
    except KeyFileError:
        public_path.unlink(missing_ok=True)
        raise
    return public.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)


def load_private_key(path: str | Path) -> bytes:
    """The private key of a PEM file. Refuses a file that others may read. Raises KeyFileError."""
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = _read(Path(path), private=True)
    try:
        key = ser.load_pem_private_key(content, password=None)
    except Exception as error:  # among them InternalError, for a key of another kind's length
        message = f"{path}: not a plain PEM private key; make one with `trainer keygen`"
        raise KeyFileError(message) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: not an Ed25519 key; make one with `trainer keygen`")
    return key.private_bytes(ser.Encoding.Raw, ser.PrivateFormat.Raw, ser.NoEncryption())


def load_public_key(source: str | Path) -> bytes:
    """A public key from a PEM file, a file with one line of base64, or that base64. Raises KeyFileError."""
    raw = _from_base64(str(source).encode("utf-8", "surrogateescape"))
    if raw is not None:
        return raw
    content = _read(Path(source), private=False)
    if content.lstrip().startswith(b"-----BEGIN"):
        return _from_pem(content, source)
    raw = _from_base64(content)
    if raw is None:
        message = f"{source}: neither a PEM public key nor {KEY_BYTES} bytes in base64; give the .pub file"
        raise KeyFileError(message)
    return raw


def public_key(private: bytes) -> bytes:
    """The public half of a private key."""
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)


def public_key_text(public: bytes) -> str:
    """A public key as one line of base64, for a config file."""
    return base64.b64encode(public).decode()


def sign(message: bytes, private: bytes) -> bytes:
    """The 64-byte signature. Raises KeyFileError when the key is not 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _check_length(private)
    return Ed25519PrivateKey.from_private_bytes(private).sign(message)


def verify(message: bytes, signature: bytes | None, public: bytes) -> None:
    """Raise BundleError unless the signature is there and is this key's over this message."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    _check_length(public)
    member = "signature"
    if signature is None:
        message_text = "signature is missing, but a trusted key is set; sign the bundle or unset the key"
        raise BundleError(message_text, member=member)
    if len(signature) != SIGNATURE_BYTES:
        message_text = f"signature is {len(signature)} bytes, not {SIGNATURE_BYTES}; sign the bundle again"
        raise BundleError(message_text, member=member)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        message_text = "signature is not the trusted key's over manifest.json; get the file from its maker"
        raise BundleError(message_text, member=member) from error


def _check_length(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"a key is {KEY_BYTES} bytes, this one has {len(key)}; load it from its file")


def _from_pem(content: bytes, source: str | Path) -> bytes:
    from cryptography.hazmat.primitives import serialization as ser
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = ser.load_pem_public_key(content)
    except Exception as error:  # as above
        raise KeyFileError(f"{source}: not a PEM public key; give the .pub file of the pair") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{source}: not an Ed25519 key; make one with `trainer keygen`")
    return key.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)


def _from_base64(text: bytes) -> bytes | None:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == KEY_BYTES else None


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            # The open file's mode, so that nobody can swap the file between the look and the read.
            mode = os.fstat(file.fileno()).st_mode
            if private and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                shown = stat.S_IMODE(mode)
                raise KeyFileError(f"{path}: mode {shown:04o} lets others read it; run chmod 600 {path}")
            content = file.read(_MAX_KEY_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KeyFileError(f"{path}: cannot read the key ({reason}); give its path") from error
    if len(content) > _MAX_KEY_FILE:
        raise KeyFileError(f"{path}: longer than any key ({_MAX_KEY_FILE} bytes); give the key's own file")
    return content


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: exists already and is kept; choose another name") from error
    except OSError as error:
        raise KeyFileError(
            f"{path}: cannot write the key ({error.strerror}); choose another folder"
        ) from error
