"""The best network as the int8 file that a device runs: packed as any bundle, and asked through the edge's own code."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edge.pipeline.golden import load_verified
from trainer.errors import ExportError
from trainer.evaluate.targets import DeviceTarget
from trainer.export.pack import export_run
from trainer.reproduce.iot import suite
from trainer.reproduce.iot.archive import Prepared

REPRESENTATIVE = 64  # series of TRAIN that set the ranges of int8


def int8_cell(run: Path, data: Prepared, worst: np.ndarray) -> dict[str, Any]:
    """Which series the int8 file names rightly: clean, and the windows (n, time, channel) ``worst`` for its twin.

    ``refused`` alone, with the reason, where export makes no file of the network.
    """
    w = data.windows
    some = data.train.take(np.linspace(0, len(data.train) - 1, min(REPRESENTATIVE, len(data.train))).astype(int))
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "best.bundle"
        try:
            export_run(run, bundle, parts=(data.train, some))
        except ExportError as error:
            return {"refused": str(error)}
        target = DeviceTarget(load_verified(bundle)[1])
        answers = {
            key: target.probabilities(x, w.valid).argmax(-1) for key, x in (("clean", w.x), ("worst", worst))
        }
    return {key: suite.bits(answer == w.y) for key, answer in answers.items()}
