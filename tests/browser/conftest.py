"""A headless Chromium for these tests, and a fresh page for each.

It ends with the file: as long as it is open, playwright keeps an event loop running in the main thread, where no
other test could run its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.rig import chromium, watch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """It fails the test on an error of the page's scripts or a line in its console that is one."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    made = context.new_page()
    errors = watch(made)
    yield made
    context.close()
    assert not errors, errors
