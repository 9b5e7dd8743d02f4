"""What stands in for boards and fresh machines: Debian roots made from packages, one of them booted, and images."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.image import Buildah
from deploy.mirror import mirror

SUITE = "bookworm"
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def debian(root: Path, packages: Sequence[str], arch: str = "amd64", variant: str = "minbase") -> Path:
    """A root of Debian 12 with `packages` in the folder `root`. Variant extract unpacks and configures nothing."""
    if root.exists():
        return root
    assert shutil.which("mmdebstrap"), "mmdebstrap is not installed; run: make deps"
    # in a mount namespace of its own: whatever happens, none of its mounts is left over the host's /dev and /proc
    command = [
        "unshare", "--mount", "mmdebstrap", "--quiet", "--mode=root", f"--variant={variant}", f"--arch={arch}",
        "--aptopt=Acquire::Languages \"none\"", "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", f"--include={','.join(packages)}", SUITE, str(root), mirror(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-2000:]
    return root


class Machine:
    """A root booted by systemd-nspawn on the host's network; commands run inside by nsenter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._log = root.with_name(root.name + ".console")
        self.leader = 0

    def boot(self) -> Machine:
        hosts = self.root / "etc" / "hosts"
        if not hosts.exists():  # Debian's installer writes it
            hosts.write_text("127.0.0.1 localhost\n")
        nspawn = f"systemd-nspawn -q -D {self.root} -b --register=no --keep-unit --hostname=gateway"
        # systemd wants a console: script makes one
        self._process = subprocess.Popen(
            ["script", "-qefc", nspawn, str(self._log)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            self.leader = self.leader or self._find_leader()
            if self.leader and self.run("systemctl is-system-running", check=False).strip() == "running":
                return self
            time.sleep(0.2)
        state = self.run("systemctl --failed --no-pager; systemctl list-jobs --no-pager", check=False)
        raise AssertionError(f"not up after 60 s\n{state}\n{self._log.read_text(errors='replace')}")

    def _find_leader(self) -> int:
        """The container's init: script -> (sh ->) systemd-nspawn -> systemd."""
        pid = self._process.pid
        while True:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                return 0
            pid = int(children[0])
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                return pid

    def run(self, command: str, check: bool = True, timeout: float = 600) -> str:
        """Standard output and error of a shell command inside."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", "-C", "--root", "--wd", "sh", "-c", command],
            capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
            env={"PATH": PATH, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit."""
        text = self.run(f"systemctl show {unit} " + " ".join(f"-p {name}" for name in properties))
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def wait(self, unit: str, state: str, timeout_s: float) -> float:
        """Seconds until the unit's ActiveState is `state`."""
        began = time.monotonic()
        while True:
            found = self.show(unit, "ActiveState")["ActiveState"]
            took = time.monotonic() - began
            if found == state:
                return took
            assert took < timeout_s, f"{unit} is {found} after {timeout_s} s\n{self.journal(unit)}"
            time.sleep(0.1)

    def journal(self, unit: str) -> str:
        return self.run(f"journalctl -u {unit} -o cat --no-pager", check=False)

    def stop(self) -> None:
        self.run("systemctl poweroff", check=False)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(10)


@dataclass(frozen=True)
class Images:
    """Our container images, by architecture."""

    buildah: Buildah

    def tag(self, arch: str) -> str:
        return f"localhost/wavewall-test:{arch}"

    @contextmanager
    def root(self, arch: str) -> Iterator[Path]:
        """The file system of a new container."""
        container = self.buildah("from", "--pull=never", self.tag(arch)).stdout.strip()
        try:
            yield Path(self.buildah("mount", container).stdout.strip())
        finally:
            self.buildah("umount", container)
            self.buildah("rm", container)


def copy(root: Path, target: Path) -> Path:
    """A root of one's own."""
    remove(target)
    subprocess.run(["cp", "-a", "--reflink=auto", str(root), str(target)], check=True)
    return target


def remove(root: Path) -> None:
    """Delete a root, unless something is mounted below it: that would be deleted, too."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    below = [mount for mount in mounts if mount.startswith(f"{root}/")]
    assert not below, f"still mounted: {below}"
    shutil.rmtree(root, ignore_errors=True)
