"""Bundle files: written the same each time, read whole, and refused with the reason."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import MAX_BUNDLE_BYTES, Bundle, parse_bundle, read_bundle, signing, write_bundle
from edge.bundle.arrays import read_arrays, write_arrays
from edge.errors import BundleError, ManifestError
from tests.edge.tiny import tiny_parts

KEY = bytes(range(32))
PUBLIC = signing.public_key(KEY)
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return tiny_parts()


@pytest.fixture(scope="module")
def data(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    write_bundle(path, **parts, signing_key=KEY)
    return path.read_bytes()


def unzip(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rezip(members: Members | list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return buffer.getvalue()


def relisted(members: Members, change: Callable[[dict[str, Any]], None] = lambda manifest: None) -> bytes:
    """A file whose manifest lists the members as they are now: only what is inside them can be wrong."""
    members = {name: content for name, content in members.items() if name != "signature"}
    manifest = json.loads(members.pop("manifest.json"))
    manifest["members"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in members.items()
    }
    change(manifest)
    return rezip({"manifest.json": json.dumps(manifest).encode(), **members})


def test_what_is_written_is_read(parts: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "tiny.bundle"
    written = write_bundle(path, **parts)
    bundle = read_bundle(path)
    assert bundle.model == parts["model"] == written.model
    assert bundle.card == parts["card"]
    assert bundle.head is not None
    assert np.array_equal(bundle.head["weights"], parts["head"]["weights"])
    assert np.array_equal(bundle.vectors.windows, parts["vectors"]["windows"])
    assert bundle.vectors.steps["probabilities"] == pytest.approx(1 / 256)
    assert bundle.manifest.labels == parts["manifest"].labels
    assert set(bundle.manifest.members) == {"model.tflite", "head.npz", "vectors.npz", "card.json"}
    assert (bundle.signed, bundle.verified) == (False, False)
    assert bundle.name == str(path)
    assert bundle.sha256 == written.sha256
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_same_arguments_same_bytes(parts: dict[str, Any], data: bytes, tmp_path: Path) -> None:
    write_bundle(tmp_path / "again.bundle", **parts, signing_key=KEY)
    assert (tmp_path / "again.bundle").read_bytes() == data


def test_numpy_and_zip_read_it_too(data: bytes, parts: dict[str, Any]) -> None:
    members = unzip(data)
    with np.load(io.BytesIO(members["vectors.npz"]), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["windows"], parts["vectors"]["windows"])
        assert arrays["step_probabilities"].shape == ()


def test_signature(data: bytes) -> None:
    bundle = parse_bundle(data, trusted_key=PUBLIC)
    assert bundle.signed
    assert bundle.verified
    assert not parse_bundle(data).verified
    with pytest.raises(BundleError, match="not the trusted key's"):
        parse_bundle(data, trusted_key=signing.public_key(bytes(32)))


def test_without_head(parts: dict[str, Any], tmp_path: Path) -> None:
    assert write_bundle(tmp_path / "x.bundle", **{**parts, "head": None}).head is None


def test_a_failed_write_leaves_the_old_file(parts: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    path.write_bytes(b"old")
    with pytest.raises(BundleError, match="not a TFLite file"):
        write_bundle(path, **{**parts, "model": b"nothing"})
    with pytest.raises(BundleError, match="NaN or infinity"):
        write_bundle(path, **{**parts, "head": {"weights": [np.nan]}})
    with pytest.raises(BundleError, match=r"card\.json"):
        write_bundle(path, **{**parts, "card": {"accuracy": float("nan")}})
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bundle"]


def test_the_last_check_is_the_callers(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    path.write_bytes(data)
    seen: list[Bundle] = []
    read_bundle(path, check_vectors=seen.append)
    assert seen[0].manifest.name == "tiny"

    def refuse(bundle: Bundle) -> None:
        raise BundleError("vectors.npz: no", member="vectors.npz")

    with pytest.raises(BundleError, match=r"x\.bundle: vectors\.npz: no"):
        read_bundle(path, check_vectors=refuse)


# Files that are refused before anything in them is used --------------------------------------------------------


def refused(
    data: bytes, match: str, member: str | None = None, trusted_key: bytes | None = None
) -> BundleError:
    with pytest.raises(BundleError, match=match) as caught:
        parse_bundle(data, trusted_key=trusted_key)
    if member is not None:
        assert caught.value.member == member
    return caught.value


@pytest.mark.parametrize("content", [b"", b"P", b"hello", b"PK\x05\x06" + bytes(18), b"MZ" + bytes(100)])
def test_not_a_zip(content: bytes) -> None:
    refused(content, "not a ZIP")


def test_truncated_anywhere(data: bytes) -> None:
    for length in {*range(4, len(data), 997), len(data) - 1, len(data) - 22}:
        refused(data[:length], "truncated")


def test_bytes_around_it(data: bytes) -> None:
    refused(data + b"x", "something was added")
    refused(data + data, "something was added")
    refused(data[: directory(data)] + b"x" + data[directory(data) :], "something was added")


def test_member_hash_wrong(data: bytes) -> None:
    members = unzip(data)
    for name in ("model.tflite", "head.npz", "vectors.npz", "card.json"):
        content = bytearray(members[name])
        content[len(content) // 2] ^= 1
        refused(rezip({**members, name: bytes(content)}), f"member {name} does not have the sha256", name)
        refused(rezip({**members, name: members[name] + b" "}), f"member {name} has .* bytes", name)


def test_damaged_on_the_way(data: bytes) -> None:
    at = data.index(b"TFL3") + 1000
    refused(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "'model.tflite' is truncated or damaged")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_member(data: bytes) -> None:
    listed = list(unzip(data).items())
    refused(rezip([*listed, ("model.tflite", b"other")]), "'model.tflite' occurs twice", "model.tflite")


def test_unlisted_member(data: bytes) -> None:
    refused(rezip({**unzip(data), "extra.bin": b"x"}), r"'extra\.bin' is not listed", "extra.bin")


def test_listed_but_unknown_member(data: bytes) -> None:
    refused(relisted({**unzip(data), "extra.bin": b"x"}), r"'extra\.bin' is none that this version knows")


@pytest.mark.parametrize("name", ["model.tflite", "vectors.npz", "card.json", "manifest.json", "head.npz"])
def test_missing_member(data: bytes, name: str) -> None:
    members = unzip(data)
    del members[name]
    refused(rezip(members), f"member {name} is missing", name)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../evil", r"has '\.\.' in its path"),
        ("a/../../evil", r"has '\.\.' in its path"),
        ("..\\evil", r"has '\.\.' in its path"),
        ("/etc/passwd", "absolute path"),
        ("\\evil", "absolute path"),
        ("C:evil", "absolute path"),
        ("folder/", "a path or an odd name"),
        ("folder/file", "a path or an odd name"),
        ("bell\x07", "a path or an odd name"),
    ],
)
def test_paths(data: bytes, name: str, match: str) -> None:
    refused(rezip({**unzip(data), name: b"x"}), match)


def test_name_with_nul(data: bytes) -> None:
    refused(
        rezip({**unzip(data), "cardXjson": b"x"}).replace(b"cardXjson", b"card\0json"), "odd name|damaged"
    )


def test_compressed(data: bytes) -> None:
    refused(rezip(unzip(data), zipfile.ZIP_DEFLATED), "is compressed; members must be stored")


def test_compressed_arrays_inside(data: bytes) -> None:
    members = unzip(data)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, windows=np.zeros(10_000_000, np.float32))
    error = refused(relisted({**members, "vectors.npz": buffer.getvalue()}), "is compressed")
    assert error.member == "vectors.npz"


def directory(data: bytes) -> int:
    """Where the bundle's own ZIP directory begins; the array files inside have theirs."""
    return int.from_bytes(data[-6:-2], "little")


