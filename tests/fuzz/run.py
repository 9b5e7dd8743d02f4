"""Fuzz every input: `python -m tests.fuzz.run --seconds 180` shares the time among the targets; exit 1 where one fails.

With atheris (wheels for Linux on x86-64) coverage guides it; without, or with --plain, the corpus is mutated from a
seed, which finds the same input for the same seed. An input that fails is written to tests/fuzz/crashers/TARGET/, which
the tests play from then on: commit it with the repair.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.firmware_bridge.fuzz.run import mutation
from tests.fuzz.targets import TARGETS, Target

CRASHERS = Path(__file__).parent / "crashers"


def mutated(target: Target, seed: int, count: int | None, seconds: float) -> int:
    """Mutate the corpus until time or count is over; how many inputs that were. Raises what an input raises."""
    draw, pool, done = random.Random(seed), list(target.corpus()), 0
    until = time.monotonic() + seconds
    for data in pool:
        target.run(data)
    while time.monotonic() < until and (count is None or done < count):
        data = mutation(draw, pool)[: target.max_bytes]
        try:
            target.run(data)
        except BaseException as error:
            error.data = data  # type: ignore[attr-defined]
            raise
        done += 1
    return done


def keep(name: str, data: bytes) -> Path:
    """Write the input down for the tests."""
    folder = CRASHERS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


def with_atheris(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Does not return: libFuzzer ends the process, with 0 where nothing was found."""
    import atheris  # type: ignore[import-not-found]

    target = TARGETS[name]
    for number, data in enumerate(target.corpus()):
        (folder / f"{number:03d}").write_bytes(data)
    # Only what is under test: the branches of numpy and pydantic tell the fuzzer nothing.
    with atheris.instrument_imports(include=list(target.modules)):
        for module in [m for m in sys.modules if m.startswith(("edge", "firmware_bridge", "tests"))]:
            del sys.modules[module]
        from tests.fuzz import targets
    kept = CRASHERS / name
    kept.mkdir(parents=True, exist_ok=True)
    limits = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-seed={seed}",  # 0: by the time
        f"-max_len={target.max_bytes}",
        "-rss_limit_mb=2048",
        "-timeout=60",  # by the clock on the wall, of a machine that may be busy
        f"-artifact_prefix={kept}/",
    ]
    atheris.Setup([sys.argv[0], *limits, str(folder)], targets.TARGETS[name].run)
    atheris.Fuzz()


def one(name: str, seconds: float, seed: int, plain: bool) -> int:
    if not plain and importlib.util.find_spec("atheris") is not None:
        with tempfile.TemporaryDirectory() as folder:
            with_atheris(name, seconds, seed, Path(folder))
    try:
        done = mutated(TARGETS[name], seed, None, seconds)
    except Exception as error:
        data = getattr(error, "data", b"")
        print(f"{name}: {type(error).__name__}: {error}; input in {keep(name, data)}", file=sys.stderr)
        return 1
    print(f"{name}: {done} inputs, none of them broke anything")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="for all targets together")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only these")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris, even where it is installed")
    arguments = parser.parse_args()
    names = arguments.target or list(TARGETS)
    seconds = arguments.seconds / len(names)
    if len(names) == 1:
        return one(names[0], seconds, arguments.seed, arguments.plain)
    failed = []
    for name in names:
        # A process each: libFuzzer ends the one that it runs in.
        words = ["--seconds", f"{seconds:g}", "--target", name, "--seed", str(arguments.seed)]
        command = [sys.executable, "-m", "tests.fuzz.run", *words, *(["--plain"] if arguments.plain else [])]
        done = subprocess.run(command, capture_output=True, text=True)
        print(
            f"{'ok  ' if done.returncode == 0 else 'FAIL'}  {name:<12}  {_inputs(done.stdout + done.stderr)}",
            flush=True,
        )
        if done.returncode:
            failed.append(name)
            print((done.stdout + done.stderr)[-3000:], file=sys.stderr)
    for folder in CRASHERS.iterdir():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if failed:
        print(f"failed: {', '.join(failed)}; the inputs are in {CRASHERS}", file=sys.stderr)
    return 1 if failed else 0


def _inputs(said: str) -> str:
    """The line that says how many inputs there were."""
    lines = [line for line in said.splitlines() if "inputs, none" in line or line.startswith("Done ")]
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
