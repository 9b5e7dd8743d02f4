"""Builds what the firmware tests run, once for all of them. A missing compiler is a failure, not a skip."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.firmware.building import FIRMWARE, LIBRARY, SANITIZERS, TESTS, TOOLS, run
from tests.firmware.vectors_header import header


@pytest.fixture(scope="session")
def toolchain() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    assert not missing, f"not installed: {', '.join(missing)}; run: make deps"


@pytest.fixture(scope="session")
def built(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `make firmware` builds: the examples' .elf files and simavr's runner."""
    folder = tmp_path_factory.mktemp("firmware")
    print(run(["make", "-C", str(FIRMWARE), "--no-print-directory", f"OUT={folder}"], seconds=600))
    return folder


@pytest.fixture(scope="session")
def compiled(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tests' own C programs."""
    folder = tmp_path_factory.mktemp("c")
    (folder / "vectors.h").write_text(header(), encoding="utf-8")
    library = [str(path) for path in sorted(LIBRARY.glob("*.c"))]
    common = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-const-variable", f"-I{folder}", f"-I{LIBRARY}"]
    whole = [*common, "-DWW_RX_BYTES=1024"]
    for compiler, extra in (("gcc", SANITIZERS), ("clang", ("-O2",))):
        run(
            [
                compiler,
                *whole,
                *extra,
                str(TESTS / "vectors.c"),
                *library,
                "-o",
                f"{folder}/vectors-{compiler}",
            ]
        )
    run(["gcc", *whole, *SANITIZERS, str(TESTS / "driver.c"), *library, "-o", f"{folder}/driver"])
    small = [*common, "-DWW_RX_BYTES=34", "-DWW_BLOCK_VALUES=20", "-DWW_DEVICE_BODY=96"]
    run(["gcc", *small, *SANITIZERS, str(TESTS / "driver.c"), *library, "-o", f"{folder}/driver-small"])
    board = FIRMWARE / "cortex-m"
    arm = [
        "arm-none-eabi-gcc",
        "-mcpu=cortex-m3",
        "-mthumb",
        "-Os",
        "-DON_BOARD",
        f"-I{board}",
        "-nostartfiles",
    ]
    arm += ["--specs=nano.specs", "--specs=nosys.specs", "-T", str(board / "mps2.ld")]
    run(
        [
            *arm,
            *whole,
            str(TESTS / "vectors.c"),
            str(board / "board.c"),
            *library,
            "-o",
            f"{folder}/vectors.elf",
        ]
    )
    return folder


@pytest.fixture(scope="session")
def ecg() -> list[np.ndarray]:
    """The records that the Cortex-M example plays: each (n,) int16 in uV."""
    text = (FIRMWARE / "cortex-m" / "ecg.h").read_text(encoding="utf-8")
    rows = re.findall(r"\*/([-\d,\s]+)}", text)
    return [np.array(row.strip().rstrip(",").split(","), dtype=np.int16) for row in rows]


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose path is short enough for a Unix socket (108 bytes)."""
    folder = tmp_path_factory.mktemp("q")
    assert len(str(folder)) < 90, folder
    return folder
