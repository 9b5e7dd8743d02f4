"""The one kind of ZIP that bundles and their arrays use: plain members, stored, each once, repeatable bytes.

Nothing is ever unpacked to a disk and nothing is decompressed, so neither traversal nor bombs can work; both
are refused all the same, because a file that tries is not one of ours.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Container, Mapping

from edge.errors import BundleError

__all__ = ["read_stored", "write_stored"]

# A bundle has six members and an array file one per output and step; more is not ours.
MAX_MEMBERS = 64
_EARLIEST = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the first date a ZIP can hold: fixed, so that equal content gives equal bytes
_REGULAR_FILE = 0o100644 << 16
_FLAG_ENCRYPTED = 0x1
_END_BYTES = 22


def write_stored(members: Mapping[str, bytes]) -> bytes:
    """A ZIP of these members in their order; the same members always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EARLIEST)
            info.create_system = 3  # Unix on every machine, again for equal bytes
            info.external_attr = _REGULAR_FILE
            archive.writestr(info, content)
    return buffer.getvalue()


def read_stored(data: bytes, what: str = "") -> dict[str, bytes]:
    """Members of a ZIP by name. `what` names the inner file in messages. Raises BundleError."""
    prefix = f"{what}: " if what else ""
    if not data.startswith(b"PK\x03\x04"):
        raise BundleError(f"{prefix}not a ZIP; give a file that wavewall exported", member=what)
    if not _ends_where_it_says(data):
        message = f"{prefix}ZIP is truncated, or something was added to it; copy it again"
        raise BundleError(message, member=what)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        infos = archive.infolist()
    except (
        Exception
    ) as error:  # zipfile raises many kinds on damaged input, struct.error and ValueError among them
        raise BundleError(
            f"{prefix}ZIP is truncated or damaged ({error}); copy it again", member=what
        ) from error
    if len(infos) > MAX_MEMBERS:
        message = f"{prefix}ZIP has {len(infos)} members, the limit is {MAX_MEMBERS}; export it again"
        raise BundleError(message, member=what)
    seen: set[str] = set()
    for info in infos:
        _check(info, seen, len(data), prefix, what)
        seen.add(info.filename)
    claimed = sum(info.file_size for info in infos)
    if claimed > len(data):
        # Each may fit by itself: members that lie over each other are how a stored ZIP becomes a bomb.
        message = f"{prefix}ZIP claims {claimed} bytes, which the file does not hold; it is truncated or forged"
        raise BundleError(message, member=what)
    members: dict[str, bytes] = {}
    with archive:
        for info in infos:
            try:
                members[info.filename] = archive.read(info)
            except Exception as error:
                message = (
                    f"{prefix}member {_shown(info)} is truncated or damaged ({error}); copy the file again"
                )
                raise BundleError(message, member=what or info.filename) from error
            if len(members[info.filename]) != info.file_size:
                message = f"{prefix}member {_shown(info)} is truncated; copy the file again"
                raise BundleError(message, member=what or info.filename)
    return members


def _ends_where_it_says(data: bytes) -> bool:
    """Whether the end record is the file's last 22 bytes and its directory lies right before it.

    zipfile looks further and would take the end of an array file inside a truncated bundle for the bundle's own.
    """
    end = data[-_END_BYTES:]
    size, offset = int.from_bytes(end[12:16], "little"), int.from_bytes(end[16:20], "little")
    return end[:4] == b"PK\x05\x06" and end[20:] == b"\0\0" and offset + size == len(data) - _END_BYTES


def _check(info: zipfile.ZipInfo, seen: Container[str], available: int, prefix: str, what: str) -> None:
    name = info.orig_filename  # filename is cut at a NUL
    why = ""
    if name.startswith(("/", "\\")) or ":" in name:
        why = "has an absolute path; members are plain names"
    elif ".." in name.replace("\\", "/").split("/"):
        why = "has '..' in its path; members are plain names"
    elif not name or name != info.filename or not name.isprintable() or "/" in name or "\\" in name:
        why = "has a path or an odd name; members are plain names"
    elif name in seen:
        why = "occurs twice; each member may occur once"
    elif info.flag_bits & _FLAG_ENCRYPTED:
        why = "is encrypted; store it as it is"
    elif info.compress_type != zipfile.ZIP_STORED:
        why = "is compressed; members must be stored (zip -0)"
    elif info.file_size != info.compress_size or info.file_size > available:
        why = f"claims {info.file_size} bytes, which the file does not hold; it is truncated or forged"
    if why:
        raise BundleError(f"{prefix}member {_shown(info)} {why}", member=what or name)


def _shown(info: zipfile.ZipInfo) -> str:
    return repr(info.orig_filename[:80])
