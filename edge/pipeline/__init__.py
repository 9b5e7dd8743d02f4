"""From sample blocks to verdicts: plain objects with push(x), no threads, no IO.

Windower (blocks to windows) -> Classifier (window to scores) -> Judge (scores to verdict). The interpreter is
imported when the first classifier is made.
"""

from __future__ import annotations

from .answer import Answer
from .classify import Classifier
from .golden import load_verified
from .identity import result_id
from .model import Model, load_model
from .resample import Resampler
from .verdict import Judge
from .windows import WindowCounters, Windower

__all__ = [
    "Answer",
    "Classifier",
    "Judge",
    "Model",
    "Resampler",
    "WindowCounters",
    "Windower",
    "load_model",
    "load_verified",
    "result_id",
]
