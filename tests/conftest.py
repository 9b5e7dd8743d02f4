"""What every test may use: the data outside the repository, a real broker, and the rule against skips."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from benchmarks.mosquitto import Mosquitto

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
hypothesis.settings.register_profile("wavewall", deadline=None)  # a speed is a benchmark's business, not a test's
hypothesis.settings.load_profile("wavewall")

REPOSITORY = Path(__file__).resolve().parent.parent
_skipped: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when any test is skipped (CI)")


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if session.config.getoption("--no-skips") and _skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--no-skips") and _skipped:
        terminalreporter.section("skipped tests fail this run (--no-skips)", red=True)
        for name in _skipped:
            terminalreporter.line(name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n 2`: the trainer's files, which only compute, go wherever there is room; all others, which use clocks,
    mounts and browsers, run one after the other.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.startswith("tests/trainer/") else "one after the other"

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return REPOSITORY


def data_folder() -> Path:
    """Where the public records lie: ``WAVEWALL_DATA``, else ``../shared/data`` beside the repository."""
    return Path(os.environ.get("WAVEWALL_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def cinc_zip() -> Path:
    """The PhysioNet/CinC 2017 training records."""
    return _needed("cinc2017-training.zip")


@pytest.fixture(scope="session")
def ucr_folder() -> Path:
    """The UCR archive, one folder of .tsv files for each data set."""
    return _needed("UCRArchive_2018")


def _needed(name: str) -> Path:
    path = data_folder() / name
    if not path.exists():
        pytest.skip(f"{name} is not in {data_folder()}; set WAVEWALL_DATA to the folder that holds it")
    return path


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[int]:
    """A real broker of this test alone; gives its port on the loopback."""
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker.port
    broker.stop()
