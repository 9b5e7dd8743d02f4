"""Records chosen by name and number, and fitted to the windows a model takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.pipeline.resample import Resampler
from trainer.data.base import Dataset, DataSpec
from trainer.errors import EvaluationError
from trainer.evaluate.windows import choose, fit, read_names

SPEC = DataSpec("toy", ("low", "high"), "mV", 100.0, 6, ("lead",))
MODEL = DataSpec("model", ("high", "low", "other"), "uV", 100.0, 4, ("lead",))


def data(n: int = 5, spec: DataSpec = SPEC) -> Dataset:
    signals: list[np.ndarray] = [np.full((3 + i, len(spec.channels)), float(i), np.float32) for i in range(n)]
    return Dataset(signals, np.arange(n) % 2, tuple(f"r{i}" for i in range(n)), spec)


def test_labels_go_by_name_units_are_converted_and_padding_is_marked() -> None:
    windows = fit(data(), MODEL)
    assert windows.y.tolist() == [1, 0, 1, 0, 1]
    assert windows.x.shape == (5, 4, 1)
    assert windows.x[3, 0, 0] == 3000
    assert windows.valid[0].tolist() == [True, True, True, False]
    assert windows.names == ("r0", "r1", "r2", "r3", "r4")


def test_another_rate_is_resampled_by_the_agent_s_resampler() -> None:
    source = DataSpec("toy", ("low", "high"), "uV", 50.0, 6, ("ecg",))
    signal = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    windows = fit(
        Dataset([signal], np.array([0]), ("r",), source),
        DataSpec("m", ("low", "high"), "uV", 100.0, 80, ("ECG",)),
    )
    resampler = Resampler(50.0, 100.0)
    np.testing.assert_array_equal(windows.x[0], np.concatenate([resampler.push(signal), resampler.flush()]))


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (DataSpec("toy", ("low", "huge"), "uV", 100.0, 6), "label 'huge' is none of the model's"),
        (DataSpec("toy", ("low", "high"), "W", 100.0, 6), "'W' cannot be turned into 'uV'"),
        (DataSpec("toy", ("low", "high"), "uV", 100.0, 6, ("a", "b")), "has channels 'a', 'b'"),
        (DataSpec("toy", ("low", "high"), "uV", 1e-9, 6), "toy: "),
    ],
)
def test_what_does_not_fit_is_refused(spec: DataSpec, told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        fit(data(spec=spec), MODEL)


def test_only_the_first_window_of_a_long_record_counts() -> None:
    signal = np.arange(3_000_000, dtype=np.float32)[:, None]
    long = Dataset([signal], np.array([0]), ("r",), DataSpec("toy", ("low", "high"), "uV", 100.0, 4))
    assert fit(long, MODEL).x[0, :, 0].tolist() == [0, 1, 2, 3]


def test_an_empty_record_is_told() -> None:
    empty = Dataset([np.zeros((0, 1), np.float32)], np.array([0]), ("r",), SPEC)
    with pytest.raises(EvaluationError, match="record r gives no window"):
        fit(empty, MODEL)


def test_a_label_that_no_record_has_does_not_matter() -> None:
    spec = DataSpec("toy", ("low", "high", "unheard of"), "uV", 100.0, 6)
    assert fit(data(spec=spec), MODEL).y.tolist() == [1, 0, 1, 0, 1]


def test_choose_by_name_keeps_the_order_given() -> None:
    assert choose(data(), ["r3", "r0"], None).names == ("r3", "r0")
    with pytest.raises(EvaluationError, match="'r9' is not in this part of toy"):
        choose(data(), ["r9"], None)


def test_a_limit_spreads_over_the_order() -> None:
    assert choose(data(), None, 3).names == ("r0", "r2", "r4")
    assert choose(data(), None, 99).names == data().names
    with pytest.raises(EvaluationError, match="--limit is 0"):
        choose(data(), None, 0)
    with pytest.raises(EvaluationError, match="no records in this part"):
        choose(data(0), None, None)


def test_names_from_a_file_or_with_commas(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("r1\n# a remark\n\nr2  # another\nr1\n")
    assert read_names(str(file)) == ["r1", "r2"]
    assert read_names("r1, r2,") == ["r1", "r2"]
    for text in (" ,", ""):
        with pytest.raises(EvaluationError, match="no record names"):
            read_names(text)
