"""Every kind of recording, from a folder and from a zip, whole and damaged."""

from __future__ import annotations

import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import RecordingError
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, open_recordings, write_recording
from firmware_bridge.recordings.wfdb_format import decode_signal, parse_header

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # inside wfdb, with the newest pandas

SIGNAL = (np.sin(np.arange(900) / 7) * 800).astype(np.int16)


def cinc_files(name: str, signal: np.ndarray, gain: str = "1000/mV") -> dict[str, bytes]:
    """A record as PhysioNet's CinC 2017 archive has it."""
    header = f"{name} 1 300 {len(signal)} 05:05:15 1/05/2000 \r\n{name}.mat 16+24 {gain} 16 0 {signal[0]} 0 0 ECG \r\n"
    matrix = struct.pack("<5i", 30, 1, len(signal), 0, 4) + b"val\x00" + signal.astype("<i2").tobytes()
    return {f"{name}.hea": header.encode(), f"{name}.mat": matrix}


def cinc_archive() -> dict[str, bytes]:
    files = {"RECORDS": b"A00002\nA00001\n", "REFERENCE-v3.csv": b"A00001,N\nA00002,~\nA99999,O\n"}
    files["REFERENCE.csv"] = b"A00001,A\n"
    return files | cinc_files("A00001", SIGNAL) | cinc_files("A00002", -SIGNAL)


def make(path: Path, files: dict[str, bytes], kind: str) -> Path:
    """The files as a folder, or as a zip with one folder in it."""
    if kind == "folder":
        path.mkdir()
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"training2017/{name}", content)
    return path


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_cinc_archive(tmp_path: Path, kind: str):
    records = open_recordings(make(tmp_path / "c", cinc_archive(), kind), known_labels="NAO~")
    assert list(records.names) == ["A00002", "A00001"]
    assert records.labels == {"A00002": "~", "A00001": "N"}
    first = records.read("A00001")
    assert (first.name, first.rate_hz, first.label) == ("A00001", 300.0, "N")
    assert first.channels == (Channel("ECG", "uV", 1.0, 0.0),)
    assert first.digital.dtype == np.int16
    assert first.physical.dtype == np.float32
    assert np.array_equal(first.physical[:, 0], SIGNAL.astype(np.float32))
    assert [record.label for record in records] == ["~", "N"]


def test_a_record_alone_by_any_of_its_names(tmp_path: Path):
    folder = make(tmp_path / "c", cinc_archive(), "folder")
    for name in ("A00001.hea", "A00001.mat", "A00001"):
        records = open_recordings(folder / name)
        assert list(records.names) == ["A00001"]
        assert records.read("A00001").label == "N"


def test_missing_record_names_the_nearest(tmp_path: Path):
    records = open_recordings(make(tmp_path / "c", cinc_archive(), "zip"))
    with pytest.raises(RecordingError, match=r"no record 'A00011' among 2; did you mean 'A00001'"):
        records.read("A00011")
    assert "A00001" in records
    assert "A99999" not in records


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("A00001", "line 2"),
        ("A00001,", "line 2"),
        (",N", "line 2"),
        ("A00001,N,x", "line 2"),
        ("A00001,X", "label 'X' of A00001 is none of"),
        ("A00001," + "N" * 40, "line 2"),
    ],
)
def test_label_file_with_a_bad_line(tmp_path: Path, line: str, says: str):
    files = cinc_archive() | {"REFERENCE-v3.csv": f"A00002,N\n{line}\n".encode()}
    with pytest.raises(RecordingError, match=says) as caught:
        open_recordings(make(tmp_path / "c", files, "zip"), known_labels="NAO~")
    assert "REFERENCE-v3.csv" in str(caught.value)


