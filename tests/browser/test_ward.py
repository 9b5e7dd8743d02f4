"""Every page and action of the dashboard, driven as a person would, on a real agent, broker and simulated device."""

from __future__ import annotations

import itertools
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from firmware_bridge.recordings import open_recordings
from tests.browser.rig import Ward, axe, strip_state, until, wait_for, ward


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    """A simulated device at ten times real time, and two streams of live devices, one with a gap."""
    folder = tmp_path_factory.mktemp("ward")
    more = ("--dashboard-attack", "true", "--dashboard-history-s", 60, "--chain-enabled", "true")
    more = (*more, "--events-labels", "normal+af+other+noise", "--events-k", 1, "--events-n", 1)
    more = (*more, "--durability-folder", folder / "durable")
    with ward(folder, *more) as made:
        made.fill("bed-1", 42.0)
        made.fill("bed-2", 42.0, offset_s=50.0, gap_s=4.0)
        yield made


def no_overflow(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_the_overview(page: Page, place: Ward):
    page.goto(place.url)
    expect(page.locator(".tile")).to_have_count(3)
    tile = page.locator(".tile", has_text="bed-2")
    expect(tile.locator(".badge")).not_to_have_text("no verdict yet")
    expect(page.locator(".vitals")).to_contain_text("ecg-rhythm@")
    until(page, "[...page.sparks.values()].filter((s) => s.v.some((v) => v !== null)).length >= 3")
    assert axe(page) == []
    page.keyboard.press("/")
    page.keyboard.type("bed-2")
    expect(page.locator(".tile")).to_have_count(1)
    page.locator("#search").fill("nothing of that name")
    expect(page.locator(".empty")).to_contain_text("No stream matches")
    page.locator("#search").fill("")
    page.locator("[data-filter=offline]").click()
    expect(page.locator("[data-filter=offline]")).to_have_attribute("aria-pressed", "true")
    page.locator("[data-filter=all]").click()
    page.locator(".tile", has_text="bed-1").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("bed-2")


@pytest.mark.parametrize("path", ["", "#/stream/simulated-1", "#/health"])
def test_dark_has_no_serious_finding_of_axe_and_a_phone_is_wide_enough(page: Page, place: Ward, path: str):
    page.goto(place.url)
    page.select_option("#theme", "dark")
    page.goto(place.url + path)
    page.wait_for_timeout(1000)
    assert axe(page) == []
    page.set_viewport_size({"width": 320, "height": 640})
    page.wait_for_timeout(200)
    assert no_overflow(page)


def test_the_strip_pauses_scrolls_zooms_and_comes_back(page: Page, place: Ward):
    page.goto(f"{place.url}#/stream/bed-2")
    until(page, "page.shown && page.explained.length > 0")
    strip = page.locator(".strip")
    strip.focus()
    page.keyboard.press("Space")
    before = strip_state(page)
    assert not before["live"]
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("PageUp")
    after = strip_state(page)
    assert after["end"] == pytest.approx(before["end"] - 3 - before["shown"]["seconds"], abs=0.01)
    page.keyboard.press("+")
    page.keyboard.press("]")
    zoomed = strip_state(page)["shown"]
    assert (zoomed["speed"], zoomed["gain"]) == (50, 20)
    assert zoomed["seconds"] == pytest.approx(before["shown"]["seconds"] / 2)
    box = strip.bounding_box()
    assert box
    page.mouse.move(box["x"] + 400, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 600, box["y"] + 60, steps=4)
    page.mouse.up()
    assert strip_state(page)["end"] == pytest.approx(after["end"] - 200 / (50 * zoomed["mm"]), abs=0.03)
    for key, name in (("r", "overlay"), ("d", "residual"), ("h", "heat")):
        strip.focus()
        page.keyboard.press(key)
        expect(page.locator(f"[data-lane={name}]")).to_have_attribute("aria-pressed", "false")
    strip.focus()
    page.keyboard.press("End")
    assert strip_state(page)["live"]
    # The gap of 4 s is a gap, not a line.
    runs = strip_state(page)["runs"]
    assert len(runs) == 2
    assert runs[1][0] - runs[0][1] == pytest.approx(4.0, abs=0.01)


def test_scrolling_back_goes_on_in_the_recorder(page: Page, place: Ward):
    """What memory no longer holds, after more than a minute of the signal."""

    def memory_has_forgotten() -> bool:
        page.goto(f"{place.url}#/stream/simulated-1")
        page.reload()
        until(page, "page.timeline.start !== null && page.shown")
        return bool(page.evaluate("window.wavewall.page.timeline.runs[0].first > 9000"))

    wait_for(memory_has_forgotten, "samples that memory no longer holds")
    start = page.evaluate("window.wavewall.page.timeline.start")
    page.locator(".strip").focus()
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    until(page, f"page.timeline.start < {start} - 20", 10)
    runs = strip_state(page)["runs"]
    assert all(a[1] <= b[0] + 0.01 for a, b in itertools.pairwise(runs)), runs


def test_pictures_and_records_are_saved(page: Page, place: Ward, tmp_path: Path):
    page.goto(f"{place.url}#/stream/bed-1")
    until(page, "page.shown")
    with page.expect_download() as saved:
        page.locator("#picture").click()
    picture = Path(tmp_path / "strip.png")
    saved.value.save_as(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert saved.value.suggested_filename.startswith("bed-1-")
    with page.expect_download() as saved:
        page.locator("#wfdb").click()
    saved.value.save_as(tmp_path / "bed-1.zip")
    with zipfile.ZipFile(tmp_path / "bed-1.zip") as archive:
        archive.extractall(tmp_path)
    record = open_recordings(tmp_path / "bed-1.hea").read("bed-1")
    assert record.rate_hz == 300
    assert len(record) == 42 * 300
    page.locator("#scale").click()
    page.locator("#mm").fill("5")
    page.locator("dialog button").click()
    assert strip_state(page)["shown"]["mm"] == 5


def test_the_attack_bench_on_a_simulated_device_and_on_no_other(page: Page, place: Ward):
    page.goto(f"{place.url}#/stream/simulated-1")
    until(page, "page.answers.length > 0", 30)
    page.select_option("#attack", "stored-best")
    page.locator("#epsilon").fill("20")
    page.locator("#go").click()
    expect(page.locator(".side")).to_have_count(2, timeout=20_000)
    expect(page.locator(".side").first).to_contain_text("Undefended")
    expect(page.locator(".side").nth(1)).to_contain_text("Defended")
    expect(page.locator("figcaption")).to_contain_text("enlarged")
    largest = page.evaluate("Math.max(...window.wavewall.page.bench.result.delta.map(Math.abs))")
    assert largest == pytest.approx(20, abs=0.01)
    first = page.evaluate("window.wavewall.page.bench.result.id")
    page.locator("#again").check()
    until(page, f"page.bench.result.id !== '{first}'", 20)
    assert axe(page) == []
    # What the agent publishes did not change: its results say nothing of an attack, and no stream was added.
    page.goto(f"{place.url}#/stream/bed-1")
    expect(page.locator("#bench-closed")).to_contain_text("live device")
    expect(page.locator("#go")).to_be_hidden()


@pytest.mark.parametrize("stream", ["bed-2", "simulated-1"])
def test_probabilities_and_the_reason_are_shown(page: Page, place: Ward, stream: str):
    page.goto(f"{place.url}#/stream/{stream}")
    until(page, "page.explained.length > 0", 30)
    expect(page.locator(".u-legend")).to_contain_text("af")
    expect(page.locator(".why")).to_contain_text("Residual")
    until(page, "page.list.items.length > 0", 30)
    expect(page.locator(".events .row").first).to_contain_text(stream)
    state = strip_state(page)
    assert [seq for seq, *_ in state["answers"]] == sorted({seq for seq, *_ in state["answers"]})
    cam = page.evaluate("window.wavewall.page.explained[0].cam")
    assert len(cam) > 20
    # The reconstruction lies over the signal: moved by half a second it fits far worse.
    errors = page.evaluate(
        """() => { const p = window.wavewall.page, e = p.explained[p.explained.length - 1];
          const apart = (shift) => { let sum = 0, n = 0;
            for (const r of p.timeline.runs) for (let i = 0; i < r.n; i += 7) {
              const k = Math.round((r.t0 + i / r.rate - e.t0 + shift) * e.rate_hz), v = e.reconstruction[k];
              if (v === v && v !== undefined) { sum += (v - r.values[i]) ** 2; n += 1; } }
            return [Math.sqrt(sum / n), n]; };
          return [apart(0), apart(0.1), apart(-0.1), apart(0.5)]; }"""
    )
    assert errors[0][1] > 800
    assert all(errors[0][0] < 0.4 * moved for moved, _ in errors[1:]), errors


def test_health_and_tampering(page: Page, place: Ward):
    page.goto(f"{place.url}#/health")
    expect(page.locator("#sources")).to_contain_text("simulated-1")
    expect(page.locator("#faults")).to_contain_text("gaps in the signal")
    expect(page.locator("#update")).to_contain_text("None since the start")
    expect(page.locator("#chain")).to_contain_text("checkpoints")
    expect(page.locator("#disk")).to_contain_text("recorder")
    page.wait_for_selector(".plot canvas")
    assert axe(page) == []


def test_an_agent_that_restarts_under_the_page_is_found_again_without_duplicates(page: Page, place: Ward):
    page.goto(f"{place.url}#/stream/simulated-1")
    until(page, "page.answers.length > 1", 30)
    boot = page.evaluate("window.wavewall.page.boot")
    held = strip_state(page)
    place.restart()
    until(page, f"page.boot !== '{boot}'", 30)
    expect(page.locator("#banner")).to_contain_text("restarted")
    until(page, f"page.answers.length > {len(held['answers'])}", 30)
    state = strip_state(page)
    starts = [(t0, end) for t0, end, _, _ in state["runs"]]
    assert all(a[1] <= b[0] + 0.01 for a, b in itertools.pairwise(starts)), starts
    assert len(state["answers"]) == len({(seq, t0) for seq, t0, _ in state["answers"]})
    assert len(state["explained"]) == len(set(state["explained"]))


def test_a_browser_whose_clock_is_wrong_shows_the_gateways_time(page: Page, place: Ward):
    page.add_init_script("const real = Date.now.bind(Date); Date.now = () => real() - 7 * 3600 * 1000;")
    page.goto(f"{place.url}#/stream/simulated-1")
    until(page, "page.shown")
    offset = page.evaluate("window.wavewall.session.offset")
    assert offset == pytest.approx(7 * 3600, abs=5)
    page.goto(place.url)
    expect(page.locator("#banner")).to_contain_text("s apart")
    page.goto(f"{place.url}#/stream/simulated-1")
    until(page, "page.shown && page.shown.seconds")
    assert abs(strip_state(page)["end"] - time.time()) < 3600, "signal time is the gateway's"
