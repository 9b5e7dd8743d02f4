"""Tasks over processes and over a real Ray cluster: every result once, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from trainer.errors import TrainerError
from trainer.evaluate import pieces
from trainer.grid import Here, Processes, Ray


def square(task: int) -> int:
    time.sleep(0.1)
    return task * task


def die(task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def refuse(task: int) -> int:
    raise TrainerError(f"task {task} cannot be done")


def test_results_are_those_of_one_process_though_a_worker_is_killed() -> None:
    tasks = list(range(12))
    found: dict[int, int] = {}
    with Processes(2) as pool:
        for at, result in pool.map(square, tasks):
            if not found:
                os.kill(pool.workers()[0], signal.SIGKILL)
            assert at not in found
            found[at] = result
        assert dict(pool.map(square, tasks[:2])) == {0: 0, 1: 1}
    assert found == dict(Here().map(square, tasks)) == {at: at * at for at in tasks}


def test_what_always_kills_its_worker_ends_and_an_error_is_passed_on() -> None:
    with Processes(1) as pool:
        with pytest.raises(TrainerError, match="died"):
            list(pool.map(die, [0]))
        with pytest.raises(TrainerError, match="task 3 cannot be done"):
            list(pool.map(refuse, [3]))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens at {port}")


class Node:
    """One Ray node in a session of its own, so that all of it can be killed and nothing else."""

    def __init__(self, *arguments: object, repository: Path) -> None:
        environment = {
            **os.environ, "PYTHONPATH": str(repository), "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "3", "RAY_health_check_initial_delay_ms": "1000",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        }  # fmt: skip
        ray = Path(sys.executable).with_name("ray")
        self.process = subprocess.Popen(
            [str(ray), "start", "--block", "--disable-usage-stats", *map(str, arguments)],
            env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(30)


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[tuple[str, list[Node]]]:
    """A head without processors, two workers of one processor each, and the address for clients."""
    port, client = free_port(), free_port()
    scratch = tmp_path_factory.mktemp("r")  # sockets below it must stay short
    head = Node(
        "--head", "--num-cpus=0", f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false",
        f"--temp-dir={scratch}", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000",
        repository=repository,
    )  # fmt: skip
    nodes = [head]
    try:
        wait_for(port)
        for _ in range(2):
            nodes.append(
                Node(f"--address=127.0.0.1:{port}", "--num-cpus=1", "--object-store-memory=100000000",
                     repository=repository)
            )  # fmt: skip
        wait_for(client)
        yield f"ray://127.0.0.1:{client}", nodes[1:]
    finally:
        for node in reversed(nodes):
            node.kill()


def clean_errand() -> pieces.Errand:
    """Two windows for a shipped bundle's file, which needs no Keras."""
    x = np.random.default_rng(0).normal(0, 100, (2, 9000, 1)).astype(np.float32)
    piece = pieces.Piece(x, np.ones((2, 9000), bool), np.zeros(2, np.int64), None, 0.0, {}, ("int8",), (0, 0))
    return pieces.Errand(piece, ("ecg-undefended", None), ("ecg-undefended", None))


@pytest.mark.slow
def test_a_ray_cluster_gives_every_result_though_a_node_is_killed(cluster: tuple[str, list[Node]]) -> None:
    address, workers = cluster
    found: dict[int, int] = {}
    with Ray(address) as pool:
        for at, result in pool.map(square, list(range(10))):
            if not found:
                workers[0].kill()
            assert at not in found
            found[at] = result
        with pytest.raises(TrainerError, match="task 3 cannot be done"):
            list(pool.map(refuse, [3]))
        errand = clean_errand()
        (_, shared), = pool.map(pieces.run, [errand])
    (alone,) = pieces.run(errand)
    np.testing.assert_array_equal(shared[0].probabilities["int8"], alone.probabilities["int8"])
    assert found == {at: at * at for at in range(10)}


def test_no_cluster_is_one_clear_line() -> None:
    with pytest.raises(TrainerError, match="no Ray cluster answers"):
        Ray("127.0.0.1:1")
