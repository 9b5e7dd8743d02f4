"""Fixtures of the security tests: every one of them is marked `security`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.integration.rig import broker, bundle

__all__ = ["broker", "bundle"]  # fixtures


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.security)


AREAS = {
    "test_tls": "TLS: broker, client, versions",
    "test_acl": "rights by topic, as shipped",
    "test_secrets": "secrets in any output",
    "test_flood": "quotas, payloads",
    "test_requests": "requests",
    "test_registry": "requests",
    "test_bundles": "bundles: unsigned, replayed, old, bombs",
    "test_trust": "frames: forged, replayed, unsigned",
    "test_auth": "frames: forged, replayed, unsigned",
    "test_signing": "keys and signatures",
    "test_chain": "results altered, cut, forged",
    "test_fuzz": "any bytes on any input",
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """`pytest -m security` ends with a table: what was tried, how many cases, how many held."""
    if "security" not in str(config.getoption("markexpr")):
        return
    tried, held = Counter[str](), Counter[str]()
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if "security" in report.keywords and (report.when == "call" or outcome == "error"):
                stem = Path(report.location[0]).stem
                area = AREAS.get(stem, stem.removeprefix("test_").replace("_", " "))
                tried[area] += 1
                held[area] += outcome == "passed"
    terminalreporter.section("security: what was tried, what held")
    for area in tried:
        terminalreporter.line(f"{area:<42}{tried[area]:>5} cases {held[area]:>5} held")
    terminalreporter.line(f"{'in all':<42}{sum(tried.values()):>5} cases {sum(held.values()):>5} held")
