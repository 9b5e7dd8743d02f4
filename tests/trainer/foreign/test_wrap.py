"""Somebody's own classifier becomes a bundle, and what is no such classifier is refused before anything in it runs."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import edge
from edge.pipeline.golden import load_verified
from tests.trainer.commands import trainer
from trainer.errors import ExportError, TrainerError
from trainer.foreign import keras_model, tflite_graph, windows
from trainer.foreign.spec import WindowFile, read_window_file
from trainer.foreign.wrap import wrap

N, RATE = 96, 48.0
SPEC = {"name": "own", "labels": ("slow", "fast"), "rate_hz": RATE, "window_samples": N, "front": {"steps": 30}}


def series(count: int, seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Slow and fast sines in noise: (count, N, channels) and the class of each."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    cycles = np.where(y, 5.0, 3.0)[:, None, None] * np.arange(N)[None, :, None] / RATE
    x = np.sin(2 * np.pi * (cycles + rng.uniform(0, 1, (count, 1, channels))))
    return (x + rng.normal(0, 0.3, x.shape)).astype(np.float32), y


def classifier(channels: int = 1, tail: str = "softmax", layout: str = "time", epochs: int = 4) -> keras.Model:
    """A small trained net; ``tail`` softmax, logits, sigmoid or split (a softmax layer of its own)."""
    keras.utils.set_random_seed(1)
    x, y = series(300, 0, channels)
    shape = (channels, N) if layout == "channels" else (N,) if layout == "vector" else (N, channels)
    parts: list[keras.layers.Layer] = [keras.Input(shape)]
    parts += {"channels": [layers.Permute((2, 1))], "vector": [layers.Reshape((N, 1))]}.get(layout, [])
    parts += [layers.Conv1D(8, 7, strides=2, activation="relu"), layers.Conv1D(8, 5, strides=2, activation="relu")]
    parts += [layers.GlobalAveragePooling1D()]
    units = 1 if tail == "sigmoid" else 2
    parts.append(layers.Dense(units, activation=tail if tail in ("softmax", "sigmoid") else None))
    parts += [layers.Softmax()] if tail == "split" else []
    model = keras.Sequential(parts)
    loss = (
        keras.losses.BinaryCrossentropy()
        if units == 1
        else keras.losses.SparseCategoricalCrossentropy(from_logits=tail == "logits")
    )
    model.compile(keras.optimizers.Adam(0.01), loss)
    x = {"channels": x.transpose(0, 2, 1), "vector": x[..., 0]}.get(layout, x)
    model.fit(x, y, epochs=epochs, verbose=0, batch_size=32)
    return model


def tflite(model: keras.Model, path: Path, whole_int8: bool = False) -> Path:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if whole_int8:
        x = series(50, 3)[0]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([window[None]] for window in x)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, unlabelled and labelled windows and a window.toml."""
    folder = tmp_path_factory.mktemp("wrap")
    classifier().save(folder / "own.keras")
    np.savez(folder / "windows.npz", x=series(120, 5)[0][..., 0], rate_hz=RATE)
    x, y = series(60, 9)
    np.savez(folder / "labelled.npz", x=x[..., 0], y=np.array(SPEC["labels"])[y], rate_hz=RATE)
    lines = [f"{key} = {json.dumps(value)}" for key, value in SPEC.items() if key != "front"]
    (folder / "window.toml").write_text("\n".join([*lines, 'windows = "windows.npz"', "[front]", "steps = 60"]))
    return folder


def file(**changes: object) -> WindowFile:
    return WindowFile.model_validate({**SPEC, **changes})


@pytest.mark.slow
def test_a_keras_model_is_wrapped_verified_evaluated_and_attacked_by_commands(place: Path) -> None:
    done = trainer("wrap", place / "own.keras", "--spec", place / "window.toml", "--out", place / "own.bundle")
    assert done.exit_code == 0, f"{done.output}{done.stderr}{done.exception!r}"
    assert "answers as before on" in done.output
    bundle, _ = load_verified(place / "own.bundle")
    assert set(bundle.manifest.outputs) == {"probabilities", "probabilities_raw", "reconstruction"}
    assert bundle.manifest.decision.suspect_residual is not None
    assert bundle.card["wrapped"]["agreement_with_itself"] >= 0.9
    assert bundle.card["wrapped"]["largest_difference_on_the_raw_path"] < 1e-3
    rows_at = place / "rows.json"
    done = trainer(
        "evaluate", place / "own.bundle", "--data", place / "labelled.npz", "--split", "all",
        "--attacks", "clean,pgd", "--epsilon", "0.1,0.6", "--json", rows_at,
    )  # fmt: skip
    assert done.exit_code == 0, f"{done.output}{done.stderr}{done.exception!r}"
    rows = {(r["target"], r["attack"], r["epsilon"]): r for r in json.loads(rows_at.read_text())["rows"]}
    assert {target for target, _, _ in rows} == {"float", "file"}
    assert rows["float", "clean", 0.0]["accuracy"] > 0.9
    assert rows["float", "pgd", 0.6]["accuracy"] < rows["float", "clean", 0.0]["accuracy"]
    assert rows["float", "pgd", 0.6]["gradient"].startswith("bpda")
    # the weights inside the twin are the user's, to the bit
    own = keras.saving.load_model(place / "own.keras", compile=False)
    twin = keras.saving.load_model(place / "own.twin" / "twin.keras", compile=False)
    kept = {np.asarray(w).tobytes() for w in twin.weights}
    assert all(np.asarray(w).tobytes() in kept for w in own.weights)


