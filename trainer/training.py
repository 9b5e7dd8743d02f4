"""The training loop: one recipe, one run folder, resumable to the same numbers.

A run folder holds ``recipe.toml`` (a copy), ``checkpoint.npz`` (weights, averages, optimizer, epoch, step; replaced
whole), ``history.csv``, ``history.png``, and at the end ``twin.keras`` (the averaged float model) with
``classifier.keras`` and ``encode_decode.keras`` where there is one in front.

Everything random in an epoch comes from the seed and the epoch's number, so a run that was killed goes on from
its last checkpoint to the numbers it would have had.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import preprocess
from edge.bundle.preprocess import Step
from trainer.data.augment import Augment, class_sampler, draw, mixed
from trainer.data.base import Dataset
from trainer.errors import TrainingError
from trainer.recipe import Recipe

MIN_DELTA = 1e-4  # what counts as a lower loss where the rate follows it, as in Keras' ReduceLROnPlateau
HISTORY = ("phase", "epoch", "loss", "accuracy", "val_clean", "val_robust", "rate", "seconds")
Report = Callable[[dict[str, Any]], None]


@dataclass
class _State:
    """What a checkpoint restores: the model's variables, their average, the optimizer and the place."""

    model: Any
    average: list[Any]
    optimizer: Any
    epoch: int = 0
    step: int = 0
    # the rate's plateau: (rate, lowest loss seen, epochs since); (lowest loss, its mark, epochs since)
    plateau: np.ndarray | None = None
    lowest: np.ndarray | None = None
    kept: list[np.ndarray] | None = None

    def extras(self) -> dict[str, np.ndarray]:
        """What a checkpoint holds where the schedule follows the training loss."""
        if self.plateau is None or self.lowest is None:
            return {}
        kept = {f"kept{i}": value for i, value in enumerate(self.kept or [])}
        return {"plateau": self.plateau, "lowest": self.lowest, **kept}

    def variables(self) -> list[Any]:
        # variables, not weights: dropout's random state is among them
        return [*self.model.variables, *self.average, *self.optimizer.variables]


def learning_rate(step: int, total: int, warmup: int, peak: float, schedule: str = "cosine") -> float:
    """Linear warm-up, then a cosine to zero, or ``peak`` throughout where the schedule is "constant"."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def save_checkpoint(path: Path, state: _State, phase: str) -> None:
    """Replace the checkpoint whole: a kill at any moment leaves the old or the new one."""
    arrays = {f"v{i}": np.asarray(v) for i, v in enumerate(state.variables())}
    temporary = path.with_suffix(".tmp.npz")
    with temporary.open("wb") as file:
        np.savez(
            file, phase=np.array(phase), epoch=state.epoch, step=state.step, **arrays, **state.extras()
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path, state: _State, phase: str) -> bool:
    """Restore ``state`` if the checkpoint is of ``phase``; False if it is of another."""
    with np.load(path, allow_pickle=False) as saved:
        if str(saved["phase"]) != phase:
            return False
        variables = state.variables()
        if sum(name[0] == "v" for name in saved.files) != len(variables):
            raise TrainingError(
                f"{path}: made by another model; give another --out, or the recipe it came from"
            )
        for i, variable in enumerate(variables):
            value = saved[f"v{i}"]
            if tuple(variable.shape) != value.shape:
                raise TrainingError(
                    f"{path}: made by another model; give another --out, or the recipe it came from"
                )
            variable.assign(value)
        state.epoch, state.step = int(saved["epoch"]), int(saved["step"])
        if "plateau" in saved.files:
            state.plateau, state.lowest = saved["plateau"], saved["lowest"]
            state.kept = [saved[f"kept{i}"] for i in range(sum(n.startswith("kept") for n in saved.files))]
    return True


def prepare(x: np.ndarray, valid: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """The bundle's own preprocessing over a batch: x (n, time, channel) raw units, valid (n, time)."""
    return np.stack([preprocess.apply(steps, window, mask) for window, mask in zip(x, valid, strict=True)])


