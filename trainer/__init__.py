"""The trainer of wavewall: data, models, attacks, defences, evaluation and export.

From Python, ``import trainer.api as trainer`` has the commands as functions.
"""
