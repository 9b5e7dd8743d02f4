"""What a backlog took goes back to the system: in a process of its own, as pytest's heap is no agent's."""

from __future__ import annotations

import subprocess
import sys

from edge.memory import resident_bytes

BACKLOG = """
from edge.memory import HighWater, one_arena, resident_bytes
one_arena()
water = HighWater()
before = resident_bytes()
kept = [bytearray(4000) for _ in range(10_000)]
pins = kept[::100]  # a little that stays keeps glibc from giving back the pages around it
del kept
high = resident_bytes()
water.look()
after = resident_bytes()
water.look()
print(before, high, after, len(pins))
"""


def test_the_pages_of_a_backlog_are_given_back():
    done = subprocess.run([sys.executable, "-c", BACKLOG], capture_output=True, text=True, timeout=60, check=True)
    before, high, after, _ = map(int, done.stdout.split())
    assert high - before > 30_000_000, "nothing was kept: the test shows nothing"
    assert after - before < 6_000_000


def test_resident_memory_is_what_the_kernel_counts():
    with open("/proc/self/status") as status:
        rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    assert abs(resident_bytes() - 1024 * rss) < 8 << 20
