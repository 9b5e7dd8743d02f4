"""The demo's stored perturbation: ``python -m trainer.zoo.demo_attack --epsilon 10``.

One waveform of whole microvolts, as long as the demo's recording and played in step with it, that moves the
*undefended* model away from what it said. Gradients come from that model's float twin alone (white box for it,
transfer for the defended one, which the attacker of the demo has never seen). All windows that share a sample
pull at it together, as a waveform on a wire must serve every window it falls into (PGD with momentum: Madry and
others 2018; Dong and others, "Boosting adversarial attacks with momentum", 2018). The attacker knows where the
windows of a live device start, at the multiples of the hop on the device's own sample count: both are public.
Afterwards both shipped int8 bundles are run on the clean and on the attacked recording, by the code that the
agent runs, and what came out is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from trainer.errors import AttackError, TrainerError
from trainer.evaluate.subject import open_subject
from trainer.zoo.demo_recording import RECORDING, digest, read_recording

PERTURBATION = RECORDING.with_name("perturbation.npz")


def windows_at(signal: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """(start, length, channel) windows of a signal (time, channel) that repeats without end."""
    return np.asarray(signal[(starts[:, None] + np.arange(length)) % len(signal)])


def streaming_attack(
    model: Any,
    signal: np.ndarray,
    *,
    epsilon_uv: int,
    length: int,
    hop: int,
    steps: int = 300,
    step_share: float = 0.05,
    momentum: float = 0.9,
    smoothing: np.ndarray | None = None,
) -> np.ndarray:
    """A perturbation (time, channel) int16 in uV of at most ``epsilon_uv``, for a signal that repeats.

    Args:
        model: a ``trainer.models.wrap.AttackModel``; its own answer on the clean window is what is moved away from.
        signal: (time, channel) float32 in uV.
        length, hop: samples of a window, and between the starts of two.
        smoothing: symmetric taps over time, so that the waveform looks less like noise; None leaves it.

    Raises:
        AttackError: a budget below one microvolt, or a gradient that is zero everywhere.
    """
    from keras import ops

    from trainer import gradients
    from trainer.attacks.gradient import objective

    if epsilon_uv < 1:
        raise AttackError(f"a budget of {epsilon_uv} uV rounds to nothing; give at least 1")
    starts = np.arange(0, len(signal), hop)
    clean = windows_at(signal, starts, length)
    valid = np.ones(clean.shape[:2], bool)
    answer = model.predict(clean, valid).argmax(1)
    target = np.eye(model.model.outputs[0].shape[-1], dtype=np.float32)[answer]
    mask = gradients.tensor(valid[..., None].astype(np.float32))

    def ascend(x: Any, target: Any) -> tuple[Any, Any]:
        def loss(window: Any) -> tuple[Any, Any]:
            margin = objective("margin", model.logits(window, mask), target)
            return -ops.softplus(2.0 - margin), margin  # a window well past the boundary no longer pulls

        (_, margin), gradient = gradients.input_gradient(loss, x, has_aux=True)
        return gradient, margin

    step = gradients.compiled(ascend)
    delta = np.zeros(signal.shape, np.float32)
    speed = np.zeros(signal.shape, np.float32)
    best, most = delta, -1
    for k in range(steps + 1):
        attacked = clean + np.rint(windows_at(delta, starts, length))
        gradient, margin = map(np.asarray, step(gradients.tensor(attacked), gradients.tensor(target)))
        flipped = int((margin > 0).sum())
        if flipped >= most:  # the latest of the best: it has gone on moving past the boundary
            best, most = delta, flipped
        total = np.zeros(signal.shape, np.float32)
        np.add.at(total, (starts[:, None] + np.arange(length)) % len(signal), gradient)
        if not np.any(total):
            raise AttackError("the gradient is zero at every sample: the model hides it, or is not trained")
        speed = momentum * speed + total / np.abs(total).mean()
        pull = speed if smoothing is None else _smooth(speed, smoothing)
        shrink = 1.0 - 0.9 * k / steps
        delta = np.clip(delta + step_share * epsilon_uv * shrink * np.sign(pull), -epsilon_uv, epsilon_uv)
    return np.rint(best).astype(np.int16)


def _smooth(signal: np.ndarray, taps: np.ndarray) -> np.ndarray:
    return np.stack([np.convolve(channel, taps, "same") for channel in signal.T], 1).astype(np.float32)


def answers(bundle_name: str, signal: np.ndarray) -> list[tuple[str, str, float]]:
    """(label, status, residual) of each window, as the agent gives them, over one round of the recording."""
    from edge.pipeline.golden import load_verified
    from edge.pipeline.verdict import Judge
    from edge.types import Window
    from edge.zoo import resolve_bundle

    bundle, classifier = load_verified(resolve_bundle(bundle_name))
    spec, judge = bundle.manifest.input, Judge(bundle.manifest)
    out = []
    for start in range(0, len(signal), spec.hop_samples):
        values = windows_at(signal, np.array([start]), spec.window_samples)[0].astype(np.float32)
        valid = np.ones(len(values), bool)
        window = Window("demo", "0", start, start / spec.rate_hz, spec.rate_hz, values, valid)
        verdict = judge.push(window, classifier.classify(window))
        out.append((verdict.label, verdict.status, verdict.residual or 0.0))
    return out


def report(signal: np.ndarray, delta: np.ndarray, hop_s: float = 10.0) -> str:
    """What each shipped model says of each window, clean and attacked, as text."""
    lines = []
    for name in ("ecg-undefended", "ecg-rhythm"):
        before, after = answers(name, signal), answers(name, signal + delta)
        pairs = list(zip(before, after, strict=True))
        flipped = sum(b[0] != a[0] for b, a in pairs)
        silent = sum(b[0] != a[0] and a[1] == "ok" for b, a in pairs)
        lines.append(f"{name}: {flipped} of {len(pairs)} windows flipped, {silent} of them without a warning")
        lines += [
            f"  {k * hop_s:5.0f} s  {b[0]:>7} {b[1]:>7} {b[2]:6.1f}  ->  {a[0]:>7} {a[1]:>7} {a[2]:6.1f}"
            for k, (b, a) in enumerate(pairs)
        ]
    return "\n".join(lines)


def main() -> int:
    """Make, store and judge the perturbation."""
    parser = argparse.ArgumentParser(prog="python -m trainer.zoo.demo_attack", description=__doc__)
    parser.add_argument("--epsilon", type=int, default=10, help="largest change of a sample, whole uV")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--twin", type=Path, help="run of ecg-undefended, where its twin is not shipped")
    parser.add_argument("--out", type=Path, default=PERTURBATION)
    arguments = parser.parse_args()
    try:
        recording, _ = read_recording(RECORDING)
        signal = recording.astype(np.float32)
        subject = open_subject("ecg-undefended", arguments.twin)
        bundle = subject.bundle
        hop = bundle.manifest.input.hop_samples if bundle is not None else subject.spec.window_samples
        delta = streaming_attack(
            subject.twin,
            signal,
            epsilon_uv=arguments.epsilon,
            length=subject.spec.window_samples,
            hop=hop,
            steps=arguments.steps,
        )
    except TrainerError as error:
        sys.stderr.write(f"demo_attack: {error}\n")
        return 1
    np.savez_compressed(arguments.out, delta_uv=delta, recording=digest(recording))
    sys.stdout.write(f"{arguments.out.name}: at most {np.abs(delta).max()} uV, rms {delta.std():.1f} uV\n")
    sys.stdout.write(report(signal, delta.astype(np.float32)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
