"""What drawing some classes more often did to the answers, taken back from the logits.

A classifier that saw class c ``w[c]`` times as often as it occurs overstates its probability by that factor, so
log w[c] comes off its logit (Elkan, "The foundations of cost-sensitive learning", 2001; Saerens and others 2002).
Half of it keeps part of what the drawing was for, the recall of rare classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def correct(classifier: Any, weights: Mapping[int, float], share: float) -> None:
    """Take ``share`` (0 to 1) of log ``weights`` off the bias of the layer ``logits``; classes not named weigh 1."""
    layer = classifier.get_layer("logits")
    kernel, bias = layer.get_weights()
    drawn = np.array([weights.get(c, 1.0) for c in range(len(bias))], np.float32)
    layer.set_weights([kernel, bias - np.float32(share) * np.log(drawn)])