@pytest.mark.slow
@pytest.mark.parametrize("whole_int8", [False, True])
def test_a_tflite_file_runs_to_the_bit_as_before_in_one_graph(place: Path, tmp_path: Path, whole_int8: bool) -> None:
    model = keras.saving.load_model(place / "own.keras", compile=False)
    path = tflite(model, tmp_path / "own.tflite", whole_int8)
    done = wrap(path, file(), tmp_path / "t.bundle", data=place / "windows.npz")
    assert done.twin is None
    assert done.bundle.manifest.quantization == ("int8" if whole_int8 else "none")
    assert "no gradients" in done.bundle.card["limits"]
    wrapped = edge.load(tmp_path / "t.bundle")
    alone = tflite_graph.runner(path.read_bytes(), "own", (1, N, 1))
    x = series(5, 21)[0]
    for window in x:
        scores = wrapped.scores(window)
        np.testing.assert_allclose(scores.probabilities_raw, alone(window), atol=1e-6)
        room = 1 / 128 if whole_int8 else 1e-5
        np.testing.assert_allclose(scores.probabilities, alone(scores.reconstruction), atol=room)
    # black box only, and said so
    rows = trainer(
        "evaluate", tmp_path / "t.bundle", "--data", place / "labelled.npz", "--split", "all",
        "--attacks", "clean,noise,square", "--epsilon", "0.6", "--limit", "10",
    )  # fmt: skip
    assert rows.exit_code == 0, rows.stderr
    assert "no float twin: only its file is measured" in rows.stderr
    assert "square" in rows.output
    refused = trainer(
        "evaluate", tmp_path / "t.bundle", "--data", place / "labelled.npz", "--split", "all", "--attacks", "pgd"
    )
    assert refused.exit_code == 1
    assert "no float twin" in refused.stderr


@pytest.mark.slow
def test_int8_keeps_the_answers(place: Path, tmp_path: Path) -> None:
    done = wrap(place / "own.keras", file(), tmp_path / "i.bundle", data=place / "windows.npz", mode="int8")
    assert done.bundle.manifest.quantization == "int8"
    assert done.fidelity < 0.05
    assert len(done.bundle.model) < 60_000


@pytest.mark.slow
def test_three_channels_share_one_encode_decode(tmp_path: Path) -> None:
    model = classifier(3, "sigmoid")
    model.save(tmp_path / "m.h5")
    x = series(100, 5, 3)[0]
    np.savez(tmp_path / "w.npz", x=x, rate_hz=RATE, channels=["ax", "ay", "az"], units=["g"])
    spec = file(channels=("ax", "ay", "az"), units="g", preprocess=[{"op": "znorm"}], min_agreement=0.5)
    done = wrap(tmp_path / "m.h5", spec, tmp_path / "m.bundle", data=tmp_path / "w.npz")
    answer = edge.load(tmp_path / "m.bundle").classify(x[0])
    spread = (x[0] - x[0].mean(0)) / x[0].std(0)
    second = float(np.asarray(model(spread[None]))[0, 0])
    assert answer.scores.probabilities_raw[1] == pytest.approx(second, abs=1e-3)
    assert done.bundle.manifest.window_shape == (N, 3)


SHAPES = [("softmax", "time"), ("logits", "time"), ("sigmoid", "time"), ("split", "time"), ("softmax", "vector"),
          ("softmax", "channels")]  # fmt: skip


@pytest.mark.parametrize(("tail", "layout"), SHAPES)
def test_every_usual_shape_gives_the_same_probabilities(tail: str, layout: str, tmp_path: Path) -> None:
    model, x = classifier(1, tail, layout, epochs=1), series(8, 4)[0]
    adapted = keras_model.adapt(model, file().data, "auto", x)
    logits = np.asarray(adapted(x))
    given = np.asarray(model(given_input(x, layout)))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if tail == "logits":
        given = np.exp(given) / np.exp(given).sum(-1, keepdims=True)
    np.testing.assert_allclose(probabilities[:, -given.shape[1] :], given, atol=1e-5)
    assert adapted.trainable_weights == []
    path = tflite(model, tmp_path / "m.tflite")
    alone = tflite_graph.runner(path.read_bytes(), "m", (1, N, 1))
    want = np.asarray(model(given_input(x[:1], layout)))[0]
    np.testing.assert_allclose(alone(x[0]), want, atol=1e-5)


