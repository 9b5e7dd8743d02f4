"""The page over a store that the test fills: paper in true proportion, markup, many events, many tiles."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from edge.pipeline.verdict import REASONS
from tests.browser.rig import axe, strip_state, until
from tests.edge.dashboard.rig import Served, block, event, serve, tiny_window, verdict
from tests.edge.tiny import RATE_HZ, WINDOW

NASTY = "<img src=x onerror=\"window.hit=1\"><b>bold</b>&amp;\"'/.."
TOKEN = "a token that is long enough"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    stop = threading.Event()
    made = serve(tmp_path, stop)
    yield made
    stop.set()
    made.thread.join(5)


def url(place: Served, path: str = "") -> str:
    return f"http://127.0.0.1:{place.port}/{path}"


@pytest.mark.parametrize(("speed", "gain"), [(25, 10), (50, 20)])
def test_a_millivolt_is_ten_millimetres_and_a_second_twenty_five(page: Page, served: Served, speed: int, gain: int):
    """A square wave of 1 mV and 1 s, measured in the pixels of the chart at the scale that it states."""
    began = time.time() - 40
    wave = np.where(np.arange(4000) // 50 % 2 == 0, 500.0, -500.0)
    for at in range(0, 4000, 100):
        served.store.block(block("cal", wave[at : at + 100], at, began))
    page.goto(url(served, "#/stream/cal"))
    until(page, "page.shown")
    page.locator(".strip").focus()
    page.keyboard.press("Space")
    page.select_option("select[aria-label='Paper speed']", str(speed))
    page.select_option("select[aria-label='Gain']", str(gain))
    shown = strip_state(page)["shown"]
    assert shown["mm"] == pytest.approx(96 / 25.4)
    # Rows of dark ink in each column of the signal's box, from the canvas itself.
    ink = np.array(
        page.evaluate(
            """() => { const p = window.wavewall.page, c = p.canvas, s = p.shown, k = window.devicePixelRatio;
              const x = Math.ceil(s.place.left * k) + 1, y = s.place.signal.y * k, h = s.place.signal.h * k;
              const w = c.width - x, d = c.getContext("2d").getImageData(x, y, w, h).data, out = [];
              for (let i = 0; i < w; i += 1) { const rows = []; for (let j = 0; j < h; j += 1) {
                const o = 4 * (j * w + i); if (d[o] + d[o + 1] + d[o + 2] < 240) rows.push(j); }
                out.push(rows.length ? [rows[0], rows[rows.length - 1]] : [-1, -1]); } return out; }"""
        )
    )
    flat = ink[(ink[:, 0] >= 0) & (ink[:, 1] - ink[:, 0] < 4)]
    middles = flat.mean(axis=1)
    high, low = middles[middles < middles.mean()], middles[middles > middles.mean()]
    step = np.median(low) - np.median(high)
    assert step == pytest.approx(gain * shown["mm"], abs=1.0), "the height of 1 mV in pixels"
    edges = np.flatnonzero(ink[:, 1] - ink[:, 0] > 20)
    edges = edges[np.insert(np.diff(edges) > 5, 0, True)]
    assert len(edges) >= 4
    # The wave turns every half second.
    assert np.median(np.diff(edges)) == pytest.approx(speed * shown["mm"] / 2, abs=1.0), "half a second in pixels"


def test_markup_in_ids_and_labels_is_text(page: Page, served: Served):
    served.store.block(block(NASTY, np.ones(200), 0, time.time() - 2))
    window = tiny_window(NASTY, np.ones((WINDOW, 1)), 0, time.time() - 2)
    said = {"label": NASTY, "probabilities": {NASTY: 0.8, "b": 0.2}, "reason": NASTY, "status": "suspect"}
    served.store.verdict(window, verdict(window, 0, **said))
    served.store.event(event(1, NASTY, label=NASTY))
    page.goto(url(served))
    expect(page.locator(".tile .id")).to_have_text(NASTY)
    page.locator(".tile").click()
    expect(page.locator("h1")).to_have_text(NASTY)
    expect(page.locator(".verdict .big")).to_have_text(NASTY)
    page.wait_for_selector(".u-legend")
    expect(page.locator(".events .row strong")).to_have_text(NASTY)
    page.goto(url(served, "#/health"))
    expect(page.locator(".events .row strong")).to_have_text(NASTY)
    expect(page.locator("#most a")).to_have_text(NASTY)
    assert page.evaluate("window.hit") is None
    assert page.locator("main img, main b").count() == 0
    assert axe(page) == []


def test_ten_thousand_events_are_a_few_rows(page: Page, served: Served):
    for n in range(10_000):
        served.store.event(event(n, f"bed-{n % 50}", kind="tamper" if n % 9 == 0 else "label"))
    page.goto(url(served, "#/health"))
    until(page, "page.list.items.length === 10000", 15)
    assert page.locator(".events .row").count() < 40
    page.locator(".events").evaluate("(e) => { e.scrollTop = e.scrollHeight; }")
    page.wait_for_timeout(200)
    assert page.locator(".events .row").count() < 40
    page.locator("#event-search").fill("bed-7")
    until(page, "page.list.items.length === 200")


def test_a_thousand_tiles_scroll_smoothly(page: Page, served: Served):
    now = time.time()
    for n in range(1000):
        name = f"bed-{n}"
        served.store.block(block(name, 80 * np.sin(np.arange(800) / 9 + n), 0, now - 8))
        window = tiny_window(name, np.ones((WINDOW, 1)), 0, now)
        changes = {"status": "suspect", "reason": "residual"} if n % 100 == 3 else {}
        served.store.verdict(window, verdict(window, 0, **changes))
    page.goto(url(served))
    until(page, "page.shown.length === 1000")
    assert page.locator(".slot").count() < 120
    # From top to bottom, one step a frame: what a step adds to the page, and what is there at its end.
    steps = page.evaluate(
        """async () => { const steps = []; let added = 0;
          const watch = (all) => { for (const one of all) added += one.addedNodes.length; };
          const observer = new MutationObserver(watch);
          observer.observe(document.querySelector("main"), { childList: true, subtree: true });
          for (let i = 0; i < 60; i += 1) { window.scrollBy(0, 200);
            await new Promise((r) => requestAnimationFrame(() => setTimeout(r)));
            watch(observer.takeRecords());
            steps.push([added, document.querySelectorAll(".slot").length]); added = 0; }
          observer.disconnect();
          return steps; }"""
    )
    added, slots = zip(*steps, strict=True)
    assert sum(added) > 0
    assert max(added) < 100, "a step builds more than the two rows that come in"
    assert max(slots) < 120
    assert page.locator(".slot").count() < 120
    page.locator("[data-filter=suspect]").click()
    expect(page.locator(".tile")).to_have_count(10)


@pytest.mark.parametrize(("width", "root_px"), [(320, 16), (1280, 16), (1280, 24), (1920, 16)])
def test_every_line_of_a_tile_is_to_be_seen(page: Page, served: Served, width: int, root_px: int):
    """Nothing reaches out of a tile, the line that says why is there to its last word; also with large letters set."""
    now = time.time()
    said = [("ok", ""), ("suspect", "residual+disagreement"), *(("abstain", reason) for reason in REASONS)]
    for n, (status, reason) in enumerate(said):
        name = "a-name-as-long-as-a-stream-may-have-in-a-ward-full-of-them-" * (n == 1) + f"bed-{n}"
        served.store.block(block(name, 80 * np.sin(np.arange(800) / 9 + n), 0, now - 8))
        window = tiny_window(name, np.ones((WINDOW, 1)), 0, now)
        served.store.verdict(window, verdict(window, 0, status=status, reason=reason))
    page.set_viewport_size({"width": width, "height": 2600})
    page.goto(url(served))
    page.evaluate(f"document.documentElement.style.fontSize = '{root_px}px'")
    notes = page.locator(".tile .note:not(:empty)")
    expect(notes).to_have_count(1 + len(REASONS))
    assert not set(notes.all_text_contents()) & set(REASONS), "a reason without words of its own"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for tile in page.locator(".tile").all():
        outer = tile.bounding_box()
        assert outer is not None
        for line in tile.locator(".id, .badge, canvas, .label, .score, .note:not(:empty)").all():
            box = line.bounding_box()
            assert box is not None
            assert outer["x"] + 13 <= box["x"]
            assert box["x"] + box["width"] <= outer["x"] + outer["width"] - 13
            assert outer["y"] + 8 <= box["y"]
            assert box["y"] + box["height"] <= outer["y"] + outer["height"] - 8
    # Its own box may be whole and its text yet cut off within.
    cut = "(all) => all.map((e) => [e.scrollHeight - e.clientHeight, e.scrollWidth - e.clientWidth])"
    assert notes.evaluate_all(cut) == [[0, 0]] * (1 + len(REASONS))


def test_a_wrong_token_then_the_right_one_then_too_many(page: Page, tmp_path: Path):
    stop = threading.Event()
    place = serve(tmp_path, stop, token=TOKEN)
    try:
        place.play("bed-1", 2.0)
        page.goto(url(place))
        page.locator("#token").fill("not the token at all")
        page.keyboard.press("Enter")
        expect(page.locator("[role=alert]")).to_have_text("That is not the token.")
        assert axe(page) == []
        held: list[Route] = []  # a second press while the first has no answer asks nothing

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**/api/enter", hold)
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        assert len(held) == 1
        held[0].continue_()
        page.unroute("**/api/enter")
        expect(page.locator(".tile")).to_have_count(1)
        with page.expect_response("**/api/enter"):  # the page begins anew
            page.locator("button", has_text="Sign out").click()
        said = page.locator("[role=alert]")
        refused = 0
        for _ in range(40):  # a slow browser tries no more than the limit allows, for a while
            page.locator("#token").fill("not the token at all")
            page.keyboard.press("Enter")
            expect(said).not_to_be_empty()
            refused += 1
            if "Too many" in (said.text_content() or ""):
                break
        assert 5 <= refused < 40
        expect(said).to_contain_text("Too many wrong tokens")
    finally:
        stop.set()
        place.thread.join(5)


def test_another_sort_of_signal_gets_a_scale_of_its_own(page: Page, served: Served):
    values = 3000 + 500 * np.sin(np.arange(3000) / 60)
    for at in range(0, 3000, 100):
        part = values[at : at + 100]
        served.store.block(block("meter", part, at, time.time() - 30, units=("W",), channels=("power",)))
    page.goto(url(served, "#/stream/meter"))
    until(page, "page.shown && page.shown.auto > 1")
    shown = strip_state(page)["shown"]
    assert shown["unit"] == "W"
    assert abs(shown["baseline"] - 3000) < 600, "the signal is on the paper"
    expect(page.locator("select[aria-label='Gain']")).to_be_disabled()
    assert RATE_HZ == 100
