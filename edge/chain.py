"""Results as a hash chain for each boot and stream, so that a line that is altered, missing or put in is found.

A result carries `prev`, the digest of the one before it; the first one that of a `begin` note, which names the last
result of the run before. Checkpoints name the newest result, tombstones what the spool had to give up; with a key, both
and the begin notes are signed (Ed25519). Without one, the chain finds accidents and careless hands only: whoever
rewrites a file can also compute its digests anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal

from edge.errors import ResultError
from edge.types import Result, rfc3339

CHAIN_SCHEMA: Final = "wavewall.chain/1"
DIGEST_DIGITS = 64
Kind = Literal["begin", "checkpoint", "tombstone"]


def digest(data: Mapping[str, Any]) -> str:
    """SHA-256 over the JSON object with sorted keys, without what delivery changes (`historical`)."""
    plain = {key: value for key, value in data.items() if key not in ("historical", "signature")}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest result of a stream."""

    boot_id: str
    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class ChainNote:
    """A line between the results, on the leaf `chain`. `facts` by kind:

    begin: `after`, the Head of the run before (null: none is known). checkpoint: `seq`, `digest`.
    tombstone: `first_seq`, `last_seq`, `count`, `prev` (what the first of them followed) and `digest` (of the last).
    """

    leaf: ClassVar[str] = "chain"

    kind: Kind
    t: float
    boot_id: str
    stream: str
    facts: Mapping[str, Any]
    signature: str = ""
    historical: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        return digest(self.to_dict())[:32]

    @property
    def key(self) -> str:
        """Names this message alone."""
        return self.id

    def to_dict(self) -> dict[str, Any]:
        """The JSON object as plain Python."""
        return {
            "schema": CHAIN_SCHEMA,
            "kind": self.kind,
            "t": rfc3339(self.t),
            "boot_id": self.boot_id,
            "stream": self.stream,
            **self.facts,
            **({"signature": self.signature} if self.signature else {}),
        }

    def to_json(self) -> str:
        """Compact JSON on one line."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str | bytes) -> ChainNote:
        """Parse what to_json wrote. Raises ResultError."""
        from edge.types import parse_time

        try:
            data = json.loads(text)
            known = ("schema", "kind", "t", "boot_id", "stream", "signature")
            kind = data["kind"]
            if data["schema"] != CHAIN_SCHEMA or kind not in ("begin", "checkpoint", "tombstone"):
                raise ValueError("another schema or kind")
            return ChainNote(
                kind=kind,
                t=parse_time(data["t"]),
                boot_id=str(data["boot_id"]),
                stream=str(data["stream"]),
                facts={key: value for key, value in data.items() if key not in known},
                signature=str(data.get("signature", "")),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ResultError(f"not a note of the chain ({error!r})") from error


class Signer:
    """Signs with a private key (32 bytes)."""

    def __init__(self, private: bytes) -> None:
        self._private = private

    def signature(self, data: Mapping[str, Any]) -> str:
        """Over the digest of a JSON object, in base64."""
        from edge.bundle import signing

        return base64.b64encode(signing.sign(digest(data).encode(), self._private)).decode()

    def sign(self, note: ChainNote) -> ChainNote:
        return replace(note, signature=self.signature(note.to_dict()))


def is_signed(data: Mapping[str, Any], public: bytes) -> bool:
    """Whether a note, as parsed JSON, is signed by this key."""
    from edge.bundle import signing
    from edge.errors import BundleError

    try:
        signature = base64.b64decode(str(data.get("signature", "")), validate=True)
        signing.verify(digest(data).encode(), signature, public)
    except (ValueError, BundleError):
        return False
    return True


class Chain:
    """Links results, in the pipeline's thread. `every`: results of a stream between two checkpoints.

    `before`: the heads of the run before, by stream (see `heads`).
    """

    def __init__(
        self,
        boot_id: str,
        offer: Callable[[ChainNote], None],
        *,
        utc: Callable[[], float],
        every: int = 100,
        max_streams: int = 256,
        signer: Signer | None = None,
        before: str = "",
    ) -> None:
        self._boot_id, self._offer, self._utc = boot_id, offer, utc
        self._every, self._max_streams, self._signer = every, max_streams, signer
        self._lock = threading.Lock()
        self._heads: OrderedDict[str, Head] = _parse_heads(before)
        self._unchecked: dict[str, int] = {}  # results since the last checkpoint
        self._noted: Counter[str] = Counter()
        self._noted_at = 0.0

    def link(self, result: Result) -> Result:
        """The result with its `prev`; notes that are due go out before it."""
        stream = result.stream
        head = self._heads.get(stream)
        if head is None or head.boot_id != result.boot_id or result.seq == 0:
            prev = self._begin(stream, head)
        else:
            prev = head.digest
        result = replace(result, prev=prev)
        with self._lock:
            self._heads[stream] = Head(result.boot_id, result.seq, digest(result.to_dict()))
            self._heads.move_to_end(stream)
            while len(self._heads) > self._max_streams:
                self._unchecked.pop(self._heads.popitem(last=False)[0], None)
        self._unchecked[stream] = self._unchecked.get(stream, 0) + 1
        return result

    def after(self, result: Result) -> None:
        """The result is with the spools: its checkpoint, where one is due."""
        if self._unchecked.get(result.stream, 0) >= self._every:
            self._checkpoint(result.stream)

    def stop(self) -> None:
        """A last checkpoint for each stream."""
        for stream in list(self._unchecked):
            self._checkpoint(stream)

    def heads(self) -> str:
        """The newest result of each stream, as JSON, to be kept for the next run. Any thread."""
        with self._lock:
            plain = {stream: [h.boot_id, h.seq, h.digest] for stream, h in self._heads.items()}
        return json.dumps(plain, separators=(",", ":"))

    def facts(self) -> dict[str, object]:
        """For people who look on. Any thread."""
        with self._lock:
            return {
                "signed": self._signer is not None,
                "streams": len(self._heads),
                "checkpoints": self._noted["checkpoint"],
                "tombstones": self._noted["tombstone"],
                "last_note": rfc3339(self._noted_at) if self._noted_at else "",
                "every": self._every,
            }

    def note(self, kind: Kind, stream: str, boot_id: str, facts: Mapping[str, Any]) -> ChainNote:
        """A signed note, e.g. the tombstone of a spool. Any thread."""
        made = ChainNote(kind, self._utc(), boot_id, stream, facts)
        with self._lock:
            self._noted[kind] += 1
            self._noted_at = made.t
        return made if self._signer is None else self._signer.sign(made)

    def _begin(self, stream: str, head: Head | None) -> str:
        after = None if head is None else {"boot_id": head.boot_id, "seq": head.seq, "digest": head.digest}
        note = self.note("begin", stream, self._boot_id, {"after": after})
        self._offer(note)
        return digest(note.to_dict())

    def _checkpoint(self, stream: str) -> None:
        self._unchecked.pop(stream, None)
        head = self._heads.get(stream)
        if head is not None:
            self._offer(self.note("checkpoint", stream, head.boot_id, {"seq": head.seq, "digest": head.digest}))


def _parse_heads(text: str) -> OrderedDict[str, Head]:
    try:
        data = json.loads(text) if text else {}
        heads = ((str(k), Head(str(v[0]), int(v[1]), str(v[2]))) for k, v in data.items())
        return OrderedDict(heads)
    except (ValueError, TypeError, IndexError, AttributeError):
        return OrderedDict()
