"""Networks, trained where they are not there yet and found again by what made them.

A network's folder is named by the digest of its recipe and its data, so a cached one is never taken for another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.errors import TrainingError
from trainer.evaluate.subject import load_twin
from trainer.models.wrap import AttackModel
from trainer.recipe import read_recipe
from trainer.reproduce.iot import recipes
from trainer.reproduce.iot.archive import Prepared
from trainer.reproduce.iot.plan import Scale

Tell = Callable[[str], None]


class Nets:
    """The networks of one scale under ``cache``; loaded ones stay in memory until :meth:`forget`."""

    def __init__(self, cache: Path, scale: Scale, tell: Tell) -> None:
        self.cache, self.scale, self.tell = cache, scale, tell
        self._loaded: dict[tuple[str, str, int, str], AttackModel] = {}

    def name(self, net: str, data: Prepared, seed: int) -> str:
        """What tells the network from every other: its kind, its seed and the digest of recipe and data."""
        text = recipes.text(net, data, self.scale, seed)
        return f"{net}-{seed}-{hashlib.sha256(f'{data.digest}{chr(10)}{text}'.encode()).hexdigest()[:12]}"

    def folder(self, net: str, data: Prepared, seed: int) -> Path:
        """Where the network is kept, trained or not."""
        return self.cache / self.scale.name / data.name / self.name(net, data, seed)

    def trained(self, net: str, data: Prepared, seed: int) -> Path:
        """The finished run folder; trains, or goes on with, what is not finished."""
        from trainer.run import train

        folder = self.folder(net, data, seed)
        if (folder / "run.json").exists():  # written last
            return folder
        recipe = folder.with_suffix(".toml")
        try:
            recipe.parent.mkdir(parents=True, exist_ok=True)
            recipe.write_text(recipes.text(net, data, self.scale, seed), encoding="utf-8")
        except OSError as error:
            raise TrainingError(f"{recipe}: cannot be written: {error.strerror or error}; give --cache") from error

        def report(event: dict[str, Any]) -> None:
            if "loss" in event:
                self.tell(
                    f"{data.name} {net} seed {seed}, {event['phase']} epoch {event['epoch']}/{event['epochs']}: "
                    f"loss {event['loss']:.4f}"
                )

        # nothing is chosen on it: the training part is handed in as the validation part that a run measures at its end
        parts = (data.train, data.train.take(range(min(16, len(data.train)))))
        return train(recipe, "", folder, resume=True, parts=parts, report=report)

    def whole(self, net: str, data: Prepared, seed: int) -> AttackModel:
        """The network as it is deployed, thermometer and encode-decode included."""
        return self._load(net, data, seed, "twin.keras")

    def classifier(self, net: str, data: Prepared, seed: int) -> AttackModel:
        """The classifier alone, which the paper's grey-box attack takes for the whole."""
        return self._load(net, data, seed, "classifier.keras")

    def forget(self) -> None:
        """Let go of every loaded network and its compiled steps."""
        self._loaded.clear()

    def _load(self, net: str, data: Prepared, seed: int, file: str) -> AttackModel:
        key = (net, data.name, seed, file)
        if key not in self._loaded:
            folder = self.trained(net, data, seed)
            steps = tuple(read_recipe(folder / "recipe.toml").data.preprocess)
            model = load_twin(folder, f"{data.name} {net}", steps, file)
            model.precision = self.scale.precision
            self._loaded[key] = model
        return self._loaded[key]