def test_any_label_is_kept_where_none_are_known(tmp_path: Path):
    files = cinc_archive() | {"REFERENCE-v3.csv": b"name,label\nA00001,strange\n"}
    assert open_recordings(make(tmp_path / "c", files, "zip")).labels == {"A00001": "strange"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"A00001.mat": None}, "A00001.mat"),
        ({"A00001.mat": b""}, "too short"),
        ({"A00001.mat": b"MATLAB 5.0 MAT-file, much newer" * 4}, "MATLAB matrix of type"),
        ({"A00001.mat": cinc_files("A00001", SIGNAL)["A00001.mat"][:500]}, "cut short: 238 of 900"),
        ({"A00001.mat": cinc_files("A00001", SIGNAL[:50])["A00001.mat"]}, "50 samples, the header says 900"),
        ({"A00001.hea": b""}, "header is empty"),
        ({"A00001.hea": b"A00001 1"}, "1 signals announced, 0 described"),
        ({"A00001.hea": b"A00001 x 300 900\n"}, "header cannot be read"),
        ({"A00001.hea": b"A00001 1 0 900\nA00001.mat 16+24 1000/mV\n"}, "rate of 0"),
        ({"A00001.hea": b"A00001 1 nan 900\nA00001.mat 16+24 1000/mV\n"}, "rate of nan"),
        ({"A00001.hea": b"A00001 1 300 900\n../x.dat 16 200\n"}, "outside the record"),
        ({"A00001.hea": b"A00001 1 300 900\nA00001.mat foo 200\n"}, "format 'foo'"),
        ({"A00001.hea": b"A00001 1 300 900\nA00001.mat 16+24 abc/mV\n"}, "header cannot be read"),
        ({"A00001.hea": b"A00001 200 300 900\n"}, "200 signals"),
        ({"A00001.hea": b"A00001/3 1 300 900\nseg1 300\n"}, "from a folder only"),
        ({"A00001.hea": b"A00001 1 300 900\nA00001.mat 508 200\n"}, "from a folder only"),
    ],
)
def test_damaged_wfdb_record(tmp_path: Path, change: dict, says: str):
    files = cinc_archive() | change
    records = open_recordings(
        make(tmp_path / "c", {name: content for name, content in files.items() if content is not None}, "zip")
    )
    with pytest.raises(RecordingError, match=says):
        records.read("A00001")
    assert len(records.read("A00002")) == 900


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text("A01 .x:+/()mV-\n", max_size=200).map(str.encode)))
def test_any_header_parses_or_is_refused(raw: bytes):
    try:
        header = parse_header(raw, "x.hea")
    except RecordingError as error:
        assert "x.hea" in str(error)
    else:
        assert header.rate_hz > 0


def test_wfdb_formats_agree_with_the_wfdb_package(tmp_path: Path):
    import wfdb

    digital = np.random.default_rng(1).integers(-120, 120, (501, 3))
    for code in ("16", "212", "80", "24", "32"):
        wfdb.wrsamp(
            f"r{code}",
            fs=250,
            units=["mV", "uV", "mmHg"],
            sig_name=["MLII", "V 5", "bp"],
            d_signal=digital,
            fmt=[code] * 3,
            adc_gain=[200.0, 2.0, 10.5],
            baseline=[0, 5, -3],
            write_dir=str(tmp_path),
        )
        ours = open_recordings(tmp_path / f"r{code}").read(f"r{code}")
        theirs = wfdb.rdrecord(str(tmp_path / f"r{code}")).p_signal * [1000, 1, 1]
        assert np.array_equal(ours.digital, digital)
        assert np.allclose(ours.physical, theirs, rtol=1e-6, atol=1e-3)
        assert [(c.name, c.unit) for c in ours.channels] == [("MLII", "uV"), ("V_5", "uV"), ("bp", "mmHg")]


def test_other_wfdb_formats_go_to_the_wfdb_package(tmp_path: Path):
    import wfdb

    signal = np.column_stack([np.sin(np.arange(400) / 9), np.cos(np.arange(400) / 9)])
    wfdb.wrsamp("two", 100, ["mV", "V"], ["a", "b"], signal, fmt=["16", "212"], write_dir=str(tmp_path))
    record = open_recordings(tmp_path / "two.hea").read("two")
    assert np.allclose(record.physical, signal * [1e3, 1e6], rtol=1e-2, atol=2e3)
    for path in tmp_path.glob("*.dat"):
        path.unlink()
    with pytest.raises(RecordingError, match="wfdb cannot read it"):
        open_recordings(tmp_path / "two.hea").read("two")


