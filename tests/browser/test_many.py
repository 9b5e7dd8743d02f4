"""Two hundred streams for a minute: neither the page nor the agent grows."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from playwright.sync_api import Page, expect

from tests.browser.rig import Player, until, ward

STREAMS = [f"bed-{n:03d}" for n in range(200)]
SETTLED_S, WHOLE_S = 24.0, 62.0


def test_two_hundred_streams_for_a_minute_leave_page_and_agent_flat(page: Page, tmp_path: Path):
    # What is kept of each stream is full before the first look, so that only a leak can grow after it.
    more = ("--dashboard-history-s", 10)
    with ward(tmp_path, *more, device=None) as place, Player(place, STREAMS, speed=2.0):
        began = time.monotonic()
        page.goto(place.url)
        until(page, "page.streams.size === 200", 30)
        tools = page.context.new_cdp_session(page)

        def look() -> tuple[float, float]:
            """(page's heap, agent's memory) in MB, garbage collected."""
            tools.send("HeapProfiler.collectGarbage")
            heap = page.evaluate("performance.memory.usedJSHeapSize")
            return heap / 1e6, psutil.Process(place.agent.process.pid).memory_info().rss / 1e6

        page.wait_for_timeout(1000 * max(0.0, SETTLED_S - (time.monotonic() - began)))
        heap, memory = look()
        seen = page.evaluate("[...window.wavewall.page.streams.values()].filter((s) => s.label).length")
        page.wait_for_timeout(1000 * max(0.0, WHOLE_S - (time.monotonic() - began)))
        heap_after, memory_after = look()
        nodes = page.evaluate("document.querySelectorAll('*').length")
        expect(page.locator(".vitals")).to_contain_text("200 / 200")
    assert seen == 200, "every stream has its verdict"
    assert nodes < 2500
    assert heap_after - heap < 4, f"page {heap:.1f} -> {heap_after:.1f} MB"
    assert memory_after - memory < 12, f"agent {memory:.1f} -> {memory_after:.1f} MB"
