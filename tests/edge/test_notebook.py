"""The Python API and what a notebook shows of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import wfdb

import edge
from edge.demo.stage import DATA
from edge.errors import EdgeError
from edge.pipeline import Answer, Model
from firmware_bridge.recordings import open_recordings
from firmware_bridge.simulator import Simulator
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return edge.load(tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny.bundle"))


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 80, 400).astype(np.float32)


def expected(samples: np.ndarray, model: Model) -> list[Answer]:
    return [model.classify(samples[at : at + WINDOW]) for at in range(0, len(samples) - WINDOW + 1, HOP)]


def test_a_stream_of_any_origin_gives_the_windows_answers(model: Model, samples: np.ndarray, tmp_path: Path) -> None:
    want = expected(samples, model)
    np.savez(tmp_path / "r.npz", values=samples, rate_hz=RATE_HZ, channels=["ecg"], units=["uV"])
    record = SimpleNamespace(
        p_signal=samples[:, None] / 1000, fs=RATE_HZ, sig_name=["ECG"], units=["mV"], record_name="r"
    )
    assert [*edge.stream(samples, model)] == want
    assert [*edge.stream(list(samples), model)] == want
    assert [*edge.stream((samples[at : at + 37] for at in range(0, 400, 37)), model)] == want
    assert [*edge.stream(pd.DataFrame({"x": samples * 0, "ECG": samples}), model, units="uV")] == want
    assert [*edge.stream(pd.Series(samples), model)] == want
    assert [*edge.stream(tmp_path / "r.npz", model)] == want
    from_record = [*edge.stream(record, model)]
    assert [a.label for a in from_record] == [a.label for a in want]
    assert from_record[0].window is not None
    assert from_record[0].window.stream == "r"
    np.testing.assert_allclose(from_record[3].window.values, want[3].window.values, rtol=1e-6)


def test_a_real_wfdb_record_is_taken_as_it_is(model: Model, samples: np.ndarray, tmp_path: Path) -> None:
    wfdb.wrsamp(
        "r", fs=RATE_HZ, units=["mV"], sig_name=["ECG"], p_signal=samples[:, None].astype(float) / 1000,
        fmt=["16"], write_dir=str(tmp_path),
    )  # fmt: skip
    answers = [*edge.stream(wfdb.rdrecord(str(tmp_path / "r")), model)]
    assert len(answers) == len(expected(samples, model))
    np.testing.assert_allclose(answers[0].window.values[:, 0], samples[:WINDOW], atol=0.05)


def test_a_table_of_answers(model: Model, samples: np.ndarray) -> None:
    table = pd.DataFrame(answer.to_dict() for answer in edge.stream(samples, model, name="bed4"))
    assert table.first_index.tolist() == list(range(0, 400 - WINDOW + 1, HOP))
    assert set(table.stream) == {"bed4"}
    assert (abs(table.filter(like="p_").sum(axis=1) - 1) < 0.02).all()


def test_a_live_device_is_a_stream_and_is_let_go(samples: np.ndarray) -> None:
    recording = next(iter(open_recordings(DATA / "recording.npz")))
    device = Simulator(recording, speed=60.0)
    before = threading.active_count()
    answers = edge.stream(f"serial:{device.port}", "ecg-undefended")
    thread = threading.Timer(0.5, device.start)
    thread.start()
    try:
        answer = next(answers)
    finally:
        answers.close()
        device.stop()
        thread.join()
    assert answer.label in ("normal", "af", "other", "noise")
    assert answer.window is not None
    assert answer.window.values.std() > 50
    assert threading.active_count() <= before + 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no-such-file.npz", "no such file"),
        (np.zeros((2, 3, 4)), "shape"),
        ("serial:/dev/null,bogus=1", "bogus"),
        (np.zeros((100, 2)), "channels"),
    ],
)
def test_a_wrong_source_is_one_of_our_errors(model: Model, source: object, message: str) -> None:
    with pytest.raises(EdgeError, match=message):
        list(edge.stream(source, model, channels=("a", "b") if isinstance(source, np.ndarray) else None))


class Checked(HTMLParser):
    """Balanced tags, no script, no address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in ("rect", "path"):
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert "http" not in (value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_an_answer_shows_its_strip_and_its_verdict(model: Model, samples: np.ndarray) -> None:
    window = samples[:50].copy()
    window[20:30] = np.nan
    answer = model.classify(window)
    html = answer._repr_html_()
    assert {"svg", "path", "rect"} <= Checked(html).seen
    assert answer.status in html
    assert answer.label in html
    assert html.count("<rect") == 3  # padding left and right, and the gap
    assert len(html) < 60_000
    suspect = replace(answer, status="suspect", reason="residual")
    assert "suspect" in suspect._repr_html_()
    assert repr(suspect) == f"<{answer.label} {answer.score:.2f}, suspect (residual)>"


def test_what_a_bundle_says_of_itself_is_escaped(tmp_path: Path, samples: np.ndarray) -> None:
    nasty = "<script>alert(1)</script>"
    model = edge.load(tiny_bundle(tmp_path / "t.bundle", labels=(nasty, "b&c", "noise")))
    for html in (model._repr_html_(), model.classify(samples[:WINDOW])._repr_html_()):
        assert "script" not in Checked(html).seen
        assert "&lt;script&gt;" in html


def test_a_card_shows_its_figures_and_says_where_there_are_none(model: Model) -> None:
    shipped = edge.load("ecg-rhythm")
    html = shipped._repr_html_()
    assert {"table"} <= Checked(html).seen
    row = shipped.bundle.card["evaluation"]["rows"][0]
    assert f"{row['accuracy']:.3f}" in html
    assert "nothing is known of its robustness" in model._repr_html_()
