"""`edge-agent calibrate`, and the overlay that the agent reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge.build import load_bundle
from edge.bundle import Decision, read_bundle
from edge.config import BundleSettings
from edge.overlay import OverlayError, fitting_overlay
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import signal
from tests.edge.agent.test_cli import edge_agent
from tests.edge.tiny import RATE_HZ, tiny_bundle


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    tiny_bundle(folder / "tiny.bundle", decision=Decision(suspect_residual=1.0, suspect_disagreement=0.9))
    (folder / "clean").mkdir()
    for at in range(6):
        values = signal(700, seed=at)[:, None].astype(np.float32)
        record = Recording(f"r{at}", RATE_HZ, (Channel("ecg", "uV"),), analog=values)
        write_recording(record, folder / "clean" / f"r{at}.npz")
    return folder


def test_calibrate_sets_thresholds_that_the_agent_uses(place: Path):
    bundle, overlay = place / "tiny.bundle", place / "sensor.json"
    before = bundle.read_bytes()
    words = ["calibrate", "--recordings", place / "clean", "--bundle", bundle, "--false-alarms", "0.05"]
    done = edge_agent(*words, "--out", overlay)
    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout
    assert "on recordings left out" in done.stdout
    assert bundle.read_bytes() == before
    data = json.loads(overlay.read_text())
    assert data["calibration"]["share_before"] == 1.0
    assert data["calibration"]["share_after"] <= 0.05
    loaded, _ = load_bundle(BundleSettings(path=bundle, overlay=overlay))
    assert loaded.manifest.decision.suspect_residual == data["decision"]["suspect_residual"]
    assert loaded.sha256 == read_bundle(bundle).sha256
    replayed = edge_agent(
        "replay", place / "clean" / "r0.npz", "--bundle", bundle, "--json",
        WAVEWALL_BUNDLE_OVERLAY=str(overlay),
    )  # fmt: skip
    statuses = [json.loads(line)["status"] for line in replayed.stdout.splitlines()]
    assert statuses.count("suspect") <= 0.2 * len(statuses)
    plain = edge_agent("replay", place / "clean" / "r0.npz", "--bundle", bundle, "--json")
    assert '"status":"ok"' not in plain.stdout


def test_mistakes_are_one_line(place: Path, tmp_path: Path):
    def says(*words: object) -> str:
        done = edge_agent("calibrate", "--out", tmp_path / "o.json", *words)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]  # the runtime has its own to say before

    clean, bundle = ["--recordings", place / "clean"], ["--bundle", place / "tiny.bundle"]
    assert "no such" in says("--recordings", place / "none", *bundle).lower()
    assert "windows or more" in says(*clean, *bundle, "--false-alarms", "0.0001")
    assert "above 0" in says(*clean, *bundle, "--false-alarms", "1.5")
    assert "neither a reconstruction" in says(*clean, "--bundle", "ecg-undefended")
    assert "cannot be written" in says(*clean, *bundle, "--out", place / "none" / "o.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bundle_sha256": "0" * 64}, "made for"),
        ({"schema": "other"}, "schema"),
        ({"decision": {"suspect_residual": -1}}, "suspect_residual"),
        ({"decision": {"suspect_residual": True}}, "suspect_residual"),
        ({"decision": {"max_missing": 0.1}}, "may hold"),
        ({"decision": []}, "may hold"),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(
    place: Path, tmp_path: Path, change: dict[str, object], says: str
):
    bundle = place / "tiny.bundle"
    good = {
        "schema": "wavewall.overlay/1",
        "bundle": "tiny@1.0.0",
        "bundle_sha256": read_bundle(bundle).sha256,
        "decision": {"suspect_residual": 3.5, "suspect_disagreement": None},
    }
    path = tmp_path / "overlay.json"
    path.write_text(json.dumps(good))
    loaded, _ = load_bundle(BundleSettings(path=bundle, overlay=path))
    decision = loaded.manifest.decision
    assert (decision.suspect_residual, decision.suspect_disagreement, decision.max_missing) == (
        3.5,
        None,
        0.2,
    )
    path.write_text(json.dumps(good | change))
    plain = read_bundle(bundle)
    assert fitting_overlay(plain, path) is plain, "an activated bundle goes on with its own"
    with pytest.raises(OverlayError, match=says):
        load_bundle(BundleSettings(path=bundle, overlay=path))


def test_an_overlay_that_is_no_file(place: Path, tmp_path: Path):
    for text in (None, "{", "[" * 100_000):
        path = tmp_path / "overlay.json"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with pytest.raises(OverlayError):
            load_bundle(BundleSettings(path=place / "tiny.bundle", overlay=path))
