"""The disk is full, read-only, failing or hangs: verdicts go on from memory, health says so, and it heals by itself."""

from __future__ import annotations

import contextlib
import subprocess
import time

import pytest

from tests.faults.conftest import Tally
from tests.faults.rig import Field, Shim, mounted


@pytest.mark.parametrize("mode", ["eio", "enospc", "erofs", "short"])
def test_writes_that_fail(field: Field, tally: Tally, mode: str):
    shim = Shim(field.folder, field.state)
    field.env = shim.env
    field.start()
    time.sleep(0.7)
    shim.mode(mode)
    since = time.monotonic()
    field.live_again(since)
    if mode == "short":  # half of what is asked for: to be gone on with, no error
        time.sleep(2.0)
    else:
        health = field.wait_health("degraded", lambda h: h["status"] == "degraded")
        assert any("not recorded" in reason or "memory" in reason for reason in health["reasons"])
    since = time.monotonic()
    field.live_again(since)
    shim.mode("ok")
    if mode != "short":
        field.wait_health("ok again", lambda h: h["status"] == "ok" and h["disk"][1]["bytes"] > 0)
    # Healed: a crash costs nothing, not even what came while the disk failed.
    time.sleep(1.0)
    field.kill()
    field.start()
    counts = field.settle()
    shim.close()
    tally(
        {"eio": "disk: EIO", "enospc": "disk: ENOSPC", "erofs": "disk: EROFS", "short": "disk: short writes"}[
            mode
        ],
        counts,
    )


def test_a_disk_that_hangs_does_not_silence_the_verdicts(field: Field, tally: Tally):
    shim = Shim(field.folder, field.state)
    field.env = shim.env
    field.start()
    time.sleep(0.7)
    shim.mode("hang")
    time.sleep(9.0)  # the broker stops sending at 20 that are not acknowledged; that must not last
    field.live_again(time.monotonic())
    assert any("does not answer" in reason for health in field.watch.health for reason in health["reasons"])
    shim.mode("ok")
    field.wait_health("ok again", lambda h: h["status"] == "ok")
    time.sleep(1.0)
    field.kill()
    field.start()  # what came meanwhile was recorded afterwards
    counts = field.settle()
    shim.close()
    tally("disk hangs for 9 s", counts)


def test_full_and_read_only_file_system(field: Field, tally: Tally):
    """A real small file system; where mounting is not possible, the shim's errors above stand for it."""
    field.state.mkdir()
    if not mounted(field.state, 16):
        shim = Shim(field.folder, field.state)
        field.env = shim.env
        fill, free = (lambda: shim.mode("enospc")), (lambda: shim.mode("ok"))
        lock, unlock = (lambda: shim.mode("erofs")), (lambda: shim.mode("ok"))
    else:
        filler = field.state / "filler"

        def fill() -> None:
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                for size in (1 << 20, 512):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(bytes(size))

        def free() -> None:
            filler.unlink()

        def lock() -> None:
            # A file system that the kernel made read-only, open files or not.
            subprocess.run(["mount", "-o", "remount,ro,abort", field.state], check=False, capture_output=True)

        def unlock() -> None:
            pass

    field.start()
    try:
        time.sleep(0.7)
        fill()
        field.wait_health("degraded", lambda h: h["status"] == "degraded")
        field.live_again(time.monotonic())
        free()
        field.wait_health("ok again", lambda h: h["status"] == "ok")
        field.live_again(time.monotonic())
        lock()
        field.wait_health("degraded", lambda h: h["status"] == "degraded")
        field.live_again(time.monotonic())
        unlock()
        counts = field.settle()
    finally:
        field.close()
        subprocess.run(["umount", "-l", field.state], check=False, capture_output=True)
    tally("file system full, then read-only", counts)
