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
    """A real small file system, full under a running agent, read-only at the start of one; where mounting is not
    possible, the shim's errors stand for it.
    """
    field.state.mkdir()
    real = mounted(field.state, 16)
    shim = None if real else Shim(field.folder, field.state)
    filler = field.state / "filler"

    def disk(mode: str) -> None:
        if shim is not None:
            shim.mode({"full": "enospc", "read-only": "erofs"}.get(mode, "ok"))
        elif mode == "full":
            with filler.open("wb", buffering=0) as file:
                for size in (1 << 20, 512):
                    with contextlib.suppress(OSError):
                        while True:
                            file.write(bytes(size))
        elif mode == "free":
            filler.unlink()
        else:
            kind = "ro" if mode == "read-only" else "rw"
            subprocess.run(["mount", "-o", f"remount,{kind}", field.state], check=True, capture_output=True)

    field.env = {} if shim is None else shim.env
    field.start()
    try:
        time.sleep(0.7)
        disk("full")
        field.wait_health("degraded", lambda h: h["status"] == "degraded")
        field.live_again(time.monotonic())
        disk("free")
        field.wait_health("ok again", lambda h: h["status"] == "ok")
        assert field.agent is not None
        assert field.agent.stop()[0] == 0
        disk("read-only")
        since = time.monotonic()
        field.start()
        field.wait_health("degraded", lambda h: h["status"] == "degraded")
        field.live_again(since)
        disk("writable")
        field.wait_health("ok again", lambda h: h["status"] == "ok")
        time.sleep(1.0)
        field.kill()
        field.start()
        counts = field.settle()
    finally:
        field.close()
        if real:
            subprocess.run(["umount", "-l", field.state], check=False, capture_output=True)
        else:
            assert shim is not None
            shim.close()
    tally("file system full, then read-only", counts)
