"""A shipped bundle written anew: only what was asked for changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge.bundle import read_bundle
from edge.zoo import resolve_bundle
from trainer.errors import ExportError
from trainer.zoo import card
from trainer.zoo.rewrite import rewrite

NAME = "ecg-rhythm-nano"
SPEED = {"bundle": f"{NAME}@1.0.0", "runtime": "ai_edge_litert", "p50_ms": 0.5, "own": 1}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copy(resolve_bundle(NAME), tmp_path))


def test_nothing_asked_nothing_changed(bundle: Path) -> None:
    before = read_bundle(bundle)
    assert rewrite(bundle).manifest == before.manifest  # which holds the digest of every member


def test_speed_goes_on_the_card_and_the_rest_stays(bundle: Path, tmp_path: Path) -> None:
    before, file = read_bundle(bundle), tmp_path / "speed.json"
    file.write_text(json.dumps({**SPEED, "bundle": before.manifest.ref}))
    assert card.main([str(bundle), "--speed", str(file)]) == 0
    after = read_bundle(bundle)
    assert after.card["model"]["speed"] == {"runtime": "ai_edge_litert", "p50_ms": 0.5}
    assert {k: v for k, v in after.card.items() if k != "model"} == {
        k: v for k, v in before.card.items() if k != "model"
    }
    assert after.model == before.model
    members = [{k: v for k, v in b.manifest.members.items() if k != "card.json"} for b in (before, after)]
    assert members[0] == members[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"bundle": "other@1.0.0"}', "is about other@1.0.0"),
        ("[]", "of `edge-agent bench --json`"),
        ("{", "not the JSON of"),
    ],
)
def test_mistakes_are_told_and_leave_the_bundle(
    content: str, message: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, file = bundle.read_bytes(), tmp_path / "speed.json"
    file.write_text(content)
    assert card.main([str(bundle), "--speed", str(file)]) == 1
    assert message in capsys.readouterr().err
    assert bundle.read_bytes() == before


def test_a_signed_bundle_is_left_alone(bundle: Path) -> None:
    from edge.bundle import write_bundle

    plain = read_bundle(bundle)
    private = bytes(range(32))
    arrays = {"windows": plain.vectors.windows, "valid": plain.vectors.valid, **plain.vectors.outputs}
    steps = {f"step_{name}": step for name, step in plain.vectors.steps.items()}
    write_bundle(bundle, plain.manifest, plain.model, plain.head, {**arrays, **steps}, plain.card, private)
    with pytest.raises(ExportError, match="signed"):
        rewrite(bundle, card={})
