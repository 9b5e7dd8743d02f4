"""What goes wrong between a sensor and a gateway, on purpose and repeatable: each fault has its own seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from firmware_bridge.errors import FirmwareBridgeError


@dataclass(frozen=True, slots=True)
class Faults:
    """How often each fault happens.

    Attributes:
        drop, corrupt, reorder, duplicate: probability for each frame on the wire.
        drift_ppm: how much faster than its nominal rate the device's clock runs.
        jitter_ms: largest delay of a frame on its way; it never arrives early.
        reset: probability for each block that the device restarts after it.
        stuck: probability for each block that the converter repeats its last value from there for a second.
        lead_off: probability for each block that the electrode is off from there for a second.
        wrong_key: probability for each frame that its tag is made with another key.
        seed: of everything; ``seeds`` overrides it for single faults.
    """

    drop: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    drift_ppm: float = 0.0
    jitter_ms: float = 0.0
    reset: float = 0.0
    stuck: float = 0.0
    lead_off: float = 0.0
    wrong_key: float = 0.0
    seed: int = 0
    seeds: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in PROBABILITIES:
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise FirmwareBridgeError(f"{name} is {value}, must be a probability from 0 to 1")
        if not 0.0 <= self.jitter_ms <= 60_000 or not -10_000 <= self.drift_ppm <= 10_000:
            raise FirmwareBridgeError("jitter_ms must be 0 to 60000, drift_ppm -10000 to 10000")

    def random(self, name: str) -> random.Random:
        """The fault's own generator: switching one fault on does not change when another happens."""
        return random.Random(f"{name}:{self.seeds.get(name, self.seed)}")


PROBABILITIES = ("drop", "corrupt", "reorder", "duplicate", "reset", "stuck", "lead_off", "wrong_key")


def parse_faults(texts: Iterable[str], seed: int = 0) -> Faults:
    """Faults from texts such as ``drop=0.01`` or ``drop=0.01@7`` (its own seed).

    Raises:
        FirmwareBridgeError: an unknown name or a value that is no number.
    """
    known = [f.name for f in fields(Faults) if f.name not in ("seed", "seeds")]
    values: dict[str, float] = {}
    seeds: dict[str, int] = {}
    for text in texts:
        name, _, rest = text.partition("=")
        name = name.strip().replace("-", "_")
        value, _, own_seed = rest.partition("@")
        if name not in known:
            raise FirmwareBridgeError(f"unknown fault {name!r}; there are {', '.join(known)}")
        try:
            values[name] = float(value)
            if own_seed:
                seeds[name] = int(own_seed)
        except ValueError as error:
            raise FirmwareBridgeError(f"fault {text!r} is not NAME=NUMBER or NAME=NUMBER@SEED") from error
    return Faults(**values, seed=seed, seeds=seeds)


class FaultyLine:
    """Damages frames (or lines) on their way. ``counts`` says how often each fault has happened."""

    def __init__(self, faults: Faults, delimiter: bytes) -> None:
        self._faults = faults
        self._delimiter = delimiter
        names = ("drop", "corrupt", "reorder", "duplicate")
        self._draw: dict[str, random.Random] = {name: faults.random(name) for name in names}
        self._held: bytes | None = None
        self.counts = dict.fromkeys(names, 0)

    def _hit(self, name: str) -> bool:
        rate: float = getattr(self._faults, name)
        # Drawn also at rate 0, so that other rates do not shift what happens when.
        hit = self._draw[name].random() < rate
        self.counts[name] += hit
        return hit

    def send(self, frame: bytes) -> list[bytes]:
        """What arrives when ``frame`` is sent: nothing, itself, or more."""
        drop, corrupt, reorder, duplicate = map(self._hit, ("drop", "corrupt", "reorder", "duplicate"))
        out: list[bytes] = []
        if not drop:
            if corrupt:
                frame = self._corrupted(frame)
            out = [frame, frame] if duplicate else [frame]
        held, self._held = self._held, None
        if reorder and out:
            self._held = out.pop()
        return [*out, held] if held is not None else out

    def flush(self) -> list[bytes]:
        """A frame that was held back to be overtaken."""
        held, self._held = self._held, None
        return [] if held is None else [held]

    def _corrupted(self, frame: bytes) -> bytes:
        draw = self._draw["corrupt"]
        damaged = bytearray(frame)
        at = draw.randrange(len(frame) - len(self._delimiter)) if len(frame) > len(self._delimiter) else 0
        damaged[at] ^= 1 << draw.randrange(8)
        return bytes(damaged)
