"""A real Ray cluster of a head and two workers on this machine, one of which is killed; what came back, as JSON.

A program of its own, since Ray changes the process that it is used in: ``python -m tests.trainer.ray_cluster``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster

from trainer.errors import TrainerError
from trainer.evaluate import pieces
from trainer.grid import Ray


def square(task: int) -> int:
    time.sleep(0.2)
    return task * task


def refuse(task: int) -> int:
    raise TrainerError(f"task {task} cannot be done")


def alive(pool: Ray) -> int:
    return sum(node["Alive"] for node in pool.nodes())


def clean_errand() -> pieces.Errand:
    """Two windows for a shipped bundle's file, which needs no Keras."""
    x = np.random.default_rng(0).normal(0, 100, (2, 9000, 1)).astype(np.float32)
    piece = pieces.Piece(x, np.ones((2, 9000), bool), np.zeros(2, np.int64), None, 0.0, {}, ("int8",), (0, 0))
    name = ("ecg-undefended", None, None)
    return pieces.Errand(piece, name, name)


def main() -> int:
    memory = {"object_store_memory": 100_000_000}
    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3, "health_check_initial_delay_ms": 500}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": quick, **memory}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    told: dict[str, Any] = {"results": []}
    try:
        workers = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
        with Ray(cluster.address) as pool:
            for at, result in pool.map(square, list(range(10))):
                if not told["results"]:
                    cluster.remove_node(workers[0], allow_graceful=False)
                told["results"].append([at, result])
            try:
                list(pool.map(refuse, [3]))
            except TrainerError as error:
                told["refused"] = str(error)
            ((_, shared),) = pool.map(pieces.run, [clean_errand()])
            until = time.monotonic() + 30
            while alive(pool) > 2 and time.monotonic() < until:
                time.sleep(0.2)
            told["nodes"] = alive(pool)
    finally:
        cluster.shutdown()
    (alone,) = pieces.run(clean_errand())
    told["same"] = bool(np.array_equal(shared[0].probabilities["int8"], alone.probabilities["int8"]))
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
