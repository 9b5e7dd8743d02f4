"""What goes under /opt/wavewall on a board: the agent and every Python package it needs, for one architecture.

Wheels are chosen for the target, so a package for ARM is made on any machine. 32-bit ARM has no wheels of numpy
(Debian's python3-numpy takes their place) and none of ai-edge-litert (tflite-runtime does).
"""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement


@dataclass(frozen=True)
class Target:
    """One architecture: Debian's name, uv's platform ("": uv knows none), Python packages that Debian brings."""

    debian: str
    uv: str = ""
    from_debian: tuple[str, ...] = ()


TARGETS = {
    "amd64": Target("amd64", "x86_64-manylinux_2_36"),  # Debian 12 has glibc 2.36
    "arm64": Target("arm64", "aarch64-manylinux_2_36"),
    "armhf": Target("armhf", from_debian=("numpy", "pyserial", "cryptography")),
}
PYTHON = "3.11"  # Debian 12's
# Never loaded here: the trainer (it needs TensorFlow); what serves to build, to type-check or to test numpy; of LiteRT
# its converters and tools with the packages that those alone import, its ways to graphics cards and phone chips, and
# its other interface (libLiteRt.so, loaded wherever it lies).
_LITERT = (
    "aot", "tools", "vendors", "tflite", "*_pb2.py", "schema_py_generated.py", "libLiteRt.so",
    "libLiteRtWebGpuAccelerator.so",
)  # fmt: skip
_UNUSED = (
    "trainer", "bin", "**/*.pyi", "**/*.a", "**/*.px[di]", "numpy/**/tests", "numpy/_core/_*_tests*.so",
    "numpy/_core/_simd*.so", "numpy/_core/include", "numpy/distutils", "numpy/f2py",
    *(f"ai_edge_litert/{name}" for name in _LITERT),
    "google", "protobuf-*", "ml_dtypes*", "flatbuffers*", "tqdm*", "backports*",
)  # fmt: skip
_LEXERS = ("__init__.py", "_mapping.py", "python.py", "special.py")  # rich brings colours for 600 languages
EXTRAS = ("dashboard", "metrics", "cluster")
# What pip notes about this very installation.
_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


def fill(wheel: Path, target: Target, lib: Path) -> None:
    """Install `wheel` and what it requires on `target` into the folder `lib`."""
    if target.uv:
        uv = str(Path(sys.executable).with_name("uv"))
        command = [
            uv, "pip", "install", "-q", "--target", str(lib), "--link-mode", "copy", "--no-compile-bytecode",
            "--python-platform", target.uv, "--python-version", PYTHON, "--only-binary", ":all:",
            f"wavewall[{','.join(EXTRAS)}] @ {wheel.resolve().as_uri()}",
        ]  # fmt: skip
        _run(command, target)
    else:
        wanted = requirements(wheel, target)
        # It names numpy as its own requirement, of which there is no wheel: Debian brings it.
        alone = [r for r in wanted if r.startswith("tflite-runtime")]
        _pip(["--no-deps", str(wheel), *alone], target, lib)
        _pip([r for r in wanted if r not in alone], target, lib)
    for pattern in _UNUSED:
        for path in list(lib.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list((lib / "pygments" / "lexers").glob("*.py")):
        if path.name not in _LEXERS:
            path.unlink()
    for note in [lib / ".lock", *(info / note for info in lib.glob("*.dist-info") for note in _NOTES)]:
        note.unlink(missing_ok=True)


def requirements(wheel: Path, target: Target) -> list[str]:
    """The base requirements of `wheel` on 32-bit ARM, less what Debian brings there."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    place = {
        "platform_machine": "armv7l", "python_version": PYTHON, "python_full_version": f"{PYTHON}.0",
        "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
    }  # fmt: skip
    found = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    return [
        f"{r.name}{r.specifier}"
        for r in found
        if r.name not in target.from_debian
        and (r.marker is None or any(r.marker.evaluate({**place, "extra": extra}) for extra in ("", *EXTRAS)))
    ]


def _pip(what: list[str], target: Target, lib: Path) -> None:
    """pip knows any platform by name, but takes its markers from the machine it runs on: `what` is sorted before."""
    command = [
        sys.executable, "-m", "pip", "install", "-q", "--target", str(lib), "--upgrade", "--no-compile",
        "--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp",
        "--abi", f"cp{PYTHON.replace('.', '')}", "--abi", "abi3", "--abi", "none",
    ]  # fmt: skip
    for glibc in ("2_36", "2_34", "2_31", "2_28", "2_17"):
        command += ["--platform", f"manylinux_{glibc}_armv7l"]
    _run([*command, *what], target)


def _run(command: list[str], target: Target) -> None:
    done = subprocess.run(command, umask=0o022, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"deploy.payload: no packages for {target.debian}:\n{done.stderr}")
