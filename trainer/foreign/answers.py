"""Somebody else's TFLite file under evaluation as it is, without a bundle: windows by its window.toml."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.bundle import preprocess
from edge.errors import EdgeError
from trainer.errors import EvaluationError, ExportError
from trainer.foreign import keras_model, tflite_graph
from trainer.foreign.spec import WindowFile, read_window_file


class ForeignFile:
    """A TFLite classifier and what its windows are.

    Raises:
        EvaluationError: at construction, no such file or one that cannot be run on these windows.
        RecipeError: the window.toml cannot be used.
    """

    def __init__(self, path: Path, spec: Path) -> None:
        self.file: WindowFile = read_window_file(spec)
        window = (1, self.file.window_samples, len(self.file.channels))
        try:
            self.content = path.read_bytes()
            tflite_graph.parse(self.content, str(path))
            self._run = tflite_graph.runner(self.content, str(path), window)
            columns = len(self._run(np.zeros(window[1:], np.float32)))
        except OSError as error:
            raise EvaluationError(f"{path}: cannot be read: {error.strerror or error}") from error
        except ExportError as error:
            raise EvaluationError(str(error)) from error
        labels = len(self.file.labels)
        if columns not in (labels, 1) or (columns == 1 and labels != 2):
            raise EvaluationError(f"{path}: gives {columns} numbers, the spec {spec} has {labels} labels")
        self.steps = preprocess.parse_steps(self.file.preprocess)
        self._kind = None if self.file.outputs == "auto" else self.file.outputs

    def probabilities(self, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """(n, class) for raw windows x (n, time, channel) and valid (n, time)."""
        try:
            rows = np.stack([self._run(preprocess.apply(self.steps, w, v)) for w, v in zip(x, valid, strict=True)])
        except EdgeError as error:
            raise EvaluationError(f"{self.file.name}: {error}") from error
        if self._kind is None:
            self._kind = keras_model.kind_of(rows)
        if rows.shape[1] == 1:  # one number for two labels: that of the second
            second = 1.0 / (1.0 + np.exp(-rows)) if self._kind == "logits" else rows
            return np.concatenate([1.0 - second, second], axis=1).astype(np.float32)
        if self._kind == "logits":
            rows = np.exp(rows - rows.max(1, keepdims=True))
            rows = rows / rows.sum(1, keepdims=True)
        return rows.astype(np.float32)
