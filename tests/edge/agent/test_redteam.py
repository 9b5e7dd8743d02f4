"""`edge-agent attack`: through the deployed path, by stored waveforms and by what packages offer."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from edge import redteam
from edge.bundle import Decision
from edge.config import EventSettings
from edge.pipeline.golden import load_verified
from edge.zoo import names, waveform_file
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import signal
from tests.edge.agent.test_cli import edge_agent, fails
from tests.edge.tiny import RATE_HZ, tiny_bundle

EVENTS = EventSettings(labels=("normal", "other", "noise"))


def louder(bundle: str, values: np.ndarray, epsilon: float, seed: int) -> np.ndarray:
    """An attack that does not keep to its budget."""
    return values + 100 * epsilon * np.random.default_rng(seed).choice([-1, 1], values.shape).astype(
        np.float32
    )


def broken(bundle: str, values: np.ndarray, epsilon: float, seed: int) -> np.ndarray:
    return values[:-1]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers two attacks and one that cannot be loaded."""
    info = tmp_path / "site" / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    here = __name__ if "." in __name__ else "tests.edge.agent.test_redteam"
    (info / "entry_points.txt").write_text(
        f"[wavewall.attacks]\nlouder = {here}:louder\nbroken = {here}:broken\nabsent = no_such_module:attack\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def recording(name: str = "r1", rate_hz: float = RATE_HZ, unit: str = "uV", seed: int = 3) -> Recording:
    return Recording(name, rate_hz, (Channel("ecg", unit),), analog=signal(700, seed)[:, None])


def test_what_packages_offer_is_played_and_kept_to_its_budget(package: None, tmp_path: Path):
    loaded = load_verified(tiny_bundle(tmp_path / "t.bundle", decision=Decision(suspect_residual=1e9)))
    assert {"louder", "broken"} <= set(redteam.offered(loaded[0]))
    played = [recording(), recording("r2", seed=4)]
    none = redteam.run("louder", *loaded, played, 0.0, events=EVENTS).turned
    assert (none.turned, none.events_turned) == (0, 0)
    assert none.windows == 2 * ((700 - 64) // 16 + 1)
    small = redteam.run("louder", *loaded, played, 1.0, events=EVENTS).turned
    large = redteam.run("louder", *loaded, played, 300.0, events=EVENTS).turned
    assert small.turned < large.turned
    assert large.turned_noticed == 0
    again = redteam.run("louder", *loaded, played, 300.0, events=EVENTS).turned
    assert again == large
    faster = redteam.run("louder", *loaded, [recording(rate_hz=2 * RATE_HZ)], 300.0, events=EVENTS).turned
    assert faster.windows == (350 - 64) // 16 + 1
    watched = load_verified(tiny_bundle(tmp_path / "w.bundle", decision=Decision(suspect_residual=1e-6)))
    assert redteam.run("louder", *watched, played, 300.0, events=EVENTS).turned.turned_noticed == large.turned


def test_attacks_and_recordings_that_cannot_be(package: None, tmp_path: Path):
    loaded = load_verified(tiny_bundle(tmp_path / "t.bundle"))

    def says(name: str = "louder", epsilon: float = 1.0, **more: object) -> str:
        with pytest.raises(redteam.RedTeamError) as caught:
            redteam.run(name, *loaded, [recording(**more)], epsilon, events=EVENTS)
        return str(caught.value)

    assert "did you mean 'louder'" in says("loder")
    assert "cannot be loaded" in says("absent")
    assert "another shape" in says("broken")
    assert "epsilon" in says(epsilon=-1.0)
    assert "epsilon" in says(epsilon=float("nan"))
    assert "unit" in says(unit="K")


def test_the_trainers_attacks_are_declared():
    import importlib

    declared = {entry.name: entry.value for entry in metadata.entry_points(group=redteam.GROUP)}
    assert {"fgsm", "pgd", "sap"} <= set(declared)
    for name in ("fgsm", "noise", "pgd", "sap"):
        module, _, attribute = declared[name].partition(":")
        assert module == "trainer.attacks.entry"
        assert attribute == name
    assert importlib.util.find_spec("trainer.attacks.entry") is not None


@pytest.mark.parametrize("name", [n for n in names() if n.startswith("ecg")])
def test_stored_waveforms_belong_to_their_bundles(name: str):
    path = waveform_file(name)
    assert path is not None
    assert path.stat().st_size < 32_000
    from edge.bundle import read_bundle, resolve_bundle

    attack = redteam.open_attack("universal", read_bundle(resolve_bundle(name)))
    still = np.zeros((20_000, 1), np.float32)
    moved = attack("", still, 10.0, 0)
    assert np.abs(moved).max() == pytest.approx(10.0)
    assert not np.array_equal(moved, attack("", still, 10.0, 1))


@pytest.mark.slow
def test_the_command(tmp_path: Path):
    for at in range(3):
        values = (1000 * np.sin(np.arange(12_000) / 40 + at))[:, None].astype(np.float32)
        record = Recording(f"r{at}", 300.0, (Channel("ecg", "uV"),), analog=values)
        write_recording(record, tmp_path / f"r{at}.npz")
    done = edge_agent("attack", tmp_path, "--bundle", "ecg-rhythm", "--join")
    assert done.returncode == 0, done.stderr
    assert "1 stream(s), 2.0 minutes, 10 windows" in done.stdout
    assert "universal of 10 uV: verdicts turned" in done.stdout
    words = ["attack", tmp_path, "--bundle", "ecg-undefended", "--epsilon", "50", "--json", "--labels", "af"]
    (row,) = json.loads(edge_agent(*words, "--record", "r1").stdout)["rows"]
    assert (row["attack"], row["epsilon"], row["windows"]) == ("universal", 50.0, 2)
    fails(edge_agent(*words[:4], "--labels", "aff"), 2, "no label 'aff'; did you mean 'af'")
    fails(edge_agent(*words[:4], "--attacks", "none"), 1, "no attack is called 'none'")
    fails(edge_agent(*words[:4], "--record", "r9"), 1, "r9")
