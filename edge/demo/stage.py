"""What the demo plays: the stored recording, twice, and the stored perturbation over the second time.

Pure data: no broker, no device. The second half plays the very samples of the first, so that each attacked
window has a clean one to be compared with.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge.errors import EdgeError
from firmware_bridge.errors import FirmwareBridgeError
from firmware_bridge.recordings import Recording, open_recordings

DATA = Path(__file__).resolve().parent / "data"
Part = Literal["clean", "mixed", "attacked"]
Int16Array = npt.NDArray[np.int16]


class DemoError(EdgeError):
    """The demo cannot go on: a part is missing or did not start; the text says which and what to do."""


@dataclass(frozen=True)
class Stage:
    """Everything that is played.

    `recording`: the whole signal, (n, 1) int16 in uV, clean. `attack_from` is the first attacked sample.
    `delta`: what the attacker adds from there on, (round, 1) int16 in uV, repeating.
    `rhythms`: what was put into the recording, as (name, its last sample) within one round.
    """

    recording: Recording
    round_samples: int
    attack_from: int
    delta: Int16Array
    rhythms: tuple[tuple[str, int], ...]

    @property
    def seconds(self) -> float:
        """Length of the signal in its own time."""
        return len(self.recording) / self.recording.rate_hz

    def part(self, first: int, n: int) -> Part:
        """Whether the `n` samples from `first` are clean, attacked, or some of both."""
        if first + n <= self.attack_from:
            return "clean"
        return "attacked" if first >= self.attack_from else "mixed"

    def twin(self, first: int) -> int:
        """First sample of the clean window that equals the attacked one at `first`."""
        return first - self.attack_from

    def rhythm(self, first: int, n: int) -> str:
        """What the recording holds in these samples: "normal", or "normal>af" where one changes to the other."""
        names: list[str] = []
        for i in range(first, first + n, max(1, n // 60)):
            at = (i if i < self.attack_from else i - self.attack_from) % self.round_samples
            name = next(rhythm for rhythm, end in self.rhythms if at < end)
            if not names or names[-1] != name:
                names.append(name)
        return ">".join(names)

    def tap(self, values: Int16Array, first: int) -> Int16Array:
        """The attacker: samples (n, 1) as they pass, the first of them number `first`; the same or altered ones."""
        index = first + np.arange(len(values)) - self.attack_from
        hit = index >= 0
        if not hit.any():
            return values
        added = np.where(hit[:, None], self.delta[index % len(self.delta)], 0)
        # an attacker cannot leave the converter's range either
        return np.clip(values.astype(np.int32) + added, -32768, 32767).astype(np.int16)


def set_stage(seconds: float, speed: float, hop_s: float, data: Path = DATA) -> Stage:
    """What a demo of `seconds` plays at `speed` times real time; halves are whole hops, so that windows correspond.

    Raises:
        DemoError: a file is absent, damaged, or the perturbation is not the recording's; or `seconds` is so
            short that no half holds a hop.
    """
    path = data / "recording.npz"
    try:
        stored = next(iter(open_recordings(path)))
        with np.load(path, allow_pickle=False) as arrays:
            ends = np.rint(arrays["rhythm_ends_s"] * stored.rate_hz).astype(int).tolist()
            rhythms = tuple(zip(arrays["rhythms"].tolist(), ends, strict=True))
        with np.load(data / "perturbation.npz", allow_pickle=False) as arrays:
            delta, made_for = arrays["delta_uv"], str(arrays["recording"])
    except FirmwareBridgeError as error:
        raise DemoError(f"{error}; install wavewall again") from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DemoError(
            f"{data}: the demo's files are absent or damaged ({error}); install wavewall again"
        ) from error
    digital, channels, _ = stored.to_int16()
    if (
        made_for != hashlib.sha256(digital.astype("<i2").tobytes()).hexdigest()
        or delta.shape != digital.shape
    ):
        raise DemoError(f"{data / 'perturbation.npz'}: made for another recording; install wavewall again")
    hop = round(hop_s * stored.rate_hz)
    half = int(seconds * speed * stored.rate_hz / 2) // hop * hop
    if half < hop:
        raise DemoError(f"{seconds:g} s are too short; give at least {2 * hop_s / speed:g}")
    once = np.resize(digital, (half, digital.shape[1]))  # repeats without a seam, as the recording does
    whole = Recording("demo", stored.rate_hz, channels, digital=np.concatenate([once, once]))
    return Stage(whole, len(digital), half, delta.astype(np.int16), rhythms)