def test_encrypted_flag(data: bytes) -> None:
    at = directory(data)
    refused(data[: at + 8] + b"\x01" + data[at + 9 :], "is encrypted")


def test_size_that_the_file_does_not_hold(data: bytes) -> None:
    at = directory(data)
    huge = (0xFFFFFFF0).to_bytes(4, "little")
    refused(data[: at + 20] + huge + huge + data[at + 28 :], "does not hold")


def test_oversized_file(tmp_path: Path) -> None:
    path = tmp_path / "huge.bundle"
    with path.open("wb") as file:
        file.truncate(MAX_BUNDLE_BYTES + 1)
    with pytest.raises(
        BundleError, match=r"huge\.bundle: has 67108865 bytes, the limit is 67108864, because"
    ):
        read_bundle(path)
    refused(bytes(MAX_BUNDLE_BYTES + 1), "the limit is")


def test_oversized_text(data: bytes) -> None:
    members = unzip(data)
    refused(
        relisted({**members, "card.json": b'{"a": "' + b"x" * (1 << 20) + b'"}'}), r"card\.json has .* limit"
    )


def test_too_many_members(data: bytes) -> None:
    refused(rezip({**unzip(data), **{f"m{i}": b"" for i in range(60)}}), "the limit is 64")


def test_unknown_schema_version(data: bytes) -> None:
    content = relisted(unzip(data), lambda manifest: manifest.update(schema=2))
    assert isinstance(refused(content, "schema version 2 is unknown", "manifest.json"), ManifestError)


