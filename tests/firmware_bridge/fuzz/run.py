"""Fuzz the wire: ``python -m tests.firmware_bridge.fuzz.run --seconds 180``; exit 1 and the input where it fails.

With atheris (``pip install atheris``: wheels for Linux on x86-64) it is guided by coverage. Without, the corpus is
mutated, which needs nothing installed. Either way the same seed tries the same inputs, as far as the time goes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.firmware_bridge.fuzz.target import corpus, one_input

MAX_BYTES = 4096
KEPT = Path("out") / "fuzz-wire"  # what libFuzzer fails on


def mutated(seed: int, count: int | None, seconds: float) -> int:
    """Mutate until the time or the count is over; how many inputs that were. Raises what an input raises."""
    draw, pool, done = random.Random(seed), corpus(), 0
    until = time.monotonic() + seconds
    for data in pool:
        check(data)
    while time.monotonic() < until and (count is None or done < count):
        check(mutation(draw, pool))
        done += 1
    return done


def mutation(draw: random.Random, pool: list[bytes]) -> bytes:
    """An input of the pool with a few changes, or cut, or joined with another."""
    data = bytearray(draw.choice(pool))
    for _ in range(draw.randint(1, 6)):
        at, kind = draw.randrange(len(data) + 1), draw.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at : at + draw.randint(1, 8)] = b""
        elif kind == 2:
            data[at:at] = draw.randbytes(draw.randint(1, 8))
        elif kind == 3 and at < len(data):
            data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 4:
            del data[at:]
        else:
            other = draw.choice(pool)
            data[at:at] = other[draw.randrange(len(other)) :]
    return bytes(data[:MAX_BYTES])


def check(data: bytes) -> None:
    try:
        one_input(data)
    except BaseException:
        print(f"fails on {data.hex()}", file=sys.stderr)
        raise


def with_atheris(seed: int, seconds: float) -> int:
    """The exit code of libFuzzer, 0 where nothing was found.

    In a child: libFuzzer ends its process, and its memory limit counts what the process that started it once held.
    """
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            guided(seed, seconds, Path(folder))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def guided(seed: int, seconds: float, folder: Path) -> None:
    """Does not return."""
    import atheris  # type: ignore[import-not-found]

    for number, data in enumerate(corpus()):
        (folder / f"{number:03d}").write_bytes(data)
    # Only what is under test: numpy's own branches tell the fuzzer nothing.
    with atheris.instrument_imports(include=["firmware_bridge"]):
        for name in [
            name for name in sys.modules if name.startswith(("firmware_bridge", "tests.firmware_bridge"))
        ]:
            del sys.modules[name]
        from tests.firmware_bridge.fuzz import target
    limits = [
        f"-max_total_time={round(seconds)}",
        f"-seed={seed}",  # 0: by the time
        f"-max_len={MAX_BYTES}",
        "-rss_limit_mb=1024",
        "-timeout=60",  # by the clock on the wall, of a machine that may be busy
        f"-artifact_prefix={KEPT}/",
    ]
    KEPT.mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *limits, str(folder)], target.one_input)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.firmware_bridge.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris, even where it is installed")
    arguments = parser.parse_args()
    if not arguments.plain and importlib.util.find_spec("atheris") is not None:
        return with_atheris(arguments.seed, arguments.seconds)
    try:
        done = mutated(arguments.seed, None, arguments.seconds)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"{done} inputs, none of them broke anything")
    return 0


if __name__ == "__main__":
    sys.exit(main())