def test_value_that_means_missing_is_nan(tmp_path: Path):
    signal = SIGNAL.copy()
    signal[5] = -32768
    record = open_recordings(make(tmp_path / "c", cinc_files("r", signal), "folder")).read("r")
    assert np.flatnonzero(np.isnan(record.physical)).tolist() == [5]
    values, _, valid = record.to_int16()
    assert values[5] == 0
    assert np.flatnonzero(~valid).tolist() == [5]


def test_format_212_of_an_odd_count():
    assert decode_signal(bytes([0x01, 0x00, 0x02, 0xFF, 0x0F]), 212, 3, 1)[:, 0].tolist() == [1, 2, -1]
    with pytest.raises(ValueError, match="cut short: 2 of 3"):
        decode_signal(bytes(3), 212, 3, 1)


def test_edf(tmp_path: Path):
    import edfio

    signal = np.round(np.sin(np.arange(500) / 9) * 1000)
    edfio.Edf(
        [
            edfio.EdfSignal(
                signal, 250, label="ECG I", physical_dimension="uV", physical_range=(-3276.8, 3276.7)
            ),
            edfio.EdfSignal(signal[:2], 1, label="slow"),
        ]
    ).write(tmp_path / "r.edf")
    record = open_recordings(tmp_path / "r.edf").read("r")
    assert (record.rate_hz, [c.name for c in record.channels]) == (250.0, ["ECG_I"])
    assert np.allclose(record.physical[:, 0], signal, atol=0.06)
    (tmp_path / "r.edf").write_bytes(b"0       not an EDF")
    with pytest.raises(RecordingError, match="edfio cannot read it"):
        open_recordings(tmp_path / "r.edf").read("r")


def test_zip_that_is_not_a_zip(tmp_path: Path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK not really")
    with pytest.raises(RecordingError, match="not a zip"):
        open_recordings(path)
    whole = make(tmp_path / "c", cinc_archive(), "zip").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match="not a zip, or cut short"):
        open_recordings(path)


def test_zip_with_a_damaged_member(tmp_path: Path):
    path = make(tmp_path / "c", cinc_archive(), "zip")
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("training2017/A00001.mat").header_offset + 120
    content = bytearray(path.read_bytes())
    content[at : at + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"cannot read member A00001\.mat"):
        open_recordings(path).read("A00001")


def test_a_member_larger_than_the_cap_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("firmware_bridge.recordings.files.MAX_FILE_BYTES", 1000)
    for kind in ("zip", "folder"):
        with pytest.raises(RecordingError, match="more than the 1000"):
            open_recordings(make(tmp_path / kind, cinc_archive(), kind)).read("A00001")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.csv", "no such file"),
        ("notes.txt", "not a kind of recording"),
        ("lone.mat", "lone.hea is missing"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, name: str, says: str):
    for existing in ("notes.txt", "lone.mat"):
        (tmp_path / existing).write_text("x")
    with pytest.raises(RecordingError, match=says):
        open_recordings(tmp_path / name)


