"""Errors of the trainer. One root, so that a caller can catch everything that is ours."""

from __future__ import annotations


class TrainerError(Exception):
    """Root of every error the trainer raises on purpose; its text says what is wrong and what to do."""


class DataError(TrainerError):
    """A data set, record or label file cannot be used; names the file and the field."""


class RecipeError(TrainerError):
    """A recipe is unreadable or holds a value that cannot work; names the key."""


class TrainingError(TrainerError):
    """Training cannot start, go on or resume."""


class AttackError(TrainerError):
    """An attack was asked for something impossible, or its gradient is zero everywhere."""


class ZeroGradientError(AttackError):
    """Windows that are classified rightly and whose gradient is exactly zero; ``records`` are their positions."""

    def __init__(self, message: str, records: tuple[int, ...]) -> None:
        super().__init__(message)
        self.records = records


class ExportError(TrainerError):
    """A run cannot become a bundle: conversion failed or accuracy dropped too far."""


class EvaluationError(TrainerError):
    """An evaluation cannot be carried out as asked."""
