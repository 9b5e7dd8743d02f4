"""The container image, built in truth by buildah: size, user, a read-only root, a replay, the health check."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mosquitto import free_port
from deploy import image
from tests.deploy.roots import Images

pytestmark = [pytest.mark.package, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def root(images: Images) -> Iterator[Path]:
    """A container's file system, with a configuration and a recording where a user would mount them."""
    with images.root("amd64") as root:
        yield root


@pytest.fixture(scope="module")
def config(images: Images) -> dict[str, Any]:
    said = images.buildah("inspect", "--type", "image", images.tag("amd64")).stdout
    return dict(json.loads(said)["Docker"]["config"])


def inside(
    root: Path, script: str, mounts: dict[str, Path] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a shell script as `docker run --read-only --tmpfs /tmp` would: the image's user, its root read-only.

    All mounts are in a namespace that ends with the script.
    """
    steps = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
    steps += [f"mount -t tmpfs tmpfs {root}/{place}" for place in ("tmp", "dev", "var/lib/wavewall")]
    steps += [f"mkdir {root}/dev/shm", f"chmod 1777 {root}/dev/shm {root}/tmp {root}/var/lib/wavewall"]
    steps += [f"mknod -m 666 {root}/dev/{name} c 1 {minor}" for name, minor in (("null", 3), ("urandom", 9))]
    for place, source in (mounts or {}).items():
        steps += [f"touch {root}{place}", f"mount --bind {source} {root}{place}"]
    steps += [
        f"mount -o remount,bind,ro {root}",
        f"exec env -i PATH=/opt/wavewall/bin:/usr/bin:/bin STATE_DIRECTORY=/var/lib/wavewall HOME=/var/lib/wavewall "
        f'WAVEWALL_ALIVE_FILE=/dev/shm/alive /usr/sbin/chroot --userspec=990:990 --groups= {root} sh -c "$0"',
    ]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "; ".join(steps), script]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=200)


def test_what_the_image_says_of_itself(config: dict[str, Any]):
    assert config["User"] == "990:990"
    assert config["Entrypoint"] == ["edge-agent"]
    assert config["Cmd"] == ["run", "/etc/wavewall/agent.toml"]
    assert config["Healthcheck"]["Test"][0].startswith("CMD")
    assert "PATH=/opt/wavewall/bin:/usr/bin:/bin" in config["Env"]


@pytest.mark.parametrize("arch", image.ARCHS)
def test_it_is_small(images: Images, arch: str):
    packed_mb, unpacked_mb = image.sizes_mb(images.buildah, images.tag(arch))
    print(f"image for {arch}: {packed_mb:.0f} MB to pull, {unpacked_mb:.0f} MB unpacked")
    assert 100 < unpacked_mb < 200
    assert packed_mb < 75


def test_it_has_what_it_needs_and_no_package_manager(root: Path):
    """Every module of ours and of Python's loads; scanners find what is in it; nothing installs more."""
    script = """
import importlib, pathlib, pkgutil, ssl, sys, zoneinfo
sys.path.insert(0, "/opt/wavewall/lib")
names = {path.name.partition(".")[0] for path in pathlib.Path("/usr/lib/python3.11/lib-dynload").glob("*.so")}
names |= {"nats", "prometheus_client", "rich.live", "rich.traceback", "starlette", "uvicorn"}
for package in ("edge", "firmware_bridge"):
    walked = pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".")
    names |= {module.name for module in walked if not module.name.endswith("__main__")}
for name in sorted(names):
    importlib.import_module(name)
print(len(names), len(ssl.create_default_context().get_ca_certs()), zoneinfo.ZoneInfo("Europe/Berlin"))
"""
    done = inside(root, f"python3 -c '{script}'; cat /etc/os-release; id")
    assert done.returncode == 0 and not done.stderr, done.stderr
    modules, authorities, zone = done.stdout.splitlines()[0].split()
    assert int(modules) > 150 and int(authorities) > 100 and zone == "Europe/Berlin"
    assert 'VERSION="12 (bookworm)"' in done.stdout
    assert "uid=990(wavewall)" in done.stdout
    assert (root / "var/lib/wavewall").stat().st_uid == 990
    noted = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"python3.11-minimal", "libc6", "libssl3"} <= noted
    assert all((root / "usr/share/doc" / name / "copyright").exists() for name in noted)
    assert not [name for name in ("apt", "dpkg", "perl", "pip", "pip3", "gcc") if (root / "usr/bin" / name).exists()]


def test_every_command_of_the_agent(root: Path, repository: Path):
    recording, port = repository / "edge" / "demo" / "data" / "recording.npz", free_port()
    script = f"""
        set -e
        edge-agent verify ecg-rhythm
        edge-agent check --sink stdout --source replay:/tmp/recording.npz
        edge-agent bench --json
        firmware-bridge --help
        edge-agent run --source mqtt --mqtt-port 1 --dashboard 127.0.0.1:{port} & agent=$!
        for i in $(seq 300); do [ -e /dev/shm/alive ] && break; sleep 0.1; done
        python3 -c "
from urllib.request import urlopen
print(urlopen('http://127.0.0.1:{port}/').status, 'from the dashboard')"
        kill $agent
        wait $agent
    """
    done = inside(root, script, {"/tmp/recording.npz": recording})
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "golden windows agree" in done.stdout
    assert "every check passed" in done.stdout
    assert "200 from the dashboard" in done.stdout


def test_replay_as_nobody_on_a_read_only_root(root: Path, repository: Path):
    recording = repository / "edge" / "demo" / "data" / "recording.npz"
    done = inside(
        root, "id -u; touch /etc/x /opt/wavewall/x; edge-agent replay /tmp/recording.npz --json",
        {"/tmp/recording.npz": recording},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    uid, *lines = done.stdout.splitlines()
    assert uid == "990"
    assert done.stderr.count("Read-only file system") == 2
    assert {json.loads(line)["label"] for line in lines} <= {"normal", "af", "other", "noise"}
    assert len(lines) > 3


def test_the_health_check_tells_a_working_agent_from_a_stuck_one(config: dict[str, Any], root: Path):
    kind, *words = config["Healthcheck"]["Test"]
    check = words[0] if kind == "CMD-SHELL" else " ".join(words)
    script = f"""
        edge-agent run --source mqtt --mqtt-port 1 & agent=$!
        for i in $(seq 300); do [ -e /dev/shm/alive ] && break; sleep 0.1; done
        {check} && echo healthy
        kill -STOP $agent
        touch -d "@$(($(date +%s) - 30))" /dev/shm/alive
        {check} || echo stuck
        kill -CONT $agent; kill $agent; wait $agent; echo ended $?
    """
    done = inside(root, script)
    assert done.stdout.split() == ["healthy", "stuck", "ended", "0"], f"{done.stdout}\n{done.stderr}"
