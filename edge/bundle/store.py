"""Reading and writing a bundle file. Reading refuses whatever is not exactly what its manifest promises.

Order of the checks: size, ZIP structure, signature over the manifest's bytes, manifest, hash of each member,
and only then what is inside the members. Each byte is read once; what was hashed is what is used.
The hashes find damage. A model made to harm the interpreter is kept out by the signature alone: no runtime
promises to survive one, so a gateway that takes bundles from elsewhere sets a trusted key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge.errors import BundleError

from . import signing
from .archive import read_stored, write_stored
from .arrays import read_arrays, write_arrays
from .attacked import ATTACKED_MEMBER, Attacked, parse_attacked
from .fields import load_json
from .manifest import Manifest, MemberEntry
from .vectors import Vectors, parse_vectors

__all__ = ["MAX_BUNDLE_BYTES", "Bundle", "parse_bundle", "read_bundle", "write_bundle"]

# Room for the paper-scale ECG net in float32 (22 MB) with vectors; a file is held in memory once, and more
# than this a board with 512 MB should not give to one model.
MAX_BUNDLE_BYTES: Final = 64 << 20
# Read by people and sent over MQTT; ours have 2 to 20 kB.
_MAX_TEXT_MEMBER: Final = 1 << 20

_MANIFEST: Final = "manifest.json"
_SIGNATURE: Final = "signature"
_MODEL: Final = "model.tflite"
_HEAD: Final = "head.npz"
_VECTORS: Final = "vectors.npz"
_CARD: Final = "card.json"
_REQUIRED: Final = (_MODEL, _VECTORS, _CARD)
_KNOWN: Final = frozenset({*_REQUIRED, _HEAD, ATTACKED_MEMBER})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose file-level checks passed.

    `model` is the TFLite file; `head` the last dense layer's arrays by name, or None; `card` the robustness
    card; `attacked` attacked golden windows, or None. `sha256` is that of manifest.json, which fixes every other
    member: the bundle's identity. `verified` says that the signature was checked against a trusted key.
    """

    name: str
    manifest: Manifest
    model: bytes
    head: Mapping[str, npt.NDArray[Any]] | None
    vectors: Vectors
    card: Mapping[str, Any]
    sha256: str
    signed: bool
    verified: bool
    attacked: Attacked | None = None

    def checked(self) -> Bundle:
        """The same without its golden windows: what an agent keeps in memory once they have been checked."""
        windows, valid = self.vectors.windows[:0].copy(), self.vectors.valid[:0].copy()
        return replace(self, vectors=Vectors(windows, valid, {}, {}), attacked=None)


def read_bundle(
    path: str | Path,
    *,
    trusted_key: bytes | None = None,
    check_vectors: Callable[[Bundle], None] | None = None,
) -> Bundle:
    """Read and check a bundle file. With `trusted_key` (32 bytes) the signature must be that key's.

    `check_vectors` runs last, for checks that need an interpreter (edge.pipeline.golden). Raises BundleError.
    """
    name = os.fspath(path)
    try:
        bundle = parse_bundle(_read_file(Path(path)), name=name, trusted_key=trusted_key)
        if check_vectors is not None:
            check_vectors(bundle)
    except BundleError as error:
        error.args = (f"{name}: {error}",)
        raise
    return bundle


