"""A real Ray cluster of a head and two workers on this machine, one of which is killed; what came back, as JSON. Then
the same cluster as a client reaches it (ray://).

A program of its own, since Ray changes the process that it is used in: ``python -m tests.trainer.ray_cluster``.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import Any

import numpy as np
from ray.cluster_utils import Cluster

from benchmarks.mosquitto import free_port
from tests.integration.rig import wait_for
from trainer.errors import TrainerError
from trainer.evaluate import pieces
from trainer.grid import Ray


def square(task: int) -> int:
    time.sleep(0.2)
    return task * task


def refuse(task: int) -> int:
    raise TrainerError(f"task {task} cannot be done")


def start(head: dict[str, Any]) -> Cluster:
    """Ray gives a machine half a minute, which a busy one may not have."""
    for _ in range(2):
        try:
            return Cluster(initialize_head=True, head_node_args=head)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return Cluster(initialize_head=True, head_node_args=head)


def listens(port: int) -> bool:
    with socket.socket() as place:
        return place.connect_ex(("127.0.0.1", port)) == 0


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
    port = free_port()
    served = {"include_dashboard": False, "ray_client_server_port": port, "_system_config": quick}
    cluster = start({"num_cpus": 0, **served, **memory})
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
        wait_for(lambda: listens(port), "the server for clients")
        with Ray(f"ray://127.0.0.1:{port}") as pool:
            told["by_client"] = sorted(pool.map(square, [5, 6]))
            try:
                list(pool.map(refuse, [4]))
            except TrainerError as error:
                told["refused_client"] = str(error)
    finally:
        cluster.shutdown()
    (alone,) = pieces.run(clean_errand())
    told["same"] = bool(np.array_equal(shared[0].probabilities["int8"], alone.probabilities["int8"]))
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
