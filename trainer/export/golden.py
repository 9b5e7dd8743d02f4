"""Golden windows: synthetic, because real records are not committed, and what the file answers to them.

Runtimes have their own int8 kernels, which round differently; over many layers this can move an output by more than
one step. Golden windows are therefore chosen so that two independent sets of kernels, LiteRT's fast ones and the
reference ones that tflite-runtime has too, agree on them: another that does not computes something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edge.bundle import preprocess
from edge.bundle.preprocess import Step
from edge.pipeline.golden import EXPLAIN_STEPS
from trainer.data.base import DataSpec
from trainer.errors import ExportError

COUNT = 4
CANDIDATES = 64
AGREE_STEPS = 0.5  # half of what the check at load allows, so that a third set of kernels has room
DECIDING = ("probabilities", "probabilities_raw", "reconstruction")


def windows(spec: DataSpec, count: int = CANDIDATES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``count`` windows (m, time, channel) float32 in raw units and valid (m, time); every fourth is padded.

    ECG in microvolts comes from the synthetic generator, anything else is a smooth random walk of unit spread.
    """
    rng = np.random.default_rng(seed)
    n, channels = spec.window_samples, len(spec.channels)
    x = np.zeros((count, n, channels), np.float32)
    valid = np.ones((count, n), bool)
    for i in range(count):
        for channel in range(channels):
            x[i, :, channel] = _ecg(spec, i, rng) if spec.units == "uV" else _walk(n, rng)
    quarter = n // 8
    valid[3::4, :quarter] = valid[3::4, n - quarter :] = False
    x[~valid] = 0.0
    # whole numbers in microvolts, as an ADC gives them, and thousandths elsewhere
    return np.round(x, 0 if spec.units == "uV" else 3).astype(np.float32), valid


def _walk(n: int, rng: np.random.Generator) -> np.ndarray:
    walk = np.cumsum(rng.standard_normal(n))
    kernel = np.hanning(9)
    smooth = np.convolve(walk, kernel / kernel.sum(), mode="same")
    return (smooth - smooth.mean()) / (smooth.std() + 1e-9)


def _ecg(spec: DataSpec, i: int, rng: np.random.Generator) -> np.ndarray:
    from trainer.data import synthetic

    # its rate may not be this model's: a golden window needs to look alive, not to beat at the right rate
    seconds = spec.window_samples / synthetic.RATE_HZ + 1.0
    signal = synthetic.record(synthetic.RHYTHMS[i % len(synthetic.RHYTHMS)], seconds, rng)
    return np.asarray(signal, np.float32).reshape(-1)[: spec.window_samples]


def answers(
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    steps: Sequence[Step],
    x: np.ndarray,
    valid: np.ndarray,
) -> dict[str, np.ndarray]:
    """Outputs by name (m, ...) float32 of ``run(x float32 (1, n, channel)) -> dict`` on preprocessed windows."""
    rows = [run(preprocess.apply(steps, x[i], valid[i])[None]) for i in range(len(x))]
    return {name: np.concatenate([row[name] for row in rows]).astype(np.float32) for name in rows[0]}


def value_step(values: np.ndarray) -> float:
    """The smallest distance between two different values: the int8 step of a dequantized tensor."""
    distinct = np.unique(values)
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-6 * max(1e-9, float(np.abs(distinct).max()))]
    return float(gaps.min()) if len(gaps) else 0.0


def reference(model: bytes, indices: Mapping[str, int]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The file run by the reference kernels, bit for bit those of tflite-runtime: input -> outputs by name."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    exits = {name: interpreter.get_output_details()[i]["index"] for name, i in indices.items()}

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        interpreter.set_tensor(entry, x)
        interpreter.invoke()
        return {name: np.array(interpreter.get_tensor(i)) for name, i in exits.items()}

    return run


def choose(
    fast: Mapping[str, np.ndarray], slow: Mapping[str, np.ndarray], steps: Mapping[str, float], valid: np.ndarray
) -> np.ndarray:
    """Indices of ``COUNT`` windows on which both sets of kernels agree, one of them padded.

    Raises:
        ExportError: too few of the candidates agree; the model is too close to rounding to be checked anywhere.
    """
    agree = np.ones(len(valid), bool)
    for name in DECIDING:
        if name in fast and steps[name]:
            apart = np.abs(fast[name] - slow[name]).reshape(len(valid), -1).max(1)
            agree &= apart <= AGREE_STEPS * steps[name] if name != "reconstruction" else apart <= 1.001 * steps[name]
    for name, room in EXPLAIN_STEPS.items():
        if name in fast and steps[name]:
            apart = np.abs(fast[name] - slow[name]).reshape(len(valid), -1).max(1)
            agree &= apart <= AGREE_STEPS * room * steps[name]
    padded = ~valid.all(1)
    whole, cut = np.flatnonzero(agree & ~padded), np.flatnonzero(agree & padded)
    if len(whole) < COUNT - 1 or not len(cut):
        raise ExportError(
            f"only {int(agree.sum())} of {len(valid)} golden windows are answered alike by two sets of int8 kernels; "
            "train longer or use --quantize float16"
        )
    return np.concatenate([whole[: COUNT - 1], cut[:1]])