def test_label_count(data: bytes) -> None:
    refused(relisted(unzip(data), lambda manifest: manifest["labels"].append("fourth")), "4 labels need")


def test_signature_missing_wrong_or_misplaced(data: bytes) -> None:
    members = unzip(data)
    unsigned = {name: content for name, content in members.items() if name != "signature"}
    refused(rezip(unsigned), "signature is missing", "signature", PUBLIC)
    refused(rezip({**members, "signature": bytes(64)}), "not the trusted key's", "signature", PUBLIC)
    for key in (None, PUBLIC):
        refused(rezip({**members, "signature": b"short"}), "is 5 bytes, not 64", "signature", key)
    # The signature is over the stored bytes: one space more and it is another manifest.
    refused(rezip({**members, "manifest.json": members["manifest.json"] + b" "}), "signature", None, PUBLIC)


def test_signature_is_checked_before_the_manifest_is_read(data: bytes) -> None:
    refused(rezip({**unzip(data), "manifest.json": b"not json"}), "not the trusted key's", None, PUBLIC)


def test_not_a_model(data: bytes) -> None:
    refused(relisted({**unzip(data), "model.tflite": b"MZ"}), r"model\.tflite is not a TFLite file")


@pytest.mark.parametrize("card", [b"", b"[]", b"{,}", b'{"a": NaN}', b'{"a": 1, "a": 2}'])
def test_card(data: bytes, card: bytes) -> None:
    refused(relisted({**unzip(data), "card.json": card}), r"card\.json", "card.json")


def changed_vectors(data: bytes, **changes: Any) -> bytes:
    members = unzip(data)
    arrays: dict[str, Any] = {**read_arrays(members["vectors.npz"], "vectors.npz"), **changes}
    arrays = {name: array for name, array in arrays.items() if array is not ...}
    return relisted({**members, "vectors.npz": write_arrays(arrays)})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"windows": np.full((3, 64, 1), np.nan, np.float32)}, "'windows' holds NaN"),
        ({"probabilities": np.full((3, 3), np.inf, np.float32)}, "'probabilities' holds NaN or infinity"),
        (
            {"windows": np.zeros((3, 63, 1), np.float32)},
            r"'windows' has shape \(3, 63, 1\), the manifest needs",
        ),
        ({"windows": np.zeros((0, 64, 1), np.float32)}, "'windows' holds no window"),
        ({"windows": np.float32(0)}, "'windows' holds no window"),
        ({"windows": np.zeros((3, 64, 1))}, "'windows' is float64; store it as float32"),
        ({"valid": np.ones((3, 64), np.int8)}, "'valid' is int8; store it as bool"),
        ({"valid": np.ones((2, 64), bool)}, "'valid' has shape"),
        ({"features": ...}, "'features' is missing"),
        ({"valid": ...}, "'valid' is missing"),
        ({"embedding": np.zeros((3, 5), np.float32)}, "'embedding' has shape"),
        ({"other": np.zeros(1, np.float32)}, "'other' belongs to no output"),
        ({"step_probabilities": np.zeros(2, np.float32)}, "is not one number"),
        ({"step_probabilities": np.float32(-1)}, "is -1"),
        ({"step_probabilities": np.float32(np.nan)}, "is nan"),
    ],
)
def test_vectors(data: bytes, changes: dict[str, Any], match: str) -> None:
    refused(changed_vectors(data, **changes), match, "vectors.npz")


