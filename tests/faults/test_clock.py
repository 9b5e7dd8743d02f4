"""The wall clock steps, in either direction, while results wait: nothing is reordered, stuck or lost.

The clock is that of the agent alone: a preloaded library adds the step, to the wall clock and not to the monotonic one.
"""

from __future__ import annotations

import time

from tests.faults.conftest import Tally
from tests.faults.rig import Field, Shim


def test_wall_clock_steps(field: Field, tally: Tally):
    shim = Shim(field.folder, field.state)
    field.env = shim.env
    field.start()
    steps = [3600.0, -86_400.0, 1e8, 0.0]
    for step in steps:
        time.sleep(0.5)
        since = time.monotonic()
        shim.clock(step)
        field.live_again(since)
    # And over a restart that begins with another clock than the run before ended with.
    shim.clock(-1e8)
    field.kill()
    field.comes_back()
    counts = field.settle()
    shim.close()
    by_stream: dict[tuple[str, str], list[int]] = {}
    for r in field.watch.results():
        if not r.historical:
            by_stream.setdefault((r.boot_id, r.stream), []).append(r.seq)
    assert all(seqs == sorted(seqs) for seqs in by_stream.values())
    walls = [r.t for r in field.watch.results()]
    assert max(walls) - min(walls) > 1e8  # the records say what the clock said then
    tally(f"wall clock stepped, {len(steps) + 1} times", counts)
