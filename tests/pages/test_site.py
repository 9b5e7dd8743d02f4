"""The site builds without a warning, needs nothing from elsewhere, and what it links to is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs import generate_papers, mkdocs_hooks
from docs.gallery import terminal
from tests.pages.blocks import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}, capture_output=True,
        text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Page(HTMLParser):
    """Links, what the page loads, ids, and pictures without a text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.mute: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = {key: value or "" for key, value in attrs}
        self.ids |= {have[key] for key in ("id", "name") if key in have}
        if tag == "a" and "href" in have:
            self.links.append(have["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in have:
            self.loads.append(have["src"])
        if tag == "link" and "href" in have and have.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(have["href"])
        if tag == "img" and not have.get("alt", "").strip():
            self.mute.append(have.get("src", "?"))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_the_pages_of_the_design_are_there(pages: dict[Path, Page]) -> None:
    names = {path.name for path in pages}
    wanted = (
        "index getting-started breadboard own-data wrap python gateway defence results comparison cli config mqtt "
        "asyncapi protocol api faq glossary contributing changelog own-data-to-bundle attack-and-defend gallery"
    )
    assert {f"{name}.html" for name in wanted.split()} <= names


def test_nothing_comes_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        for address in page.loads:
            assert address.startswith("data:") or not urlsplit(address).netloc, f"{path.name} loads {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_every_link_leads_somewhere(pages: dict[Path, Page], site: Path) -> None:
    every = ((path, link) for path, page in pages.items() for link in page.links)
    lost = [f"{path.relative_to(site)} -> {link}" for path, link in every if _lost(path, link, pages)]
    assert lost == []


def _lost(path: Path, link: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme not in ("https", "mailto", "http")
    target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return True
    anchor = unquote(parts.fragment)
    return bool(anchor) and target in pages and anchor not in pages[target].ids and anchor != "__skip"


def test_every_picture_has_a_text(pages: dict[Path, Page]) -> None:
    assert [(path.name, page.mute) for path, page in pages.items() if page.mute] == []


def test_search_needs_no_server(site: Path) -> None:
    """The index is a script, and the worker that file:// forbids has a stand-in of ours."""
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    document = json.loads(index.removeprefix("var __index = "))
    assert any("thermometer" in entry["text"].lower() for entry in document["docs"])
    assert "iframe-worker.js" in (site / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_search_finds_in_pages_opened_from_disk(site: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    assert browser, "chromium is not installed; run: make deps"
    done = subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
         "--virtual-time-budget=10000", "--dump-dom", f"file://{site / 'index.html'}?q=thermometer"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.search(r"(\d+) matching documents", done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    assert int(found[1]) >= 3


def test_figures_of_the_papers_stand_beside_ours() -> None:
    text = generate_papers.PAGE.read_text(encoding="utf-8")
    assert generate_papers.render(text) == text, "run: make docs"


def test_pictures_are_small_and_named_in_a_page() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "adr").glob("*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size <= 300_000, f"{picture.name} is too large for every clone"
        assert f"images/{picture.name}" in text, f"no page shows {picture.name}"


def test_a_terminal_picture_shows_each_line_at_its_time() -> None:
    picture = terminal.svg([(1.0, "plain <b>"), (2.5, "\x1b[31mred\x1b[0m after"), (3.0, "x" * 150)], "make demo")
    import xml.etree.ElementTree as Tree

    root = Tree.fromstring(picture)
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:3] == ["$ make demo", "plain <b>", "red after"]
    assert max(map(len, texts)) <= terminal.COLUMNS
    assert '<tspan class="r">red</tspan>' in picture
    assert "prefers-reduced-motion" in picture


def fenced(text: str) -> Iterator[str]:
    for code, part in mkdocs_hooks._parts(text):
        if code:
            yield part


def test_links_in_code_are_left_alone() -> None:
    text = "a [b](../README.md)\n```sh test\n[c](../README.md)\n```\nd\n"
    assert list(fenced(text)) == ["```sh test\n[c](../README.md)\n```\n"]
    assert "".join(part for _, part in mkdocs_hooks._parts(text)) == text
