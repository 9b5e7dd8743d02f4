"""Runtime, classifier, golden vectors and the Model that edge.load gives, on the tiny models."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge
from edge.bundle import Bundle, Decision, InputSpec, OutputSpec, read_bundle, signing, write_bundle
from edge.errors import BundleError, EdgeError, RuntimeMissingError
from edge.pipeline import Classifier, Model, load_verified
from edge.pipeline import runtime as runtime_module
from edge.pipeline.golden import EXPLAIN_STEPS, check_vectors
from edge.pipeline.runtime import load_interpreter, runtime_name
from edge.types import Window
from tests.edge.tiny import KINDS, WINDOW, tiny_bundle, tiny_manifest, tiny_model, tiny_outputs, tiny_parts


def window_of(values: np.ndarray, valid: np.ndarray | None = None, **changes: Any) -> Window:
    valid = np.ones(len(values), bool) if valid is None else valid
    return replace(Window("s", "e", 0, 0.0, 100.0, values.astype(np.float32), valid), **changes)


@pytest.fixture(scope="module", params=KINDS)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return read_bundle(tiny_bundle(tmp_path_factory.mktemp("b") / "tiny.bundle", request.param))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(1).normal(500, 90, (WINDOW, 1)).astype(np.float32)


# Classifier ---------------------------------------------------------------------------------------------------


def test_scores(bundle: Bundle, noise: np.ndarray) -> None:
    scores = Classifier(bundle).classify(window_of(noise))
    assert scores.probabilities.shape == (3,)
    assert scores.probabilities.dtype == np.float32
    assert scores.probabilities.sum() == pytest.approx(1.0, abs=0.02)
    assert scores.probabilities_raw is not None
    assert scores.reconstruction is not None
    assert scores.reconstruction.shape == (WINDOW, 1)
    assert scores.embedding is None
    assert scores.features is None
    assert scores.latency_ms > 0
    x = noise - noise.mean()
    assert scores.residual == pytest.approx(np.sqrt(np.mean((scores.reconstruction - x) ** 2)), rel=1e-5)
    assert scores.disagreement == pytest.approx(
        np.abs(scores.probabilities - scores.probabilities_raw).sum() / 2, abs=1e-6
    )


def test_explain_fetches_the_rest(bundle: Bundle, noise: np.ndarray) -> None:
    classifier = Classifier(bundle)
    plain, explained = (
        classifier.classify(window_of(noise)),
        classifier.classify(window_of(noise), explain=True),
    )
    assert explained.embedding is not None
    assert explained.features is not None
    assert (explained.embedding.shape, explained.features.shape) == ((4,), (16, 4))
    assert explained.embedding.dtype == explained.features.dtype == np.float32
    np.testing.assert_allclose(explained.features.mean(axis=0), explained.embedding, atol=0.02)
    assert np.array_equal(plain.probabilities, explained.probabilities)


def test_integer_outputs_are_dequantised(tmp_path: Path, noise: np.ndarray) -> None:
    path = tiny_bundle(tmp_path / "x.bundle", "tiny-int8out")
    classifier = Classifier(read_bundle(path))
    assert classifier.steps["probabilities"] == pytest.approx(1 / 256)
    probabilities = classifier.classify(window_of(noise)).probabilities
    assert np.array_equal(probabilities * 256, np.round(probabilities * 256))
    assert Classifier(read_bundle(tiny_bundle(tmp_path / "y.bundle"))).steps["probabilities"] == 0.0


def test_same_window_same_bits_whatever_came_before(bundle: Bundle, noise: np.ndarray) -> None:
    used, fresh = Classifier(bundle), Classifier(bundle, threads=2)
    used.classify(window_of(noise * -3))
    first, second = used.classify(window_of(noise)), fresh.classify(window_of(noise))
    assert np.array_equal(first.probabilities, second.probabilities)
    assert first.residual == second.residual


def test_scores_own_their_memory(bundle: Bundle, noise: np.ndarray) -> None:
    classifier = Classifier(bundle)
    scores = classifier.classify(window_of(noise))
    kept = scores.reconstruction
    assert kept is not None
    before = kept.copy()
    classifier.classify(window_of(noise * -3))
    assert np.array_equal(kept, before)


def test_invalid_samples_count_for_nothing(bundle: Bundle, noise: np.ndarray) -> None:
    valid = np.ones(WINDOW, bool)
    valid[10:30] = False
    other = noise.copy()
    other[10:30] = 1e6
    classifier = Classifier(bundle)
    one, two = classifier.classify(window_of(noise, valid)), classifier.classify(window_of(other, valid))
    assert np.array_equal(one.probabilities, two.probabilities)
    assert one.residual == two.residual
    nothing = classifier.classify(window_of(noise, np.zeros(WINDOW, bool)))
    assert nothing.residual == 0.0


def test_run_gives_every_output(bundle: Bundle) -> None:
    got = Classifier(bundle).run(np.zeros((1, WINDOW, 1), np.float32))
    assert {name: value.shape for name, value in got.items()} == {
        name: output.shape for name, output in bundle.manifest.outputs.items()
    }


def test_windows_of_another_shape(bundle: Bundle) -> None:
    classifier = Classifier(bundle)
    for bad in (
        window_of(np.zeros((63, 1))),
        window_of(np.zeros((64, 2))),
        window_of(np.zeros((64, 1)), np.ones(63, bool)),
    ):
        with pytest.raises(BundleError, match=r"tiny@1\.0\.0 takes \(64, 1\)"):
            classifier.classify(bad)
    with pytest.raises(BundleError, match="model input has shape"):
        classifier.run(np.zeros((2, WINDOW, 1), np.float32))


def test_a_bundle_with_probabilities_alone(tmp_path: Path, noise: np.ndarray) -> None:
    parts = tiny_parts()
    keep = {"windows", "valid", "probabilities", "step_probabilities"}
    parts["manifest"] = tiny_manifest(outputs={"probabilities": tiny_manifest().outputs["probabilities"]})
    parts["vectors"] = {name: array for name, array in parts["vectors"].items() if name in keep}
    write_bundle(tmp_path / "x.bundle", **parts)
    _, classifier = load_verified(tmp_path / "x.bundle")
    scores = classifier.classify(window_of(noise), explain=True)
    assert (scores.residual, scores.disagreement, scores.reconstruction) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"input": InputSpec(("ecg",), "uV", 100.0, 65, 16)},
            r"input shape is \(1, 64, 1\), the manifest's window needs \(1, 65, 1\)",
        ),
        (
            {"outputs": {"probabilities": OutputSpec(9, (1, 3))}},
            "has 5 outputs, the manifest wants 'probabilities'",
        ),
        (
            {"outputs": {"probabilities": OutputSpec(0, (1, 3))}},
            r"output 'probabilities' has shape \(1, 16, 4\)",
        ),
        (
            {"labels": ("a", "b"), "outputs": {"probabilities": OutputSpec(3, (1, 2))}},
            r"has shape \(1, 3\), the manifest says \(1, 2\)",
        ),
    ],
)
def test_model_against_manifest(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    manifest = tiny_manifest(**changes)
    vectors: dict[str, np.ndarray] = {
        "windows": np.zeros((1, *manifest.window_shape), np.float32),
        "valid": np.ones((1, manifest.input.window_samples), bool),
    }
    vectors |= {name: np.zeros((1, *out.shape[1:]), np.float32) for name, out in manifest.outputs.items()}
    if "input" in changes:
        manifest = replace(manifest, outputs={"probabilities": manifest.outputs["probabilities"]})
        vectors = {name: vectors[name] for name in ("windows", "valid", "probabilities")}
    path = tmp_path / "x.bundle"
    write_bundle(path, manifest, tiny_model(), None, vectors, {})
    with pytest.raises(BundleError, match=match) as caught:
        load_verified(path)
    assert caught.value.member == "model.tflite"
    assert str(path) in str(caught.value)


# Golden vectors -----------------------------------------------------------------------------------------------


def test_golden_vectors_hold(bundle: Bundle) -> None:
    check_vectors(bundle, Classifier(bundle))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", list(tiny_outputs()))
def test_one_step_is_let_through_and_more_is_not(kind: str, output: str, tmp_path: Path) -> None:
    parts = tiny_parts(kind)
    step = tiny_outputs(kind)[output]["step"] * EXPLAIN_STEPS.get(output, 1) or 1e-4 * max(
        1.0, np.abs(parts["vectors"][output][1]).max()
    )
    path = tmp_path / "x.bundle"
    good = parts["vectors"][output]
    for share, passes in ((0.95, True), (-0.95, True), (1.1, False), (-1.1, False)):
        changed = good.copy()
        changed[1].flat[-1] += share * step
        write_bundle(path, **{**parts, "vectors": {**parts["vectors"], output: changed}})
        if passes:
            load_verified(path)
            continue
        with pytest.raises(
            BundleError, match=rf"golden window 1 gives '{output}' off by .*int8 step"
        ) as caught:
            load_verified(path)
        assert caught.value.member == "vectors.npz"


def test_an_int8_output_may_differ_by_exactly_one_step(tmp_path: Path) -> None:
    parts = tiny_parts("tiny-int8out")
    parts["vectors"]["probabilities"] = parts["vectors"]["probabilities"] + np.float32(1 / 256)
    write_bundle(tmp_path / "x.bundle", **parts)
    load_verified(tmp_path / "x.bundle")


# edge.load ----------------------------------------------------------------------------------------------------


def test_load(tmp_path: Path, noise: np.ndarray) -> None:
    key = bytes(range(32))
    path = tiny_bundle(tmp_path / "tiny.bundle", signing_key=key)
    model = edge.load(path, trusted_key=signing.public_key(key))
    assert isinstance(model, Model)
    assert model.bundle.verified
    verdict = model.classify(noise)
    assert verdict == model.classify(window_of(noise))
    assert verdict == model.classify(noise[:, 0])
    assert verdict.label in model.manifest.labels
    assert model.scores(noise, explain=True).features is not None
    with pytest.raises(BundleError, match="not the trusted key's"):
        edge.load(path, trusted_key=bytes(32))
    with pytest.raises(BundleError, match="no bundle is called"):
        edge.load("no-such-name")


def test_short_arrays_are_padded_as_records_are(tmp_path: Path, noise: np.ndarray) -> None:
    model = edge.load(tiny_bundle(tmp_path / "tiny.bundle"))
    short = noise[:41, 0].copy()
    short[3] = np.nan
    window = model.window(short)
    assert (window.padded, window.missing) == (23, 1)
    assert np.flatnonzero(window.valid).tolist() == [i for i in range(11, 52) if i != 14]
    assert window.values[11, 0] == short[0]
    assert window.values[14, 0] == 0
    assert model.classify(short).status == "ok"


@pytest.mark.parametrize("shape", [(0,), (65,), (64, 2), (1, 64, 1), ()])
def test_arrays_that_do_not_fit(shape: tuple[int, ...], tmp_path: Path) -> None:
    model = edge.load(tiny_bundle(tmp_path / "tiny.bundle"))
    with pytest.raises(BundleError, match="give 1 to 64 samples of 1 channel"):
        model.classify(np.zeros(shape))


def test_thresholds_are_the_bundles(tmp_path: Path, noise: np.ndarray) -> None:
    path = tiny_bundle(tmp_path / "x.bundle", decision=Decision(0.2, suspect_residual=0.001))
    assert edge.load(path).classify(noise).reason == "residual"


# Runtime ------------------------------------------------------------------------------------------------------


def test_a_model_that_the_runtime_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not with damaged bytes: the hash catches those, and tflite-runtime dies of some instead of refusing.
    def refuse(**options: Any) -> None:
        raise ValueError("Didn't find op for builtin opcode 'CONV_2D'\n version '9'.")

    module = types.ModuleType("ai_edge_litert.interpreter")
    module.Interpreter = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    with pytest.raises(
        BundleError, match=r"ai_edge_litert cannot load it \(Didn't find op .* version '9'\.\)"
    ):
        load_interpreter(tiny_model())


def test_litert_comes_first_then_tflite_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    new = types.ModuleType("ai_edge_litert.interpreter")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", new)
    assert runtime_name() == "ai_edge_litert"
    old = types.ModuleType("tflite_runtime.interpreter")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", old)
    monkeypatch.setattr(runtime_module.np, "__version__", "1.26.4")
    assert runtime_name() == "tflite_runtime"
    monkeypatch.setattr(runtime_module.np, "__version__", "2.1.0")
    with pytest.raises(
        RuntimeMissingError, match=r"needs numpy below 2, here is 2\.1\.0: pip install 'numpy<2'"
    ):
        runtime_name()


def test_no_runtime_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeMissingError, match=r"no TFLite runtime: .*install ai-edge-litert") as caught:
        load_interpreter(tiny_model())
    assert isinstance(caught.value, EdgeError)


def test_imports_stay_light() -> None:
    code = (
        "import sys, edge, edge.bundle, edge.pipeline, edge.zoo, edge.schemas\n"
        "heavy = ('paho', 'serial', 'ai_edge_litert', 'tflite_runtime', 'scipy', 'tensorflow', 'keras', 'trainer',\n"
        "         'firmware_bridge', 'pydantic', 'typer', 'cryptography')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_test_models_are_the_committed_ones() -> None:
    # make_tiny_model.py writes both files of a kind at once: a hand-changed one would test nothing.
    for kind in KINDS:
        content = tiny_model(kind)
        assert content[4:8] == b"TFL3"
        assert len(content) < 16_000
        details = load_interpreter(content).get_output_details()
        for output in tiny_outputs(kind).values():
            assert details[output["index"]]["shape"].tolist() == output["shape"]
    assert len({hashlib.sha256(tiny_model(kind)).digest() for kind in KINDS}) == len(KINDS)
