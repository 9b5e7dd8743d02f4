"""Does it pay to give the interpreter several windows at once? ``python -m benchmarks.batching --json F``.

The model is run on one window, on batches (the input resized), and with more threads; beside it, several interpreters
in threads of their own. Times are a window's: processor time, which a busy machine does not change much, and wall time.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.goals import Figure, report
from edge.bundle import preprocess, read_bundle, resolve_bundle
from edge.errors import EdgeError


def interpreter(model: bytes, batch: int, threads: int) -> Callable[[np.ndarray], None]:
    """A function that runs the model on (batch, n, channel)."""
    from ai_edge_litert.interpreter import Interpreter

    made: Any = Interpreter(model_content=model, num_threads=threads)
    entry = made.get_input_details()[0]
    if batch != 1:
        made.resize_tensor_input(entry["index"], [batch, *entry["shape"][1:]])
    made.allocate_tensors()

    def run(x: np.ndarray) -> None:
        made.set_tensor(entry["index"], x)
        made.invoke()

    return run


def timed(run: Callable[[], None], windows: int, seconds: float) -> tuple[float, float]:
    """Processor and wall milliseconds of a window: the best tenth of many runs, as others use this machine, too."""
    wall, cpu = [], []
    until = time.perf_counter() + seconds
    run()
    while time.perf_counter() < until or len(wall) < 10:
        began, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    best = max(1, len(wall) // 10)
    return sum(sorted(cpu)[:best]) / best / windows * 1e3, sum(sorted(wall)[:best]) / best / windows * 1e3


def several(runs: list[Callable[[np.ndarray], None]], x: np.ndarray) -> None:
    """Each interpreter on a window of its own, at once."""
    threads = [threading.Thread(target=run, args=(x,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def figures(bundle: str, seconds: float) -> list[Figure]:
    loaded = read_bundle(resolve_bundle(bundle))
    vectors = loaded.vectors
    x = preprocess.apply(loaded.manifest.preprocess, vectors.windows[0], vectors.valid[0])[None]
    rows = []

    def row(name: str, run: Callable[[], None], windows: int) -> None:
        cpu, wall = timed(run, windows, seconds)
        rows.append(Figure(name, round(wall, 3), "ms", None, f"a window; {cpu:.3f} ms of processor time"))

    for threads in (1, 2):
        one = interpreter(loaded.model, 1, threads)
        row(f"one window, {threads} thread(s)", lambda one=one: one(x), 1)
    for batch in (4, 16):
        try:
            many, xs = interpreter(loaded.model, batch, 1), np.repeat(x, batch, 0)
            row(f"{batch} windows at once", lambda many=many, xs=xs: many(xs), batch)
        except (RuntimeError, ValueError) as error:
            # A graph may hold its batch size in a reshape.
            print(f"{batch} windows at once: the file does not take them ({str(error)[:120]})", file=sys.stderr)
    pair = [interpreter(loaded.model, 1, 1) for _ in range(2)]
    row("two interpreters", lambda: several(pair, x), 2)
    return rows


def main() -> int:
    """Measure and print; 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    parser.add_argument("--bundle", default="ecg-rhythm", help="shipped bundle or file")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each row")
    arguments = parser.parse_args()
    try:
        rows = figures(arguments.bundle, arguments.seconds)
    except (EdgeError, ImportError) as error:
        print(f"benchmarks.batching: {error}", file=sys.stderr)
        return 2
    return report(rows, {"benchmark": "batching", "bundle": arguments.bundle}, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
