"""The trainer of wavewall: data, models, attacks, defences, evaluation and export.

From Python, in a few lines (each function says more; nothing heavy is loaded before one is called)::

    import trainer

    run = trainer.train("recipe.toml", data="own.npz", out="run")
    trainer.export(run, "own.bundle")
    report = trainer.evaluate("own.bundle", data="own.npz", attacks="clean,pgd", epsilon=0.1)
    print(report)
    wrapped = trainer.wrap("theirs.keras", "window.toml", "theirs.bundle")
"""

from __future__ import annotations

from trainer.api import Report, evaluate, export, load_data, train, wrap

__all__ = ["Report", "evaluate", "export", "load_data", "train", "wrap"]
