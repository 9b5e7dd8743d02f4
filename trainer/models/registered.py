"""Importing this makes every layer of this project known to Keras, which loading a ``.keras`` file needs."""

from trainer.models import forest, layers, rhythm

__all__ = ["forest", "layers", "rhythm"]
