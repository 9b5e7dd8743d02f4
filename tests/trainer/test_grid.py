"""Tasks over processes and over a real Ray cluster: every result once, whoever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.errors import TrainerError
from trainer.grid import Here, Processes, Ray, pool


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


@pytest.mark.slow
def test_a_ray_cluster_gives_every_result_though_a_node_is_killed(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainer.ray_cluster"], capture_output=True, text=True, timeout=280,
        cwd=repository, env={**os.environ, "PYTHONPATH": str(repository), "RAY_USAGE_STATS_ENABLED": "0",
             "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert sorted(told["results"]) == [[at, at * at] for at in range(10)]
    assert told["refused"] == "task 3 cannot be done"
    assert told["nodes"] == 2  # the head and the worker that is left
    assert told["by_client"] == [[0, 25], [1, 36]]
    assert told["refused_client"] == "task 4 cannot be done"
    assert told["same"]


def test_the_pool_is_what_was_asked_for() -> None:
    assert isinstance(pool(1), Here)
    several = pool(3)
    assert isinstance(several, Processes)
    assert several.jobs == 3
    with pytest.raises(TrainerError, match="no Ray cluster answers"):  # an address counts before a number
        pool(3, "127.0.0.1:1")


def test_no_cluster_is_one_clear_line() -> None:
    with pytest.raises(TrainerError, match="no Ray cluster answers"):
        Ray("127.0.0.1:1")


@pytest.mark.parametrize("address", ["ray://host", "host:port", ""])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(TrainerError, match="give ray://HOST:10001"):
        Ray(address)