def budget(
    x: np.ndarray, valid: np.ndarray, epsilon: np.ndarray, steps: Sequence[Step]
) -> np.ndarray:
    """The raw budget ``epsilon`` (n, 1, 1) as seen behind the preprocessing, for attacks made there while training.

    Exact for steps that shift or scale; for ``asinh`` half the width of the ball's image, which depends on the sample
    (n, time, channel). Training's attacks are made behind the preprocessing, evaluation's always on raw windows.
    """
    half = epsilon
    for at, step in enumerate(steps):
        if step.op == "scale":
            half = half * abs(step.to_dict()["factor"])
        elif step.op == "znorm":
            before = prepare(x, valid, steps[:at])
            spread = np.stack([w[v].std(0) for w, v in zip(before, valid, strict=True)])[:, None, :]
            half = half / np.where(spread > 0, spread, 1.0)
        elif step.op == "asinh":
            before, scale = prepare(x, valid, steps[:at]), step.to_dict()["scale"]
            half = (np.arcsinh((before + half) / scale) - np.arcsinh((before - half) / scale)) / 2
    return np.asarray(half, np.float32)


class Trainer:
    """One phase of a run: a model, a defence and data, looped epoch by epoch."""

    def __init__(
        self,
        recipe: Recipe,
        model: Any,
        defense: Any,
        data: Dataset,
        out: Path,
        phase: str,
        teacher: np.ndarray | None = None,
    ) -> None:
        """``teacher``: (record, class) soft labels of ``data``, for the second stage of a distillation."""
        import keras

        from trainer import gradients

        self.recipe, self.model, self.defense, self.data, self.out, self.phase = (
            recipe,
            model,
            defense,
            data,
            out,
            phase,
        )
        self.teacher = teacher
        t = recipe.training
        self.epochs = t.pretrain_epochs if phase == "encode_decode" else t.epochs
        d = recipe.data
        self.preprocess = preprocess.parse_steps(d.preprocess)
        self.augment = Augment(d.place, d.crop, d.crop_min, d.gain, d.sign, d.noise, d.warp)
        self.weights = {
            data.spec.labels.index(k): w for k, w in d.class_weights.items() if k in data.spec.labels
        }
        per_record = np.array([self.weights.get(int(label), 1.0) for label in data.y])
        self.batch = min(t.batch, max(2, len(data)))
        self.steps = max(1, int(per_record.sum()) // self.batch)
        self.epsilons = np.asarray(recipe.defense.epsilons or [0.0], np.float32)
        optimizer = keras.optimizers.AdamW(
            t.learning_rate, weight_decay=t.weight_decay, clipnorm=t.clip_norm, epsilon=1e-7
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        optimizer.build(model.trainable_variables)
        self.state = _State(model, gradients.averaged(model), optimizer)
        step = gradients.compiled(self._step)
        self._compiled = gradients.in_bfloat16(step) if t.precision == "bfloat16" else step
        self._tensor = gradients.tensor

    def _step(
        self,
        x: Any,
        valid: Any,
        target: Any,
        start: Any,
        epsilon: Any,
        noise: Any,
        soft: Any,
        decay: Any,
        epoch: Any,
    ) -> Any:
        from keras import ops

        from trainer import gradients
        from trainer.defenses.base import Batch

        teacher = None if self.teacher is None else soft
        batch = Batch(x, valid, target, start, epsilon, noise, epoch, teacher)

        def loss() -> tuple[Any, Any]:
            value, logits = self.defense.loss(self.model, batch)
            hit = (
                ops.equal(ops.argmax(logits, -1), ops.argmax(target, -1))
                if logits is not None
                else ops.zeros((1,))
            )
            return value, (value, ops.mean(ops.cast(hit, "float32")))

        aux = gradients.train_step(self.model, self.state.optimizer, loss)
        gradients.average_step(self.model, self.state.average, decay)
        return aux

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
        smoothing, classes = self.recipe.training.label_smoothing, len(self.data.spec.labels)
        order = class_sampler(self.data.y, self.weights, self.steps * self.batch, rng)
        for k in range(self.steps):
            index = order[k * self.batch : (k + 1) * self.batch]
            x, valid = draw(self.data, index, self.augment, rng)
            raw, x = x, prepare(x, valid, self.preprocess)
            target = np.full((len(index), classes), smoothing / classes, np.float32)
            target[np.arange(len(index)), self.data.y[index]] += 1.0 - smoothing
            soft = target if self.teacher is None else self.teacher[index]
            if self.recipe.data.mix:
                x, target, soft = mixed(self.recipe.data.mix, rng, x, target, soft)
            start = rng.uniform(-1, 1, x.shape).astype(np.float32)
            noise = rng.standard_normal(x.shape, np.float32)
            epsilon = rng.choice(self.epsilons, (len(index), 1, 1)).astype(np.float32)
            epsilon = budget(raw, valid, epsilon, self.preprocess)
            yield x, valid[..., None].astype(np.float32), target, start, epsilon, noise, soft

    def run(self, validate: Callable[[], tuple[float, float]] | None, report: Report, resume: bool) -> None:
        """Train to the last epoch. ``validate() -> (clean, robust accuracy)`` runs on the averaged weights."""
        t, path = self.recipe.training, self.out / "checkpoint.npz"
        if resume and path.exists():
            load_checkpoint(path, self.state, self.phase)
        total, warmup = self.epochs * self.steps, max(1, int(t.warmup_epochs * self.steps))
        saved = time.monotonic()
        while self.state.epoch < self.epochs and not self._stopped():
            began, epoch = time.monotonic(), self.state.epoch
            rng = np.random.default_rng([t.seed, epoch, 0 if self.phase == "encode_decode" else 1])
            losses, hits, rate = [], [], 0.0
            for batch in self._batches(rng):
                rate = self._rate(total, warmup)
                self.state.optimizer.learning_rate.assign(rate)
                # early in a run the average would be mostly the random start: let it catch up
                decay = (
                    min(t.average_decay, (1.0 + self.state.step) / (10.0 + self.state.step))
                    if t.average_decay
                    else 0.0
                )
                value, hit = self._compiled(
                    *(self._tensor(b) for b in batch), self._tensor(decay), self._tensor(epoch + 1.0)
                )
                losses.append(value)
                hits.append(hit)
                self.state.step += 1
                report(
                    {
                        "phase": self.phase,
                        "epoch": epoch + 1,
                        "epochs": self.epochs,
                        "step": self.state.step,
                        "steps": total,
                    }
                )
            loss, accuracy = (
                float(np.mean([float(v) for v in losses])),
                float(np.mean([float(h) for h in hits])),
            )
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{self.out}: the loss is not a number in epoch {epoch + 1}; lower training.learning_rate"
                )
            self.state.epoch += 1
            self._follow(loss)
            last = self.state.epoch == self.epochs or self._stopped()
            clean = robust = float("nan")
            if validate is not None and (last or self.state.epoch % t.validate_every == 0):
                with self.averaged_weights():
                    clean, robust = validate()
            row = {
                "phase": self.phase,
                "epoch": self.state.epoch,
                "loss": loss,
                "accuracy": accuracy,
                "val_clean": clean,
                "val_robust": robust,
                "rate": rate,
                "seconds": time.monotonic() - began,
            }
            self._history(row)
            report({**row, "epochs": self.epochs})
            if last or time.monotonic() - saved >= t.checkpoint_every_s:
                save_checkpoint(path, self.state, self.phase)
                saved = time.monotonic()

        if t.settle_steps and self.phase != "encode_decode":
            self._settle(t.settle_steps)

    def _settle(self, steps: int) -> None:
        """Let normalisation's running statistics follow the weights that the phase gives, which stay as they are.

        A schedule that stops on a plateau stops at a high rate, where weights move faster than the statistics follow;
        one that ends at a low rate has settled by itself. Windows are clean, with the defence's noise.
        """
        from trainer import gradients

        noise = getattr(self.defense, "noise", 0.0)

        def look(x: Any) -> Any:
            return self.model(x, training=True)

        look = gradients.compiled(look)
        if self.recipe.training.precision == "bfloat16":
            look = gradients.in_bfloat16(look)
        with self.averaged_weights():
            for done in range(0, steps, self.steps):
                rng = np.random.default_rng([self.recipe.training.seed, done, 2])
                for _, batch in zip(range(done, steps), self._batches(rng), strict=False):
                    look(self._tensor(batch[0] + noise * batch[5] * batch[1]))
            self.state.kept = [np.asarray(w).copy() for w in self.model.weights]

    def _rate(self, total: int, warmup: int) -> float:
        t = self.recipe.training
        if t.schedule == "plateau":
            return t.learning_rate if self.state.plateau is None else float(self.state.plateau[0])
        return learning_rate(self.state.step, total, warmup, t.learning_rate, t.schedule)

    def _follow(self, loss: float) -> None:
        """Keep the weights of the lowest training loss, and halve the rate on a plateau (Fawaz and others 2019)."""
        t, state = self.recipe.training, self.state
        if t.schedule != "plateau" and t.keep != "lowest_loss" and not t.stop_after:
            return
        if state.plateau is None or state.lowest is None:
            state.plateau = np.array([t.learning_rate, np.inf, 0.0])
            state.lowest = np.array([np.inf, np.inf, 0.0])
        rate, best, waited = state.plateau
        best, waited = (loss, 0.0) if loss < best - MIN_DELTA else (best, waited + 1)
        if waited >= t.patience:
            rate, waited = max(rate / 2, min(t.rate_floor, rate)), 0.0
        state.plateau = np.array([rate, best, waited])
        lowest, mark, stale = state.lowest
        if loss < lowest:
            lowest = loss
            if t.keep == "lowest_loss":
                state.kept = [np.asarray(w).copy() for w in self.model.weights]
        # the mark follows by whole steps, so that a loss that only creeps ends the phase too
        mark, stale = (loss, 0.0) if loss < mark - t.stop_delta else (mark, stale + 1)
        state.lowest = np.array([lowest, mark, stale])

    def _stopped(self) -> bool:
        """The training loss has not fallen for ``stop_after`` epochs."""
        after, lowest = self.recipe.training.stop_after, self.state.lowest
        return bool(after and lowest is not None and lowest[2] >= after)

    def averaged_weights(self) -> _Swap:
        """The weights that the phase gives: its average, or those of the lowest training loss."""
        return _Swap(self.model, self.state.kept or self.state.average)

    def _history(self, row: dict[str, Any]) -> None:
        """Append the epoch; rows of epochs that a resumed run repeats are dropped first."""
        path = self.out / "history.csv"
        kept: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="") as file:
                kept = [
                    r
                    for r in csv.DictReader(file)
                    if not (r["phase"] == row["phase"] and int(r["epoch"]) >= row["epoch"])
                ]
        text = {k: (f"{row[k]:.6g}" if isinstance(row[k], float) else str(row[k])) for k in HISTORY}
        part = path.with_name(".history.csv.part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY)
            writer.writeheader()
            writer.writerows([*kept, text])
        os.replace(part, path)


class _Swap:
    """The averaged weights inside ``with``, the training ones after."""

    def __init__(self, model: Any, average: list[Any]) -> None:
        self.model, self.average = model, average

    def __enter__(self) -> None:
        self.kept = [np.asarray(w) for w in self.model.weights]
        for weight, mean in zip(self.model.weights, self.average, strict=True):
            weight.assign(np.asarray(mean))

    def __exit__(self, *_: object) -> None:
        for weight, value in zip(self.model.weights, self.kept, strict=True):
            weight.assign(value)
