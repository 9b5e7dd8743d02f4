"""The id of a result: the same window of the same stream gets the same id, also after a crash."""

from __future__ import annotations

import hashlib

__all__ = ["result_id"]


def result_id(node: str, stream: str, epoch: str, first_index: int) -> str:
    """32 hexadecimal digits of SHA-256 over the four; lengths are hashed too, so fields cannot run over."""
    digest = hashlib.sha256()
    for part in (node, stream, epoch, str(first_index)):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.hexdigest()[:32]
