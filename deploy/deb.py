"""Build Debian packages: ``python -m deploy.deb [--arch amd64 ...] [--wheel FILE] [--out DIR]``, or ``make deb``.

Plain dpkg-deb over a folder laid out here, so that packages for ARM are made on any machine, and twice the same
bytes. amd64 and arm64 carry all Python packages under /opt/wavewall; armhf takes numpy, pyserial and cryptography
from Debian (see payload.py). All need Debian 12's own Python 3.11 (Raspberry Pi OS "bookworm" is one).
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path

from deploy.dist import REPOSITORY, build, epoch
from deploy.payload import PYTHON, TARGETS, fill

DEPLOY = REPOSITORY / "deploy"
UNITS = (
    "wavewall-agent.service", "wavewall-agent@.service", "wavewall-check.service", "wavewall-check.timer",
    "wavewall-pull.service", "wavewall-pull.timer",
)  # fmt: skip
PROGRAMS = {"edge-agent": "edge.cli", "firmware-bridge": "firmware_bridge.cli"}
DESCRIPTION = """time-series classifier at the edge that holds against tampering
 Reads ECG or sensor samples over serial or MQTT, cuts windows, runs one signed
 model and publishes a verdict for each window to an MQTT broker.
 .
 Verdicts on ECG are for research and screening support, not a diagnosis."""
DEBIAN_PACKAGES = {
    "numpy": "python3-numpy", "pyserial": "python3-serial", "cryptography": "python3-cryptography"
}  # fmt: skip


def package(wheel: Path, arch: str, out: Path, compression: str = "xz") -> Path:
    """One .deb for `arch` into the folder `out`."""
    version = wheel.name.split("-")[1]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        lib = root / "opt" / "wavewall" / "lib"
        fill(wheel, TARGETS[arch], lib)
        _programs(root)
        _files(root, version)
        _modes(root)
        _control(root, arch, version)
        target = out / f"wavewall_{version}_{arch}.deb"
        out.mkdir(parents=True, exist_ok=True)
        # level 1: the others take minutes for 2 MB less
        command = [
            "dpkg-deb",
            "--root-owner-group",
            f"-Z{compression}",
            "-z1",
            "--build",
            str(root),
            str(target),
        ]
        env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch())}
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return target


def _programs(root: Path) -> None:
    wrapper = (DEPLOY / "debian" / "wrapper").read_text(encoding="utf-8")
    for name, module in PROGRAMS.items():
        program = root / "opt" / "wavewall" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(wrapper.replace("@MODULE@", module), encoding="utf-8")
        program.chmod(0o755)
        link = root / "usr" / "bin" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/opt/wavewall/bin/{name}")


def _files(root: Path, version: str) -> None:
    places = {
        "config.example.toml": "etc/wavewall/agent.toml",
        "udev/60-wavewall.rules": "lib/udev/rules.d/60-wavewall.rules",
        "debian/copyright": "usr/share/doc/wavewall/copyright",
        "debian/lintian-overrides": "usr/share/lintian/overrides/wavewall",
        **{f"systemd/{unit}": f"lib/systemd/system/{unit}" for unit in UNITS},
    }
    for source, place in places.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DEPLOY / source, root / place)
    day = formatdate(epoch())
    entry = f"wavewall ({version}) bookworm; urgency=medium\n\n  * Release {version}.\n\n -- {maintainer()}  {day}\n"
    for name, text in (
        ("changelog.gz", entry),
        ("NEWS.gz", (REPOSITORY / "CHANGELOG.md").read_text("utf-8")),
    ):
        place = root / "usr" / "share" / "doc" / "wavewall" / name
        place.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def maintainer() -> str:
    """Who packs: DEBFULLNAME and DEBEMAIL, as Debian's own tools have it."""
    name = os.environ.get("DEBFULLNAME", "The wavewall contributors")
    return f"{name} <{os.environ.get('DEBEMAIL', 'wavewall@invalid.invalid')}>"


def _modes(root: Path) -> None:
    """Folders and programs 0755, the rest 0644; links as they are."""
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            programs = path.parent.name == "bin" and path.parent.parent.name == "wavewall"
            path.chmod(0o755 if path.is_dir() or programs else 0o644)


def _control(root: Path, arch: str, version: str) -> None:
    major, minor = PYTHON.split(".")
    depends = [
        f"python3 (>= {PYTHON}~)", f"python3 (<< {major}.{int(minor) + 1}~)", "libc6 (>= 2.36)", "libstdc++6",
        "adduser", "ca-certificates",
        *(DEBIAN_PACKAGES[name] for name in TARGETS[arch].from_debian),
    ]  # fmt: skip
    size = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_dir())
    fields = {
        "Package": "wavewall",
        "Version": version,
        "Section": "science",
        "Priority": "optional",
        "Architecture": arch,
        "Maintainer": maintainer(),
        "Installed-Size": str(-(-size // 1024)),
        "Depends": ", ".join(depends),
        "Suggests": "mosquitto",
        "Description": DESCRIPTION,
    }
    control = root / "DEBIAN"
    control.mkdir()
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()), "utf-8")
    (control / "conffiles").write_text("/etc/wavewall/agent.toml\n", "utf-8")
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(DEPLOY / "debian" / script, control / script)
        (control / script).chmod(0o755)
    control.chmod(0o755)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build Debian packages.")
    parser.add_argument("--arch", choices=sorted(TARGETS), action="append")
    parser.add_argument("--wheel", type=Path, help="default: built now")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist")
    given = parser.parse_args()
    wheel = given.wheel or build(given.out)[0]
    for arch in given.arch or sorted(TARGETS):
        path = package(wheel, arch, given.out)
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
