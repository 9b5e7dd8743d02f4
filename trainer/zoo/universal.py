"""The stored universal waveforms: ``python -m trainer.zoo.universal ecg-rhythm ecg-undefended --data DATA``.

One waveform for each shipped ECG bundle, learned on training records through its float twin (of the surrogates the
strongest), at any phase; nothing of a record is in it. ``edge-agent attack`` plays it. (On synthetic records nothing
is learned: the models are so sure of them that no window comes near to turning.)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from edge.zoo import resolve_bundle
from trainer.data.base import Dataset
from trainer.data.registry import load_data
from trainer.errors import TrainerError
from trainer.evaluate.attacked import count_turned, learn_waveform
from trainer.evaluate.subject import open_subject
from trainer.evaluate.windows import choose, fit

RECORDS = 200


def make(name: str, data: Dataset, epsilon: float, steps: int, seed: int) -> tuple[np.ndarray, str]:
    """The waveform (period, channel) of -1 to 1 for a shipped bundle, and what it did, in words."""
    subject = open_subject(name)
    rng = np.random.default_rng(seed)
    wave = learn_waveform(subject, data, epsilon, rng, steps)
    windows = fit(choose(data.part("val"), None, RECORDS), subject.spec)
    turned = count_turned(subject.twin, windows.x, windows.valid, wave, epsilon)
    return wave, f"{name}: turns {turned} of {len(windows)} validation windows at {epsilon:g}"


def main() -> int:
    """Learn and store."""
    parser = argparse.ArgumentParser(prog="python -m trainer.zoo.universal", description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    # Learned larger than it is played: at 10 uV hardly a window comes near to turning, and nothing is learned.
    parser.add_argument("--epsilon", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = load_data(arguments.data)
    for name in arguments.names:
        try:
            wave, says = make(name, data, arguments.epsilon, arguments.steps, arguments.seed)
            bundle = open_subject(name).bundle
        except TrainerError as error:
            sys.stderr.write(f"universal: {error}\n")
            return 1
        assert bundle is not None
        file = resolve_bundle(name).with_suffix(".universal.npz")
        rate_hz = np.float64(bundle.manifest.input.rate_hz)
        np.savez_compressed(file, waveform=np.rint(wave * 127).astype(np.int8), rate_hz=rate_hz)
        sys.stdout.write(f"{says}; {file.name}, {file.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
