"""Export: the graph computes what was trained, int8 keeps it, and the front end stays in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edge.bundle import read_bundle, signing
from edge.pipeline.golden import load_verified
from tests.trainer.training.test_run import RECIPE, parts
from trainer import tflite
from trainer.data.base import DataSpec
from trainer.errors import ExportError
from trainer.evaluate.subject import check_twin, open_subject
from trainer.export import golden, graph, quantize, slim
from trainer.export.calibrate import Calibration, calibrate, operating_points
from trainer.export.pack import export_run, read_run, thresholds
from trainer.export.parity import Parity
from trainer.models import compact, encode_decode, resnet
from trainer.models.rhythm import NAMES
from trainer.models.wrap import AttackModel
from trainer.run import train

SPEC = DataSpec("toy", ("a", "b", "c"), "uV", 100.0, 200)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "recipe.toml").write_text(RECIPE.replace("epochs = 4", "epochs = 12") + "max_drop = 0.5\n")
    return train(folder / "recipe.toml", "", folder / "run", parts=parts())


@pytest.mark.parametrize("model", ["compact", "resnet", "trees"])
@pytest.mark.parametrize("defended", [True, False])
def test_the_graph_computes_what_was_trained(model: str, defended: bool) -> None:
    trees = {"trees": 3, "beats": 24} if model == "trees" else {}
    classifier = (
        resnet.build(SPEC, width=4) if model == "resnet" else compact.build(SPEC, stem=4, widths=(4, 6), **trees)
    )
    if trees:
        forest, rng = classifier.get_layer("forest"), np.random.default_rng(1)
        forest.feature.assign(rng.integers(0, len(NAMES), forest.feature.shape))
        forest.leaf.assign(rng.normal(size=forest.leaf.shape))
    front = encode_decode.build(SPEC, levels=8, width=4, kernel=5, stride=5) if defended else None
    x = np.round(np.random.default_rng(0).normal(0, 300, (1, 200, 1))).astype(np.float32)
    out = graph.build(classifier, front, 1.0)(x)
    if front is None:
        logits = classifier(x)
        assert set(out) == {"probabilities", "embedding", "features"}
    else:
        logits, reconstruction = encode_decode.join(front, classifier)(x)
        assert np.allclose(out["reconstruction"], reconstruction, atol=1e-2)
        if not trees:  # where the raw path takes the other's votes
            assert np.allclose(out["probabilities_raw"], keras.ops.softmax(classifier(x)), atol=1e-4)
    assert np.allclose(out["probabilities"], keras.ops.softmax(logits), atol=1e-4)


def test_beats_and_trees_stay_float_in_int8() -> None:
    """Places as int8 would be others: whatever sorts, picks or compares reads and writes float32."""
    classifier = compact.build(SPEC, stem=4, widths=(4, 6), trees=3, beats=24)
    built = graph.build(classifier, encode_decode.build(SPEC, levels=8, width=4, kernel=5, stride=5), 1.0)
    windows = np.random.default_rng(0).normal(0, 300, (8, 200, 1)).astype(np.float32)
    parsed = tflite.unpack(quantize.convert(built, "int8", windows))
    codes, kinds = tflite.schema().BuiltinOperator, tflite.schema().TensorType
    float_only = {codes.TOPK_V2, codes.GATHER, codes.GREATER, codes.MAX_POOL_2D, codes.AVERAGE_POOL_2D}
    seen, tensors = set(), parsed.subgraphs[0].tensors
    for node in parsed.subgraphs[0].operators:
        found = parsed.operatorCodes[node.opcodeIndex]
        code = max(found.builtinCode, found.deprecatedBuiltinCode)
        if code in float_only:
            seen.add(code)
            assert all(tensors[at].type != kinds.INT8 for at in (*node.inputs, *node.outputs))
    assert seen == float_only
    assert any(t.type == kinds.INT8 for t in tensors)  # the net itself is int8


def test_equal_vectors_are_written_once() -> None:
    built = graph.build(compact.build(SPEC, stem=4, widths=(4, 6)), None, 1.0)
    windows = np.random.default_rng(0).normal(0, 300, (8, 200, 1)).astype(np.float32)
    whole = quantize.convert(built, "int8", windows)
    packed = tflite.pack(tflite.unpack(whole))
    assert len(packed) < len(whole)
    before, after = (tflite.unpack(m).subgraphs[0].tensors for m in (whole, packed))
    for a, b in zip(before, after, strict=True):
        assert list(a.shape) == list(b.shape)
        for key in ("scale", "zeroPoint") if a.quantization is not None else ():
            one, other = getattr(a.quantization, key), getattr(b.quantization, key)
            np.testing.assert_array_equal([] if one is None else one, [] if other is None else other)


def test_coarse_and_fine_lose_nothing_within_their_range() -> None:
    x = np.array([-4096, -4095, -33, -32, -1, 0, 1, 31, 32, 4095], np.float32).reshape(1, -1, 1)
    split = np.asarray(graph.CoarseFine(1.0)(x))
    assert np.array_equal(split[..., :1] * 32 + split[..., 1:], x)
    assert split[..., 0].min() >= -128
    assert split[..., 0].max() <= 127
    assert split[..., 1].min() >= 0
    assert split[..., 1].max() < 32
    assert np.array_equal(np.round(split), split)
    beyond = np.asarray(graph.CoarseFine(1.0)(np.array([[[9e9], [-9e9]]], np.float32)))
    assert np.array_equal(beyond[0] @ [32, 1], [4095, -4096])


def test_the_front_end_stays_float_and_the_rest_is_int8() -> None:
    from ai_edge_litert.interpreter import Interpreter

    classifier = compact.build(SPEC, stem=4, widths=(4, 6))
    front = encode_decode.build(SPEC, levels=8, width=4, kernel=5, stride=5)
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(0, 300, (20, 200, 1))).astype(np.float32)
    model = quantize.convert(graph.build(classifier, front, 1.0), "int8", x)
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_tensor_details()
    split = [t for t in details if tuple(t["shape"]) == (1, 200, 2)]
    assert {np.dtype(t["dtype"]).name for t in split} == {"float32", "int8"}
    scale, zero = next(t["quantization"] for t in split if t["dtype"] == np.int8)
    assert (scale, zero) == (1.0, 0)  # whole microvolts reach int8 unrounded
    compared = [t for t in details if tuple(t["shape"]) == (1, 200, 8) and t["dtype"] == np.bool_]
    assert len(compared) == 1
    int8 = [t for t in details if t["dtype"] == np.int8]
    assert len(int8) > 20
    assert interpreter.get_input_details()[0]["dtype"] == np.float32


def test_names_go_and_answers_stay_and_ranges_hold_what_was_seen() -> None:
    from ai_edge_litert.interpreter import Interpreter

    classifier = compact.build(SPEC, stem=4, widths=(4, 6))
    front = encode_decode.build(SPEC, levels=8, width=4, kernel=5, stride=5)
    x = np.round(np.random.default_rng(0).normal(0, 300, (20, 200, 1))).astype(np.float32)
    named = quantize.convert(graph.build(classifier, front, 1.0), "int8", x)
    short = slim.slim(named)
    assert len(short) < 0.92 * len(named)
    kept = tflite.unpack(short)
    graph_ = kept.subgraphs[0]
    outer = {int(i) for i in (*graph_.inputs, *graph_.outputs)}
    assert all(bool(tensor.name) == (at in outer) for at, tensor in enumerate(graph_.tensors))
    assert sum(buffer.data is None or not len(buffer.data) for buffer in kept.buffers) == 1
    answers = []
    for model in (named, short):
        interpreter = Interpreter(model_content=model, num_threads=1)
        signature = interpreter.get_signature_runner()
        answers.append({name: np.array(value) for name, value in signature(window=x[:1]).items()})
    for name, value in answers[0].items():
        np.testing.assert_array_equal(value, answers[1][name])
    ranges = slim.ranges(named)
    (split,) = [r for r in ranges if r["shape"] == [1, 200, 2]]
    assert (split["low"], split["high"], split["step"], split["channels"]) == (-128.0, 127.0, 1.0, 1)
    (decoded,) = [r for r in ranges if r["shape"] == [1, 200, 1] and r["channels"] == 1]
    seen = answers[0]["reconstruction"]
    assert decoded["low"] <= seen.min()
    assert seen.max() <= decoded["high"]
    assert max(r["channels"] for r in ranges) == 6  # weights have a step for each channel
    assert all(r["name"] for r in ranges)


@pytest.mark.parametrize("mode", quantize.MODES)
def test_every_mode_packs_and_verifies(run: Path, tmp_path: Path, mode: str) -> None:
    out = tmp_path / "toy.bundle"
    exported = export_run(run, out, mode=mode, parts=parts())
    bundle, classifier = load_verified(out)
    assert bundle.manifest.quantization == mode
    assert set(bundle.manifest.outputs) == {
        "probabilities",
        "probabilities_raw",
        "reconstruction",
        "embedding",
        "features",
    }
    assert bundle.head is not None
    assert bundle.head["kernel"].shape[1] == 2
    assert bundle.card["validation"]["float"]["n"] == 12
    assert exported.parity.agreement >= 0.8
    assert bundle.manifest.thermometer is not None
    assert len(bundle.manifest.thermometer.thresholds) == 8
    x = parts()[1].windows().x[:1]
    answer = classifier.run(x)
    assert bool(exported.ranges) == (mode == "int8")
    assert np.isclose(answer["probabilities"].sum(), 1.0, atol=1e-3)


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_run(run, tmp_path / name, parts=parts())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_signed(run: Path, tmp_path: Path) -> None:
    public = signing.generate_keys(tmp_path / "key.pem")
    export_run(
        run, tmp_path / "s.bundle", parts=parts(), signing_key=signing.load_private_key(tmp_path / "key.pem")
    )
    assert read_bundle(tmp_path / "s.bundle", trusted_key=public).verified


def test_a_drop_above_the_recipes_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = Parity(100, 90, 30, 0.4, np.zeros(0), np.zeros(0))
    monkeypatch.setattr("trainer.export.pack.compare", lambda *_: worse)
    with pytest.raises(ExportError, match=r"falls from 0\.900 to 0\.300"):
        export_run(run, tmp_path / "x.bundle", parts=parts())
    assert not (tmp_path / "x.bundle").exists()


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no recipe\.toml"):
        export_run(tmp_path, tmp_path / "x.bundle")


def test_thresholds_keep_the_false_alarms() -> None:
    rng = np.random.default_rng(0)
    parity = Parity(1000, 900, 900, 1.0, rng.normal(10, 1, 1000), rng.random(1000))
    decision = thresholds(parity, 0.02)
    assert decision.suspect_residual is not None
    assert decision.suspect_disagreement is not None
    alarms = (parity.residuals > decision.suspect_residual) | (
        parity.disagreements > decision.suspect_disagreement
    )
    assert alarms.mean() <= 0.02
    assert alarms.mean() > 0.005
    assert decision.abstain_score is None


def test_golden_windows_are_those_on_which_kernels_agree() -> None:
    valid = np.ones((12, 5), bool)
    valid[3::4, 0] = False
    fast = {"probabilities": np.zeros((12, 2), np.float32)}
    slow = {"probabilities": np.zeros((12, 2), np.float32)}
    slow["probabilities"][[0, 3]] = 0.9  # more than half a step apart
    chosen = golden.choose(fast, slow, {"probabilities": 1.0}, valid)
    assert list(chosen) == [1, 2, 4, 7]
    slow["probabilities"][:] = 0.9
    with pytest.raises(ExportError, match="only 0 of 12"):
        golden.choose(fast, slow, {"probabilities": 1.0}, valid)


@pytest.mark.parametrize("units", ["uV", "1"])
def test_golden_windows_are_synthetic_and_fixed(units: str) -> None:
    spec = DataSpec("toy", ("a", "b"), units, 300.0, 900)
    x, valid = golden.windows(spec)
    again, _ = golden.windows(spec)
    assert np.array_equal(x, again)
    assert x.shape == (golden.CANDIDATES, 900, 1)
    assert not valid[3].all()
    assert valid[0].all()
    assert np.all(x[~valid] == 0)
    assert x.std() > 0.1


def test_few_answers_are_withheld_and_the_card_says_how_many() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random(400)
    parity = Parity(400, 390, 390, 1.0, rng.random(400), np.zeros(0), {"file": scores}, {"file": scores > 0.1})
    decision = thresholds(parity, 0.04, 0.05)
    assert decision.suspect_disagreement is None
    points = operating_points(parity, decision, 0.04, 0.05)
    suspect = parity.residuals > decision.suspect_residual
    withheld = ~suspect & (scores < decision.abstain_score)
    assert points["suspect"]["clean"]["count"] == suspect.sum() > 0
    assert 0 < points["abstain"]["clean"]["count"] == withheld.sum() <= 0.05 * 400
    assert points["abstain"]["limits"] == {"score": decision.abstain_score}
    assert points["abstain"]["clean"]["low"] < withheld.mean() < points["abstain"]["clean"]["high"]


def test_a_temperature_needs_wrong_answers_to_fit() -> None:
    rng = np.random.default_rng(2)
    logits, y = rng.normal(0, 8, (300, 3)), rng.integers(0, 3, 300)
    found = calibrate(logits, y)
    assert found.fitted
    assert found.temperature > 2
    assert found.loss_after < found.loss_before
    right = calibrate(logits, logits.argmax(1))
    assert (right.temperature, right.fitted) == (1.0, False)


def test_file_and_twin_share_the_temperature(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heat = Calibration(4.0, True, 12, 1.0, 0.9)
    monkeypatch.setattr("trainer.export.pack.calibrate", lambda *_: heat)
    warm = export_run(run, run / "warm.bundle", parts=parts()).bundle
    assert warm.card["calibration"]["temperature"] == 4.0
    subject = open_subject(str(run / "warm.bundle"))
    check_twin(subject.twin, warm, run)
    kernel, _ = read_run(run).classifier.get_layer("logits").get_weights()
    assert warm.head is not None
    assert np.allclose(warm.head["kernel"] * 4.0, kernel)
    x = warm.vectors.windows
    cold = AttackModel(read_run(run).twin, subject.steps).predict(x)
    assert np.allclose(subject.twin.predict(x) * 4.0, cold, atol=1e-4)


def test_the_card_holds_what_was_measured_of_this_bundle(run: Path, tmp_path: Path) -> None:
    row = {"target": "int8", "attack": "pgd", "epsilon": 0.1}
    evaluation: dict[str, Any] = {"model": "toy@1.0.0", "data": "toy/val", "seed": 0, "rows": [row]}
    speed = {"bundle": "toy@1.0.0", "cpu": "a board", "p50_ms": 0.5, "streams": 9}
    curve = {"attacker": "aware", "points": [[1, 1]], "auc": 0.7}
    detector = {"bundles": [{"bundle": "toy@1.0.0", "detector": [curve]}]}
    out = tmp_path / "toy.bundle"
    card = export_run(run, out, parts=parts(), evaluation=evaluation, speed=speed, detector=detector).bundle.card
    assert card["evaluation"] == evaluation
    assert card["model"]["speed"] == {"cpu": "a board", "p50_ms": 0.5}
    assert card["detector"] == [{"attacker": "aware", "auc": 0.7}]
    assert card["made_with"].startswith("wavewall ")
    assert set(card["calibration"]["error"]) == {"float", "file"}
    assert card["decision"]["suspect"]["clean"]["n"] == card["validation"]["file"]["n"]
    assert "`standard`, has not been run" in card["limits"]
    assert "Fewer than 30 validation windows" in card["limits"]
    for wrong in (
        {"evaluation": {**evaluation, "model": "toy@2.0.0"}},
        {"speed": {**speed, "bundle": "other@1.0.0"}},
        {"detector": {"bundles": []}},
    ):
        with pytest.raises(ExportError, match=r"toy@1\.0\.0"):
            export_run(run, out, parts=parts(), **wrong)