def test_folder_without_recordings(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(RecordingError, match="no recordings in it"):
        open_recordings(tmp_path)


@pytest.mark.parametrize("suffix", [".hea", ".npz", ".csv"])
def test_write_and_read_again(tmp_path: Path, suffix: str):
    digital = np.random.default_rng(2).integers(-3000, 3000, (100, 2)).astype(np.int16)
    digital[7, 1] = -32768
    channels = (Channel("ecg", "uV", 4.8828125, -9.765625), Channel("II", "mmHg", 0.1))
    record = Recording("r", 300.12, channels, digital=digital, label="A", invalid=-32768)
    files = write_recording(record, tmp_path / f"r{suffix}")
    assert all(path.exists() for path in files)
    assert not list(tmp_path.glob("*.part"))
    back = open_recordings(files[0]).read("r")
    assert back.rate_hz == 300.12
    assert [(c.name, c.unit) for c in back.channels] == [("ecg", "uV"), ("II", "mmHg")]
    if suffix != ".npz":  # whose integers are kept as they are
        assert np.isnan(back.physical[7, 1])
    kept = np.isfinite(record.physical)
    assert np.allclose(back.physical[kept], record.physical[kept], rtol=1e-6)


def test_written_wfdb_is_read_by_the_wfdb_package(tmp_path: Path):
    import wfdb

    record = Recording("r", 300.0, (Channel("ecg", "uV", 2.5),), digital=SIGNAL[:, None])
    write_recording(record, tmp_path / "r.hea")
    theirs = wfdb.rdrecord(str(tmp_path / "r"))
    assert theirs.units == ["uV"]
    assert np.allclose(theirs.p_signal, record.physical)


def test_write_errors(tmp_path: Path):
    record = Recording("r", 300.0, (Channel("ecg", "uV"),), digital=SIGNAL[:, None])
    with pytest.raises(RecordingError, match=r"written as \.hea"):
        write_recording(record, tmp_path / "r.wav")
    with pytest.raises(RecordingError, match="cannot write"):
        write_recording(record, tmp_path / "none" / "r.csv")


def test_floats_become_integers_with_a_scale():
    values = np.array([[0.5, 100.0], [-1.25, np.nan], [1.0, -300.0]], np.float32)
    record = Recording("r", 1.0, (Channel("a", "1"), Channel("b", "W")), analog=values)
    digital, channels, valid = record.to_int16()
    assert channels[1] == Channel("b", "W", 1.0)
    assert valid.tolist() == [[True, True], [True, False], [True, True]]
    assert np.abs(digital[:, 0] * channels[0].scale - values[:, 0]).max() <= channels[0].scale / 2
    assert 30_000 <= np.abs(digital[:, 0]).max() <= 32_767
    wide = Recording("r", 1.0, (Channel("a", "1", 2.0),), digital=np.array([[100_000], [-5]], np.int32))
    digital, channels, _ = wide.to_int16()
    assert np.abs(digital[:, 0] * channels[0].scale - [200_000, -10]).max() <= channels[0].scale / 2


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=20))
@example([9.506489512039311e-20])  # nine digits of its scale have an exponent below -30
def test_any_floats_fit(values: list[float]):
    record = Recording("r", 1.0, (Channel("a", "1"),), analog=np.array(values, np.float32)[:, None])
    digital, channels, _ = record.to_int16()
    error = np.abs(digital[:, 0].astype(float) * channels[0].scale - record.physical[:, 0])
    assert error.max() <= max(channels[0].scale * 0.5001, 1e-20)


def test_what_is_no_measurement_is_no_value():
    values = np.array([[1.0], [3e38], [np.inf], [1e-44]], np.float32)
    digital, _, valid = Recording("r", 1.0, (Channel("a", "1"),), analog=values).to_int16()
    assert valid[:, 0].tolist() == [True, False, False, True]
    assert digital[3, 0] == 0
    tiny = Recording("r", 1.0, (Channel("a", "1"),), analog=values[3:])
    assert tiny.to_int16()[1][0].scale == 1.0


def test_the_real_archive(cinc_zip: Path):
    began = time.perf_counter()
    records = open_recordings(cinc_zip, known_labels="NAO~")
    assert len(records) == len(records.labels) > 7000
    lengths = [len(records.read(name)) for name in records.names[:500]]
    assert time.perf_counter() - began < 10
    assert min(lengths) > 2000
    first = records.read("A00001")
    assert first.digital[:5, 0].tolist() == [-127, -162, -197, -229, -245]
    assert (first.label, first.rate_hz, first.channels[0].scale) == ("N", 300.0, 1.0)
