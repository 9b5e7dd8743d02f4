"""Every command block in README and the guides runs, or says why it cannot."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.demo.stage import DATA
from tests.pages.blocks import GUIDES, ROOT, TAGS, Block, blocks, files_of

STAYS_S = 8.0  # a start takes less; what ends by itself does so at once
PROGRAMS = ("edge-agent", "trainer", "firmware-bridge", "pip", "make", "sudo", "docker", "python", "mosquitto_sub")
SHELLS = ("sh", "console", "bash", "shell")


def tagged(*wanted: str, slow: bool = False) -> list[object]:
    return [
        pytest.param(page, id=page)
        for page in GUIDES
        if any(set(wanted) & set(b.tags) and ("slow" in b.tags) == slow for b in blocks(page))
    ]


@pytest.mark.parametrize("page", GUIDES)
def test_every_block_is_tagged(page: str) -> None:
    for block in blocks(page):
        where = f"{page}:{block.line}"
        for tag in block.tags:
            if tag.startswith("by:"):
                assert (ROOT / tag.removeprefix("by:")).is_file(), f"{where}: {tag} is no file"
            else:
                assert tag in TAGS, f"{where}: unknown tag {tag}"
        if block.language in SHELLS or (block.language == "python" and page != "docs/api.md"):
            assert len(set(block.tags) - {"slow"}) == 1, f"{where}: tag it with one of {', '.join(TAGS)}"
        else:  # a transcript begins its commands with $, so that nobody takes them for a block to run
            started = [line for line in block.text.splitlines() if line.split(" ")[0] in PROGRAMS]
            assert not started or block.language == "text", f"{where}: write ```sh and a tag: {', '.join(TAGS)}"


def test_what_is_said_to_be_done_elsewhere_is_make_or_pip() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in GUIDES:
        for block in blocks(page):
            if "ci" not in block.tags:
                continue
            for line in block.lines:
                first = line.split()[0]
                assert first in ("make", "pip", "python3", ".ci/run", "uv", "pipx"), f"{page}: {line}"
                if first == "make":
                    assert f"\n{line.split()[1]}:" in made, f"{page}: {line}"


@pytest.fixture(scope="module")
def env() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WAVEWALL_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def vibrations(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    t = np.where(y, 5.0, 3.0)[:, None] * np.arange(128) / 64
    x = np.sin(2 * np.pi * (t + rng.uniform(0, 1, (count, 1)))) + rng.normal(0, 0.3, (count, 128))
    return x.astype(np.float32), np.array(["slow", "fast"])[y]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with everything that the page's blocks name."""
    page = request.node.callspec.params["page"]
    x, y = vibrations(400, 0)
    np.savez(tmp_path / "own.npz", x=x, y=y, rate_hz=64.0)
    np.savez(tmp_path / "labelled.npz", x=x[:60], y=y[:60], rate_hz=64.0)
    np.savez(tmp_path / "windows.npz", x=vibrations(200, 1)[0], rate_hz=64.0)
    shutil.copy(DATA / "recording.npz", tmp_path / "recording.npz")
    for name, text in (files_of("docs/own-data.md") | files_of(page)).items():
        (tmp_path / name).write_text(text)
    recipe = (tmp_path / "recipe.toml").read_text()
    recipe = recipe.replace("epochs = 8", "epochs = 2").replace("max_drop = 0.1", "max_drop = 0.6")
    (tmp_path / "small.toml").write_text(recipe)
    agent = '[node]\nid = "g"\n[[source]]\nkind = "mqtt"\n[[sink]]\nkind = "mqtt"\n'
    for name in ("config.toml", "agent.toml"):
        (tmp_path / name).write_text(agent)
    if page != "docs/own-data.md":
        (tmp_path / "recipe.toml").write_text(recipe)
    return tmp_path


def run(command: list[str], env: dict[str, str], cwd: Path, where: str) -> str:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{where}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def run_blocks(page: str, place: Path, env: dict[str, str], slow: bool) -> None:
    chosen = [b for b in blocks(page) if "test" in b.tags and ("slow" in b.tags) == slow]
    for block in chosen:
        for line in block.lines if block.language != "python" else ():
            where = f"{page}:{block.line}: {line}"
            run(["bash", "-euo", "pipefail", "-c", line], env, place, where)
    program = "\n".join(block.filled for block in chosen if block.language == "python")
    if program:  # one program: a later block goes on where an earlier one ended
        ready = "import numpy as np\nwindow = np.load('recording.npz')['digital'][:9000, 0].astype('float32')\n"
        run([sys.executable, "-c", ready + program], env, place, page)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", tagged("test"))
def test_blocks_run(page: str, place: Path, env: dict[str, str], mosquitto: int) -> None:
    if page == "docs/wrap.md":
        own_models(place)
    run_blocks(page, place, {**env, "WAVEWALL_MQTT_PORT": str(mosquitto)}, slow=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", tagged("test", slow=True))
def test_slow_blocks_run(page: str, place: Path, env: dict[str, str]) -> None:
    if page == "docs/wrap.md":
        own_models(place)
    run_blocks(page, place, env, slow=True)


def own_models(place: Path) -> None:
    """Somebody's classifier, as Keras and as TFLite."""
    import keras
    import tensorflow as tf
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((128, 1)), layers.Conv1D(8, 7, strides=2, activation="relu"), layers.Conv1D(8, 5, strides=2,
         activation="relu"), layers.GlobalAveragePooling1D(), layers.Dense(2, activation="softmax")]
    )  # fmt: skip
    x, y = vibrations(300, 2)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x[..., None], (y == "fast").astype(int), epochs=5, verbose=0)
    model.save(place / "own.keras")
    (place / "own.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("page", tagged("runs"))
def test_what_does_not_end_starts_stays_and_ends_by_ctrl_c(
    page: str, place: Path, env: dict[str, str], mosquitto: int
) -> None:
    env = {**env, "WAVEWALL_MQTT_PORT": str(mosquitto)}
    for block in blocks(page):
        if "runs" in block.tags:
            _stays(block, place, env)


def _stays(block: Block, place: Path, env: dict[str, str]) -> None:
    running: list[tuple[str, subprocess.Popen[str]]] = []
    try:
        for said in block.lines:
            line = said.replace("/tmp/device", str(place / "device"))
            command = ["bash", "-c", f"exec {line}"]
            process = subprocess.Popen(
                command, env=env, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,
            )  # fmt: skip
            running.append((line, process))
            time.sleep(1.0)
        time.sleep(STAYS_S)
        for line, process in running:
            if process.poll() is not None:
                raise AssertionError(f"{block.page}: {line} ended: {process.communicate()[0]}")
            process.send_signal(signal.SIGINT)
        for line, process in running:
            out, _ = process.communicate(timeout=20)
            assert process.returncode in (0, 130), f"{block.page}: {line}: {process.returncode}\n{out}"
            assert "Traceback" not in out, out
    finally:
        for _, process in running:
            process.kill()
