"""The demo's recording: ``python -m trainer.zoo.demo_recording`` writes it again.

Synthetic and 150 s long: sinus rhythm, atrial fibrillation, then electrode noise, of one person. It repeats
without a seam, so that the demo can play one round as it is and the next with the attacker on the wire.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

import edge.zoo
from trainer.data.synthetic import RATE_HZ, Heart, record
from trainer.errors import DataError

RECORDING = Path(edge.zoo.__file__).parent.parent / "demo" / "data" / "recording.npz"
PARTS = (("normal", 60), ("af", 60), ("noise", 30))
SEED = 7
SEAM_S = 0.5


def make(seed: int = SEED) -> np.ndarray:
    """The recording: (45000, 1) int16 in uV at 300 Hz."""
    # R waves of 600 uV: a little below the median of hand-held records (CinC 2017: 760), as many people have
    heart = Heart(rate_bpm=70.0, hrv=0.04, gain=0.6, noise_uv=6.0, wander_uv=35.0)
    seam = round(SEAM_S * RATE_HZ)
    fade = np.linspace(0.0, 1.0, seam)[:, None]
    total = sum(round(seconds * RATE_HZ) for _, seconds in PARTS)
    signal = np.zeros((total, 1))
    start = 0
    for number, (rhythm, seconds) in enumerate(PARTS):
        rng = np.random.default_rng([seed, number])
        part = record(rhythm, seconds + SEAM_S, rng, heart).astype(np.float64)
        part[:seam] *= fade
        part[-seam:] *= fade[::-1]
        signal[(start + np.arange(len(part))) % total] += part
        start += len(part) - seam
    return np.clip(np.rint(signal), -32768, 32767).astype(np.int16)


def digest(recording: np.ndarray) -> str:
    """sha256 of the samples: the perturbation names the recording that it was made for."""
    return hashlib.sha256(np.ascontiguousarray(recording, "<i2").tobytes()).hexdigest()


def read_recording(path: Path = RECORDING) -> tuple[np.ndarray, float]:
    """(samples (time, 1) int16 in uV, rate in Hz) of the stored recording.

    Raises:
        DataError: absent or unreadable.
    """
    from firmware_bridge.errors import FirmwareBridgeError
    from firmware_bridge.recordings import open_recordings

    try:
        stored = next(iter(open_recordings(path)))
    except FirmwareBridgeError as error:
        raise DataError(f"{error}; make it with: python -m trainer.zoo.demo_recording") from error
    return np.asarray(np.rint(stored.physical), np.int16), float(stored.rate_hz)


def main() -> int:
    """Write the recording where the demo looks for it."""
    recording = make()
    RECORDING.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        RECORDING,
        digital=recording,
        rate_hz=np.array(RATE_HZ),
        channels=np.array(["ecg"]),
        units=np.array(["uV"]),
        scale=np.array([1.0]),
        # for the demo's screen; readers of recordings pass over them
        rhythms=np.array([rhythm for rhythm, _ in PARTS]),
        rhythm_ends_s=np.cumsum([seconds for _, seconds in PARTS]),
    )
    size = RECORDING.stat().st_size
    sys.stdout.write(f"{RECORDING.name}: {len(recording) / RATE_HZ:g} s, {size / 1000:.0f} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
