"""What every test may use: the data outside the repository, a real broker, and the rule against skips."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.mosquitto import free_port

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

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
    program = shutil.which("mosquitto", path=os.environ["PATH"] + os.pathsep + "/usr/sbin")
    assert program, "mosquitto is not installed; run: make deps"
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\npersistence false\n"
    )
    with (tmp_path / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    try:
        _wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "mosquitto ended at start"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"mosquitto does not listen on port {port} after {seconds} s")
