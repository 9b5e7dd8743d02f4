"""The command edge-agent: what it prints, its exit codes, and that mistakes end in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge.bundle.signing import generate_keys, load_private_key
from edge.types import Result
from firmware_bridge.messages import Channel
from firmware_bridge.recordings import Recording, write_recording
from tests.edge.agent.helpers import signal
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle

WINDOWS = (400 - WINDOW) // HOP + 1


def edge_agent(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: exit codes and standard error as a user meets them."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WAVEWALL_")}
    return subprocess.run(
        [sys.executable, "-m", "edge.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "NO_COLOR": "1", "COLUMNS": "200", **env},
    )


def fails(done: subprocess.CompletedProcess[str], code: int, *says: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for text in says:
        assert text in done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, a signed one with its keys, and two records."""
    made = tmp_path_factory.mktemp("cli")
    tiny_bundle(made / "tiny.bundle")
    generate_keys(made / "key", made / "key.pub")
    generate_keys(made / "other", made / "other.pub")
    tiny_bundle(made / "signed.bundle", signing_key=load_private_key(made / "key"))
    (made / "records").mkdir()
    for name, seed in (("rec-1", 1), ("rec-2", 2)):
        record = Recording(name, RATE_HZ, (Channel("ecg", "uV"),), analog=signal(400, seed)[:, None])
        write_recording(record, made / "records" / f"{name}.npz")
    return made


def test_help_of_every_command():
    top = edge_agent("--help")
    assert top.returncode == 0
    for name in ("run", "check", "replay", "ports", "schema", "verify", "bench", "subscribe", "demo"):
        assert name in top.stdout
        one = edge_agent(name, "--help") if name != "demo" else top
        assert one.returncode == 0
    assert "--mqtt-keepalive-s" in edge_agent("run", "--help").stdout
    assert "mqtt-password " not in edge_agent("run", "--help").stdout


def test_replay_prints_one_result_a_line(folder: Path):
    done = edge_agent(
        "replay", folder / "records", "--record", "rec-2", "--bundle", folder / "tiny.bundle", "--json"
    )
    assert done.returncode == 0, done.stderr
    got = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["seq"] for r in got] == list(range(WINDOWS))
    schema = json.loads(edge_agent("schema", "result").stdout)
    for each in got:
        jsonschema.validate(each, schema)
    assert set(got[0]) == set(schema["required"])  # and no `prev`: these form no chain
    assert set(got[0]["window"]) == {"t0", "n", "rate_hz", "missing", "crc_errors"}


def test_replay_for_people_plays_every_record(folder: Path):
    done = edge_agent("replay", folder / "records", "--bundle", folder / "tiny.bundle")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2 * WINDOWS
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"rec-1", "rec-2"}


def test_replay_mistakes(folder: Path, tmp_path: Path):
    bundle = folder / "tiny.bundle"
    fails(
        edge_agent("replay", folder / "records", "--record", "rec-3", "--bundle", bundle),
        1,
        "no record 'rec-3'",
        "did you mean",
    )
    fails(edge_agent("replay", tmp_path / "none.zip", "--bundle", bundle), 1, "none.zip", "no such file")
    (tmp_path / "no.zip").write_bytes(b"not a zip")
    fails(edge_agent("replay", tmp_path / "no.zip", "--bundle", bundle), 1, "no.zip")
    (tmp_path / "ragged.tsv").write_text("1\t0.5\t0.25\n1\t0.5\n")
    fails(edge_agent("replay", tmp_path / "ragged.tsv", "--bundle", bundle), 1, "ragged.tsv")
    fails(
        edge_agent("replay", folder / "records", "--bundle", tmp_path / "none.bundle"),
        1,
        "none.bundle",
        "no such file",
    )
    fails(edge_agent("replay", folder / "records", "--bundle", "tinny"), 1, "no bundle is called 'tinny'")
    fails(
        edge_agent("replay", folder / "records", "--bundle", bundle, "--stream", "a/b"), 2, "--stream 'a/b'"
    )
    fails(edge_agent("replay"), 2, "give a RECORDING")


def test_replay_of_the_wrong_channel_says_so(folder: Path, tmp_path: Path):
    record = Recording("r", RATE_HZ, (Channel("resp", "uV"),), analog=signal(400)[:, None])
    write_recording(record, tmp_path / "r.npz")
    fails(
        edge_agent("replay", tmp_path / "r.npz", "--bundle", folder / "tiny.bundle"),
        1,
        "'resp'",
        "'ecg'",
        "no window",
    )


def test_verify_prints_and_checks_everything(folder: Path):
    done = edge_agent("verify", folder / "tiny.bundle")
    assert done.returncode == 0, done.stderr
    for text in (
        "tiny@1.0.0",
        "normal, other, noise",
        "remove_dc",
        "ok: every hash",
        "not signed",
        "card: intended_use: tests",
    ):
        assert text in done.stdout
    facts = json.loads(
        edge_agent("verify", folder / "signed.bundle", "--key", folder / "key.pub", "--json").stdout
    )
    assert (facts["signed"], facts["verified"], facts["golden_windows"]) == (True, True, 3)
    assert facts["manifest"]["name"] == "tiny"