def test_head_with_nan(data: bytes) -> None:
    head = write_arrays({"weights": np.array([np.nan], np.float32)})
    refused(relisted({**unzip(data), "head.npz": head}), "'weights' holds NaN", "head.npz")


def test_pickles_are_never_loaded(data: bytes) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, windows=np.array([{"a": 1}], dtype=object))
    refused(relisted({**unzip(data), "vectors.npz": buffer.getvalue()}), "not a plain number", "vectors.npz")
    refused(relisted({**unzip(data), "vectors.npz": rezip({"windows.npy": b"\x80\x04."})}), "cannot be read")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 4}",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4'}",
        "[",
        "(" * 900,
        "'x'",
        "__import__('os')",
    ],
)
def test_array_headers(header: str) -> None:
    text = header.encode()
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(4)
    with pytest.raises(BundleError, match=r"'a\.npy' cannot be read"):
        read_arrays(rezip({"a.npy": content}), "vectors.npz")


def test_arrays_of_other_kinds_are_not_written() -> None:
    for value in (np.array(["text"]), np.array([1 + 2j]), np.array([{}], dtype=object)):
        with pytest.raises(BundleError, match="plain numbers"):
            write_arrays({"a": value})
    swapped = read_arrays(write_arrays({"a": np.arange(4, dtype=">f4").reshape(2, 2).T}), "x")["a"]
    assert swapped.tolist() == [[0, 2], [1, 3]]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, match in ((tmp_path / "none.bundle", "No such file"), (tmp_path, "directory")):
        with pytest.raises(BundleError, match=match):
            read_bundle(path)
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle("nul\0.bundle")
    with pytest.raises(BundleError, match="not a regular file"):
        read_bundle("/dev/null")


# Fuzz: loads or raises BundleError, never another -------------------------------------------------------------


def load_or_refuse(data: bytes) -> None:
    """What loads is what the manifest lists, to the byte."""
    try:
        bundle = parse_bundle(data)
    except BundleError as error:
        assert str(error)
        return
    assert bundle.manifest.labels
    assert hashlib.sha256(bundle.model).hexdigest() == bundle.manifest.members["model.tflite"].sha256


fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=8))
def test_fuzz_bytes_anywhere(data: bytes, changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(data)
    for at, value in changes:
        mutated[at % len(mutated)] = value
    load_or_refuse(bytes(mutated))


@fuzz
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=8))
def test_fuzz_zip_directory(data: bytes, changes: list[tuple[int, int]]) -> None:
    start = directory(data)
    mutated = bytearray(data)
    for at, value in changes:
        mutated[start + at % (len(mutated) - start)] = value
    load_or_refuse(bytes(mutated))


@fuzz
@given(
    name=st.sampled_from(["manifest.json", "vectors.npz", "head.npz", "card.json"]),
    changes=st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 1 << 30),
)
def test_fuzz_inside_members(data: bytes, name: str, changes: list[tuple[int, int]], cut: int) -> None:
    members = unzip(data)
    content = bytearray(members[name])
    for at, value in changes:
        content[at % len(content)] = value
    members[name] = bytes(content[: len(content) - cut % 40])
    if name == "manifest.json":
        load_or_refuse(rezip(members))
    else:
        load_or_refuse(relisted(members))


@fuzz
@given(st.binary(max_size=200))
def test_fuzz_noise(content: bytes) -> None:
    load_or_refuse(content)
    load_or_refuse(b"PK\x03\x04" + content)