def given_input(x: np.ndarray, layout: str) -> np.ndarray:
    return {"vector": x[..., 0], "channels": x.transpose(0, 2, 1)}.get(layout, x)


@keras.saving.register_keras_serializable("somebody")
class Custom(keras.layers.Layer):
    """What needs its author's source."""

    def call(self, x: object) -> object:
        return x


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_nothing_in_a_file_is_run(suffix: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    nasty = keras.Sequential(
        [keras.Input((N, 1)), layers.Lambda(lambda x, at=str(ran): (open(at, "w").close(), x)[1]), layers.Flatten(),
         layers.Dense(2)]
    )  # fmt: skip
    ran.unlink(missing_ok=True)
    nasty.save(tmp_path / f"nasty{suffix}")
    with pytest.raises(ExportError, match=r"Lambda.*Python code, which is not run"):
        keras_model.load(tmp_path / f"nasty{suffix}")
    assert not ran.exists()
    custom = keras.Sequential([keras.Input((N, 1)), Custom(), layers.Flatten(), layers.Dense(2)])
    custom.save(tmp_path / f"custom{suffix}")
    with pytest.raises(ExportError, match="no layer of Keras"):
        keras_model.load(tmp_path / f"custom{suffix}")


def test_bad_input_is_one_of_our_errors(place: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=series(5, 1)[0][..., 0], rate_hz=RATE)
    np.savez(tmp_path / "gaps.npz", x=np.full((40, N), np.nan, np.float32), rate_hz=RATE)
    for name, content in (("not.tflite", b"no"), ("cut.tflite", b"\x1c\0\0\0TFL3" + bytes(20)), ("not.keras", b"no")):
        (tmp_path / name).write_bytes(content)
    own, data = place / "own.keras", place / "windows.npz"
    cases = [
        (tmp_path / "absent.keras", file(), data, "no such file"),
        (tmp_path / "few.npz", file(), data, "pickles and SavedModels"),
        (tmp_path / "not.tflite", file(), data, "not a TFLite file"),
        (tmp_path / "cut.tflite", file(), data, "damaged|subgraphs"),
        (tmp_path / "not.keras", file(), data, "not a Keras file"),
        (own, file(), tmp_path / "few.npz", "at least 20"),
        (own, file(), tmp_path / "gaps.npz", "had gaps"),
        (own, file(), None, "no windows to train on"),
        (own, file(labels=("a", "b", "c")), data, "labels has 3 entries"),
        (own, file(window_samples=50), data, "takes windows of shape"),
        (own, file(channels=("a", "b")), data, "channels"),
    ]
    for model, spec, at, message in cases:
        with pytest.raises(TrainerError, match=message):
            wrap(model, spec, tmp_path / "x.bundle", data=at)
        assert not (tmp_path / "x.bundle").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lables = ['a']", "lables"),
        ("rate_hz = 0", "rate_hz"),
        ("hop_samples = 500", "hop_samples is above"),
        ("preprocess = [{ op = 'fourier' }]", "op"),
        ("rate_hz =", "not valid TOML"),
    ],
)
def test_a_spec_is_checked_whole(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "window.toml"
    lines = {key: f"{key} = {json.dumps(value)}" for key, value in SPEC.items() if key != "front"}
    lines[line.split(" =", maxsplit=1)[0]] = line
    path.write_text("\n".join(lines.values()))
    with pytest.raises(TrainerError, match=message):
        read_window_file(path)


def test_windows_are_cut_as_the_agent_cuts_them(tmp_path: Path) -> None:
    long = np.random.default_rng(0).normal(0, 1, 30 * N + 10).astype(np.float32)
    long[5 * N + 3] = np.nan
    np.savez(tmp_path / "long.npz", values=long, rate_hz=RATE)
    found = windows.load(tmp_path / "long.npz", file().data)
    assert found.skipped == 1  # the one with the gap
    assert len(found.training) + len(found.held_out) == 29  # what is left over at the end makes no window
    np.testing.assert_array_equal(found.training.signals[1][:, 0], long[N : 2 * N])


def test_the_levels_follow_the_windows() -> None:
    from trainer.foreign.front import thresholds
    from trainer.models.layers import even_thresholds, sinh_thresholds

    rng = np.random.default_rng(0)
    centred = rng.standard_t(2, (200, N, 1)) * 40
    spaced = thresholds(centred, 32)
    levels = sinh_thresholds(32, **spaced)
    assert levels[0] < np.quantile(centred, 0.001)
    assert levels[-1] > np.quantile(centred, 0.999)
    offset = thresholds(20 + rng.normal(0, 1, (200, N, 1)), 16)
    levels = even_thresholds(16, **offset)
    assert 15 < levels[0] < 19
    assert 21 < levels[-1] < 25

