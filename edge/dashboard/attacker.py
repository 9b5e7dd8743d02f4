"""A child process that makes the attacks of other packages: `python -m edge.dashboard.attacker`.

It is started at the first such attack, answers one request after another, and ends with the page, when it was idle
for a while, or when it takes too long. Over its pipes go one line of JSON and raw float32 each way.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import IO, Any

import numpy as np

from edge.errors import EdgeError
from edge.types import FloatArray

# The first attack loads a training framework; on a board that takes a minute.
LIMIT_S = 180.0
MAX_BYTES = 64 << 20


class AttackerError(EdgeError):
    """The child could not make the attack; the sentence is its own."""


class Child:
    """The process, from the agent's side. Used by one thread."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-m", "edge.dashboard.attacker")) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def attack(self, name: str, bundle: str, signal: FloatArray, epsilon: float, seed: int) -> FloatArray:
        """The attacked signal (n, channel). Raises AttackerError."""
        process = self._running()
        assert process.stdin is not None
        asked = {"attack": name, "bundle": bundle, "shape": signal.shape, "epsilon": epsilon, "seed": seed}
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n" + np.ascontiguousarray(signal, "<f4").tobytes())
            process.stdin.flush()
            told = json.loads(self._read(process, None))
            if "error" in told:
                raise AttackerError(str(told["error"]))
            count = int(np.prod(told["shape"]))
            values = np.frombuffer(self._read(process, 4 * count), "<f4").reshape(told["shape"])
        except (OSError, ValueError, TimeoutError) as error:
            self.close()
            raise AttackerError(f"attack {name}: its process ended or took over {LIMIT_S:g} s") from error
        found: FloatArray = values.astype(np.float32)
        return found

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._process

    def _read(self, process: subprocess.Popen[bytes], size: int | None) -> bytes:
        """So many bytes, or a line; within the limit."""
        assert process.stdout is not None
        until, data = time.monotonic() + LIMIT_S, b""
        while (len(data) < size) if size is not None else not data.endswith(b"\n"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise TimeoutError
            piece = process.stdout.read(1 if size is None else size - len(data))
            if not piece or len(data) > MAX_BYTES:
                raise OSError("the process ended")
            data += piece
        return data


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The child's side: until its pipe is closed."""
    while line := requests.readline(1 << 16):
        asked = json.loads(line)
        count = 4 * int(np.prod(asked["shape"]))
        data = b""
        while len(data) < count and (piece := requests.read(count - len(data))):
            data += piece
        try:
            made = _made(asked, np.frombuffer(data, "<f4").reshape(asked["shape"]).astype(np.float32))
            head, body = {"shape": made.shape}, np.ascontiguousarray(made, "<f4").tobytes()
        except Exception as error:  # whatever another package raises is told as a sentence
            says = str(error) or type(error).__name__
            head, body = {"error": says.splitlines()[0][:400]}, b""  # type: ignore[dict-item]
        answers.write(json.dumps(head).encode() + b"\n" + body)
        answers.flush()


def _made(asked: dict[str, Any], signal: FloatArray) -> FloatArray:
    from edge.bundle import read_bundle
    from edge.redteam import open_attack

    attack = open_attack(asked["attack"], read_bundle(asked["bundle"]))
    return np.asarray(attack(asked["bundle"], signal, float(asked["epsilon"]), int(asked["seed"])), np.float32)


def main() -> None:
    """Frameworks print as they load: their standard output is not the one that carries the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.nice(10)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
