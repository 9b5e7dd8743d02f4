"""The pictures of the dashboard in docs/images: ``python -m tests.browser.screenshots [FOLDER]``.

From a real agent and broker, with the demo's synthetic recording; nothing in them is drawn by hand.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page

from firmware_bridge.faults import Faults
from firmware_bridge.recordings import open_recordings
from firmware_bridge.simulated_device import DeviceSettings
from firmware_bridge.simulator import Simulator
from tests.browser.rig import DEMO, RATE_HZ, Player, Ward, chromium, ecg, until, ward

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WARD = [f"bed-{n:02d}" for n in range(1, 25)]


def save(page: Page, path: Path, **options: object) -> None:
    write(page.screenshot(**options), path)  # type: ignore[arg-type]


def trouble(place: Ward) -> None:
    """Streams that something is wrong with: hum of the mains, a gap, one that has ended, a flat line."""
    seconds, began = 60, time.time() - 60
    step = int(RATE_HZ)
    rng = np.random.default_rng(5)
    shapes = {
        "bed-31": ecg() + 700 * np.sin(2 * np.pi * 50 * np.arange(len(ecg())) / RATE_HZ),
        "bed-32": np.zeros_like(ecg()),
        "bed-33": ecg() + rng.normal(0, 320, len(ecg())),
    }
    for name, values in shapes.items():
        for at in range(0, seconds * step, step):
            place.publish(name, np.take(values, range(at, at + step), mode="wrap"), at, began)
    place.fill("bed-34", 60.0, offset_s=48.0, gap_s=2.4)


def shoot(browser: Browser, folder: Path) -> None:
    shutil.rmtree("out/ward", ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:
        more = ("--dashboard-attack", "true", "--pipeline-silent-s", 300, "--chain-enabled", "true", "--chain-every", 5)
        faults, settings = Faults(lead_off=0.008, seed=4), DeviceSettings("monitor-2")
        loose = Simulator(open_recordings(DEMO), loop=True, faults=faults, settings=settings)
        more = (*more, "--durability-folder", "out/ward", "--source", f"serial:{loose.port}")
        with loose, ward(Path(made), *more, speed=1.0) as place, Player(place, WARD, speed=1.5):
            trouble(place)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(place.url)
            page.select_option("select[aria-label=Order]", "need")
            page.wait_for_timeout(34_000)
            save(page, folder / "dashboard-overview.png")
            page.select_option("#theme", "dark")
            save(page, folder / "dashboard-overview-dark.png")
            page.select_option("#theme", "light")
            page.goto(f"{place.url}#/stream/simulated-1")
            until(page, "page.explained.length > 0", 30)
            page.wait_for_timeout(3000)
            page.set_viewport_size({"width": 1280, "height": 800})
            page.evaluate("window.wavewall.page.pause(); window.wavewall.page.scroll(-4)")
            save(page, folder / "dashboard-stream.png")
            page.goto(f"{place.url}#/stream/monitor-2")
            until(page, "page.timeline.runs.some((r) => r.lead)", 60)
            page.evaluate(
                """() => { const p = window.wavewall.page; p.pause();
                  p.view.end = p.timeline.runs.filter((r) => r.lead).pop().end + 4; p.paint(); }"""
            )
            write(page.locator("section.chart").screenshot(), folder / "dashboard-lead-off.png")
            page.goto(f"{place.url}#/stream/bed-34")
            until(page, "page.explained.length > 0", 30)
            page.locator(".strip").focus()
            page.evaluate("window.wavewall.page.pause(); window.wavewall.page.scroll(-24)")
            write(page.locator("section.chart").screenshot(), folder / "dashboard-gap.png")
            page.goto(f"{place.url}#/stream/simulated-1")
            until(page, "page.answers.length > 0", 30)
            attack(page)
            write(page.locator(".bench").screenshot(), folder / "dashboard-attack.png")
            page.goto(f"{place.url}#/health")
            page.wait_for_timeout(1500)
            save(page, folder / "dashboard-health.png")
            page.set_viewport_size({"width": 360, "height": 740})
            page.goto(f"{place.url}#/stream/simulated-1")
            page.wait_for_timeout(2500)
            save(page, folder / "dashboard-phone.png")


def attack(page: Page) -> None:
    """The stored waveform in step, in its own budget, at each window until the undefended model turns (or a minute)."""
    page.set_viewport_size({"width": 1100, "height": 1400})
    page.locator("#again").check()
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        page.locator("#go").click()
        page.wait_for_timeout(2500)
        turned = page.evaluate("window.wavewall.page.bench.result.sides.map((s) => s.flipped)")
        if turned == [True, False]:
            return
        page.wait_for_timeout(3000)


def write(shot: bytes, path: Path) -> None:
    """A PNG of at most 256 colours, those of text and signs among them: charts lose nothing by it."""
    from PIL import Image

    image = Image.open(io.BytesIO(shot)).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        shoot(browser, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
