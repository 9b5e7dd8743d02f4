"""The model folder: what is installed, what is active, and a power cut at any instant of an install."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import signing
from edge.errors import BundleError
from edge.models.folder import ACTIVE, PREVIOUS, ModelError, ModelFolder
from tests.edge.models.parts import bundle

pytestmark = pytest.mark.update


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models")


def install(folder: ModelFolder, path: Path, **more: object) -> str:
    return folder.install(path.read_bytes(), trusted_key=None, keep=3, **more)


def test_bundles_lie_side_by_side_and_the_oldest_idle_one_goes(folder: ModelFolder, tmp_path: Path):
    names = []
    for at in range(5):
        names.append(install(folder, bundle(tmp_path / "b.bundle", f"{at}.0.0", turned=None)))
        os.utime(folder.path / names[-1], (at, at))
        if at == 0:
            folder.point(ACTIVE, names[0])
    kept = [one.file for one in folder.installed()]
    assert names[0] in kept, "the active one was thrown away"
    assert names[4] in kept
    assert len(kept) == 1 + 3, "three beside the active one"
    assert folder.find("tiny@4.0.0") == folder.find(names[4].rpartition("-")[2][:12]) == names[4]


def test_installing_twice_changes_nothing(folder: ModelFolder, tmp_path: Path):
    path = bundle(tmp_path / "b.bundle", turned=None)
    assert install(folder, path) == install(folder, path)
    assert len(folder.installed()) == 1


def test_names_that_are_not_there_or_not_clear(folder: ModelFolder, tmp_path: Path):
    with pytest.raises(ModelError, match="installed are: none"):
        folder.find("tiny")
    install(folder, bundle(tmp_path / "a.bundle", "1.0.0", turned=None))
    install(folder, bundle(tmp_path / "b.bundle", "2.0.0", turned=None))
    with pytest.raises(ModelError, match="give the beginning of its hash"):
        folder.find("tiny")
    assert folder.find("tiny@2.0.0").startswith("tiny@2.0.0-")


def test_a_wrong_signature_leaves_nothing_behind(folder: ModelFolder, tmp_path: Path):
    public = signing.generate_keys(tmp_path / "key")
    other = os.urandom(32)
    for path in (
        bundle(tmp_path / "unsigned.bundle", turned=None),
        bundle(tmp_path / "other.bundle", turned=None, signing_key=other),
    ):
        with pytest.raises(BundleError, match="signature"):
            folder.install(path.read_bytes(), trusted_key=public, keep=3)
    assert folder.installed() == []
    good = bundle(tmp_path / "good.bundle", turned=None, signing_key=signing.load_private_key(tmp_path / "key"))
    assert folder.install(good.read_bytes(), trusted_key=public, keep=3)


def test_links_to_anything_else_do_not_count(folder: ModelFolder, tmp_path: Path):
    name = install(folder, bundle(tmp_path / "b.bundle", turned=None))
    (tmp_path / "evil.bundle").write_bytes(b"x")
    for target in ("../evil.bundle", str(tmp_path / "evil.bundle"), "gone.bundle"):
        (folder.path / ACTIVE).unlink(missing_ok=True)
        (folder.path / ACTIVE).symlink_to(target)
        assert folder.target(ACTIVE) is None
    folder.point(ACTIVE, name)
    folder.point(PREVIOUS, name)
    assert folder.target(ACTIVE) == folder.target(PREVIOUS) == name
    folder.unpoint(PREVIOUS)
    assert folder.target(PREVIOUS) is None


def cut_after(steps: int, folder: ModelFolder, path: Path) -> bool:
    """Install and activate in another process that ends at its `steps`th system call; whether it got through."""
    pid = os.fork()
    if pid == 0:
        calls = 0

        def counted(real: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == steps:
                    os._exit(9)  # no handler, no flush: as when the power goes
                return real(*args, **kwargs)

            return call

        try:
            for name in ("fsync", "replace", "open", "close", "unlink", "symlink"):
                setattr(os, name, counted(getattr(os, name)))
            name = install(folder, path)
            folder.put_state({"trial": {"file": name}})
            folder.point(ACTIVE, name)
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9)
    return code == 0


def test_a_power_cut_at_any_step_leaves_the_old_one_or_the_new_one(folder: ModelFolder, tmp_path: Path):
    old = install(folder, bundle(tmp_path / "a.bundle", "1.0.0", turned=None))
    folder.point(ACTIVE, old)
    new_path = bundle(tmp_path / "b.bundle", "2.0.0", turned=None)
    cuts, done = 0, False
    for after in range(1, 40):
        done = cut_after(after, folder, new_path)
        cuts += not done
        folder.sweep()
        active = folder.target(ACTIVE)
        assert active is not None
        # Whatever is there is whole: it installs again as the same file, from its own bytes.
        for one in folder.installed():
            assert folder.install((folder.path / one.file).read_bytes(), trusted_key=None, keep=9) == one.file
        assert not list(folder.path.glob(".part-*"))
        assert active == old or active.startswith("tiny@2.0.0-")
        if done:
            break
        # The cut itself may come at every step again only from the same beginning.
        folder.point(ACTIVE, old)
        for one in folder.installed():
            if one.file != old:
                (folder.path / one.file).unlink()
    assert done, "the installation never came to its end"
    assert cuts >= 5, "the cut never hit"
    assert folder.target(ACTIVE) != old