def test_verify_mistakes(folder: Path, tmp_path: Path):
    fails(edge_agent("verify", folder / "signed.bundle", "--key", folder / "other.pub"), 1, "signature")
    fails(edge_agent("verify", folder / "tiny.bundle", "--key", folder / "key.pub"), 1, "signature")
    data = bytearray((folder / "tiny.bundle").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.bundle").write_bytes(data)
    fails(edge_agent("verify", tmp_path / "bad.bundle"), 1, "bad.bundle")
    (tmp_path / "short.bundle").write_bytes(bytes(data[: len(data) // 3]))
    fails(edge_agent("verify", tmp_path / "short.bundle"), 1, "short.bundle")
    fails(edge_agent("verify", tmp_path / "none.bundle"), 1, "no such file")
    fails(edge_agent("verify", folder / "tiny.bundle", "--key", tmp_path / "none.pub"), 1, "none.pub")


@pytest.mark.parametrize("what", ["config", "result", "manifest"])
def test_schema(what: str):
    done = edge_agent("schema", what)
    assert done.returncode == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


def test_schema_mistake():
    fails(edge_agent("schema", "cofig"), 2, "cofig")


def test_ports():
    done = edge_agent("ports", "--json")
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), list)
    assert edge_agent("ports").stdout


def test_bench(folder: Path):
    done = edge_agent("bench", "--bundle", folder / "tiny.bundle", "--seconds", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["windows"] >= 3
    assert figures["p99_ms"] >= figures["p50_ms"] > 0
    assert figures["rss_mb"] > 10
    assert (
        "live streams" in edge_agent("bench", "--bundle", folder / "tiny.bundle", "--seconds", "0.1").stdout
    )


def test_run_mistakes(folder: Path, tmp_path: Path):
    config = tmp_path / "agent.toml"
    config.write_text("[mqtt]\nport = = 3\n")
    fails(edge_agent("run", config), 2, "agent.toml", "line 2")
    config.write_text("[mqtt]\nprot = 3\n")
    fails(edge_agent("run", config), 2, "did you mean 'port'?")
    fails(edge_agent("run", "--mqtt-prot", "3"), 2, "--mqtt-prot")
    fails(edge_agent("run", "--mqtt-port", "x"), 2, "--mqtt-port: mqtt.port = 'x'")
    fails(edge_agent("run", "--bundle", "nope"), 1, "no bundle is called 'nope'")
    fails(edge_agent("run", WAVEWALL_MQTT_PORT="x"), 2, "WAVEWALL_MQTT_PORT: mqtt.port = 'x'")
    fails(edge_agent("run", tmp_path / "none.toml"), 2, "none.toml")
    fails(
        edge_agent("run", "--bundle", folder / "tiny.bundle", "--source", "replay:none.zip"),
        2,
        "source.0 (replay)",
    )


def test_run_of_a_replay_to_standard_output(folder: Path):
    words: list[Any] = ["run", "--bundle", folder / "tiny.bundle", "--sink", "stdout", "--node", "gw7"]
    done = edge_agent(*words, "--source", f"replay:{folder / 'records'},records=rec-1")
    assert done.returncode == 0, done.stderr
    got = [Result.from_json(line) for line in done.stdout.splitlines()]
    assert len(got) == WINDOWS
    assert "ready in" in done.stderr
    replayed = edge_agent(
        "replay",
        folder / "records",
        "--record",
        "rec-1",
        "--bundle",
        folder / "tiny.bundle",
        "--node",
        "gw7",
        "--json",
    )
    same = [Result.from_json(line) for line in replayed.stdout.splitlines()]
    assert [(r.id, r.seq, r.probabilities) for r in got] == [(r.id, r.seq, r.probabilities) for r in same]


def test_check_says_one_line_for_each_part(folder: Path, tmp_path: Path):
    words: list[Any] = [
        "check",
        "--bundle",
        folder / "tiny.bundle",
        "--mqtt-port",
        "9",
        "--mqtt-connect-timeout-s",
        "0.5",
    ]
    sources = ["--source", "serial:/dev/none", "--source", f"replay:{folder / 'records'}"]
    sinks = ["--sink", "mqtt", "--sink", f"file:{tmp_path / 'no' / 'x'}", "--sink", f"file:{tmp_path / 'x'}"]
    done = edge_agent(*words, *sources, *sinks)
    assert done.returncode == 1
    rows = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    lines = {line.split()[1]: line for line in rows}
    parts = ["config", "bundle", "speed", "runtime", "cpu", "clock", "disk", "group"]
    assert list(lines) == [*parts, "source.0", "source.1", "broker", "sink.1", "sink.2"]
    bad = {name for name, line in lines.items() if line.startswith("FAIL")}
    assert bad == {"source.0", "broker", "sink.1"}
    fixes = "\n".join(line for line in done.stdout.splitlines() if line.startswith(" "))
    for fix in ("start a broker there", "create it"):
        assert fix in fixes
    assert "plug the device in" in lines["source.0"] + fixes
    assert "nobody listens there" in lines["broker"]


def test_check_good(folder: Path, tmp_path: Path):
    words: list[Any] = [
        "check",
        "--bundle",
        folder / "tiny.bundle",
        "--sink",
        f"file:{tmp_path / 'x'}",
        "--json",
    ]
    done = edge_agent(*words, "--source", f"replay:{folder / 'records'},records=rec-1")
    assert done.returncode == 0
    assert all(finding["ok"] for finding in json.loads(done.stdout))


def test_subscribe_mistakes():
    fails(edge_agent("subscribe", "--stream", "a/b"), 2, "--stream 'a/b'")
    done = edge_agent("subscribe", "--mqtt-port", "9", "--timeout-s", "0.5")
    fails(done, 1, "no result within 0.5 s", "nobody listens there")