def parse_bundle(data: bytes, *, name: str = "", trusted_key: bytes | None = None) -> Bundle:
    """The same for bytes in memory."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(_too_large(len(data)))
    members = read_stored(data)
    if _MANIFEST not in members:
        raise BundleError(f"member {_MANIFEST} is missing; export the bundle again", member=_MANIFEST)
    for text_member in (_MANIFEST, _CARD):
        size = len(members.get(text_member, b""))
        if size > _MAX_TEXT_MEMBER:
            message = f"member {text_member} has {size} bytes, the limit is {_MAX_TEXT_MEMBER}; shorten it"
            raise BundleError(message, member=text_member)
    stored, signature = members.pop(_MANIFEST), members.pop(_SIGNATURE, None)
    if trusted_key is not None:
        signing.verify(stored, signature, trusted_key)
    elif signature is not None and len(signature) != signing.SIGNATURE_BYTES:
        message = f"signature is {len(signature)} bytes, not {signing.SIGNATURE_BYTES}; sign the bundle again"
        raise BundleError(message, member=_SIGNATURE)
    manifest = Manifest.from_json(stored)
    _check_members(manifest, members)
    if members[_MODEL][4:8] != b"TFL3":
        raise BundleError(f"member {_MODEL} is not a TFLite file; export the bundle again", member=_MODEL)
    return Bundle(
        name=name,
        manifest=manifest,
        model=members[_MODEL],
        head=_parse_head(members.get(_HEAD)),
        vectors=parse_vectors(read_arrays(members[_VECTORS], _VECTORS), manifest),
        card=_parse_card(members[_CARD]),
        sha256=hashlib.sha256(stored).hexdigest(),
        signed=signature is not None,
        verified=trusted_key is not None,
        attacked=_parse_attacked(members.get(ATTACKED_MEMBER), manifest),
    )


def write_bundle(
    path: str | Path,
    manifest: Manifest,
    model: bytes,
    head: Mapping[str, npt.ArrayLike] | None,
    vectors: Mapping[str, npt.ArrayLike],
    card: Mapping[str, Any],
    signing_key: bytes | None = None,
    attacked: Mapping[str, npt.ArrayLike] | None = None,
) -> Bundle:
    """Write a bundle: equal arguments give equal bytes. Returns it as read_bundle would.

    `vectors` as Vectors names them: windows, valid, one array per output, step_<output>; `attacked` as Attacked
    does. `signing_key` is a private key of 32 bytes. The file appears whole or not at all. Raises BundleError, OSError.
    """
    try:
        card_bytes = (json.dumps(dict(card), indent=1, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"{_CARD}: cannot be stored ({error}); use plain finite values", member=_CARD
        ) from error
    members = {_MODEL: bytes(model), _VECTORS: write_arrays(vectors), _CARD: card_bytes}
    if head is not None:
        members[_HEAD] = write_arrays(head)
    if attacked is not None:
        members[ATTACKED_MEMBER] = write_arrays(attacked)
    entries = {
        name: MemberEntry(hashlib.sha256(content).hexdigest(), len(content))
        for name, content in members.items()
    }
    stored = manifest.with_members(entries).to_json()
    files = {_MANIFEST: stored, **members}
    if signing_key is not None:
        files[_SIGNATURE] = signing.sign(stored, signing_key)
    data = write_stored(files)
    # Whatever a reader would refuse is found here, before it is anywhere.
    public = None if signing_key is None else signing.public_key(signing_key)
    bundle = parse_bundle(data, name=os.fspath(path), trusted_key=public)
    _replace(Path(path), data)
    return bundle


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise BundleError("not a regular file; give the path of a .bundle file")
            if info.st_size > MAX_BUNDLE_BYTES:
                raise BundleError(_too_large(info.st_size))
            return file.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"cannot be read ({error.strerror or error}); check the path and its rights"
        ) from error
    except ValueError as error:  # a NUL in the path
        raise BundleError(f"cannot be read ({error}); check the path") from error


def _too_large(size: int) -> str:
    return (
        f"has {size} bytes, the limit is {MAX_BUNDLE_BYTES}, because small boards hold a bundle in memory; "
        "quantize the model or store fewer vectors"
    )


def _check_members(manifest: Manifest, members: Mapping[str, bytes]) -> None:
    for name in (*_REQUIRED, *manifest.members):
        if name not in members:
            raise BundleError(f"member {name} is missing; export the bundle again", member=name)
    for name, content in members.items():
        entry = manifest.members.get(name)
        if entry is None:
            raise BundleError(f"member {name!r} is not listed in {_MANIFEST}; remove it", member=name)
        if name not in _KNOWN:
            message = f"member {name!r} is none that this version knows; remove it or update wavewall"
            raise BundleError(message, member=name)
        if len(content) != entry.bytes:
            message = f"member {name} has {len(content)} bytes, {_MANIFEST} says {entry.bytes}; copy it again"
            raise BundleError(message, member=name)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            message = (
                f"member {name} does not have the sha256 of {_MANIFEST}: altered or damaged; copy it again"
            )
            raise BundleError(message, member=name)


def _parse_head(data: bytes | None) -> dict[str, npt.NDArray[Any]] | None:
    if data is None:
        return None
    arrays = read_arrays(data, _HEAD)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
            message = f"{_HEAD}: array {name[:80]!r} holds NaN or infinity; export the bundle again"
            raise BundleError(message, member=_HEAD)
    return arrays


def _parse_attacked(data: bytes | None, manifest: Manifest) -> Attacked | None:
    return None if data is None else parse_attacked(read_arrays(data, ATTACKED_MEMBER), manifest)


def _parse_card(data: bytes) -> dict[str, Any]:
    card = load_json(data, _CARD)
    if not isinstance(card, dict):
        raise BundleError(f"{_CARD}: not an object; use {{...}}", member=_CARD)
    return card


def _replace(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # mkstemp gives 0600, and the agent often is another user
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
