"""The container image, built in truth by buildah: size, user, a read-only root, a replay, the health check."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import image

pytestmark = [pytest.mark.package, pytest.mark.slow, pytest.mark.timeout(900)]

TAG = "localhost/wavewall:test"


@pytest.fixture(scope="module")
def buildah(kept: Path, debs: dict[str, Path]) -> Iterator[image.Buildah]:
    """buildah with our image built, in a folder of its own."""
    storage = kept / "images"
    buildah = image.Buildah(storage)
    if buildah("inspect", "--type", "image", image.BASE, check=False).returncode:
        image.make_base(buildah)
    image.build(buildah, debs["amd64"], TAG)
    yield buildah
    buildah("rm", "--all")
    buildah("rmi", TAG)


@pytest.fixture(scope="module")
def root(buildah: image.Buildah, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A container's file system, with a configuration and a recording where a user would mount them."""
    container = buildah("from", "--pull=never", TAG).stdout.strip()
    yield Path(buildah("mount", container).stdout.strip())
    buildah("umount", container)
    buildah("rm", container)


def config(buildah: image.Buildah) -> dict[str, Any]:
    return dict(json.loads(buildah("inspect", "--type", "image", TAG).stdout)["Docker"]["config"])


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


def test_what_the_image_says_of_itself(buildah: image.Buildah):
    said = config(buildah)
    assert said["User"] == "990:990"
    assert said["Entrypoint"] == ["edge-agent"]
    assert said["Cmd"] == ["run", "/etc/wavewall/agent.toml"]
    assert said["Healthcheck"]["Test"][0].startswith("CMD")
    assert "PATH=/opt/wavewall/bin:/usr/bin:/bin" in said["Env"]


def test_it_is_small(buildah: image.Buildah, root: Path):
    packed = subprocess.run(
        f"tar -C {root} --one-file-system -c . | gzip -1 | wc -c",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    unpacked_mb, packed_mb = image.size_mb(buildah, TAG), int(packed.stdout) / 1e6
    print(f"image: {packed_mb:.0f} MB to pull, {unpacked_mb:.0f} MB unpacked")
    assert packed_mb < 200
    assert not list(root.glob("usr/lib/python3*/site-packages/pip")) + list(root.glob("usr/bin/pip*"))


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


def test_the_health_check_tells_a_working_agent_from_a_stuck_one(buildah: image.Buildah, root: Path):
    kind, *words = config(buildah)["Healthcheck"]["Test"]
    check = words[0] if kind == "CMD-SHELL" else " ".join(words)
    script = f"""
        edge-agent run --source mqtt --mqtt-port 1 & agent=$!
        for i in $(seq 300); do [ -e /dev/shm/alive ] && break; sleep 0.1; done
        {check} && echo healthy
        kill -STOP $agent
        touch -d '30 seconds ago' /dev/shm/alive
        {check} || echo stuck
        kill -CONT $agent; kill $agent; wait $agent; echo ended $?
    """
    done = inside(root, script)
    assert done.stdout.split() == ["healthy", "stuck", "ended", "0"], f"{done.stdout}\n{done.stderr}"
