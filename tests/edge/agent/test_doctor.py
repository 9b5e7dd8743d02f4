"""`edge-agent check` as a doctor: each ill gets its fix, and what is well gets none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge import doctor
from edge.bundle import InputSpec
from edge.config import FileSink, MqttSink, NodeSettings, Settings
from edge.errors import RuntimeMissingError
from edge.pipeline import runtime
from edge.pipeline.golden import load_verified
from tests.edge.tiny import HOP, RATE_HZ, WINDOW, tiny_bundle


def test_the_clock():
    assert doctor.clock(doctor.TIME_ERROR).mark == "warn"
    assert "set-ntp" in doctor.clock(doctor.TIME_ERROR).fix
    assert doctor.clock(0).mark == doctor.clock(-1).mark == "ok"
    assert doctor.clock_state() in range(-1, 6), "this machine's own answer"


def test_the_processor():
    assert doctor.processor("aarch64", frozenset({"fp", "asimd", "asimddp"})).mark == "ok"
    old = doctor.processor("aarch64", frozenset({"fp", "asimd"}))
    assert (old.mark, "edge-agent bench" in old.fix) == ("warn", True)
    assert "avx2" in doctor.processor("x86_64", frozenset({"sse", "avx2"})).says
    assert doctor.processor("riscv64", frozenset()).mark == "ok", "nothing known is nothing said"
    assert doctor.cpu_name()


def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = Settings(
        node=NodeSettings(id="n", state_dir=tmp_path / "not" / "yet"),
        sink=(MqttSink(), FileSink(path=tmp_path / "results.jsonl")),
    )
    (found,) = doctor.disks(settings)
    assert str(tmp_path) in found.says
    for free, mark in ((1 << 40, "ok"), (1 << 28, "warn"), (1 << 20, "FAIL")):
        usage = type("usage", (), {"free": free, "total": 1 << 41})
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, usage=usage: usage)
        assert [f.mark for f in doctor.disks(settings)] == [mark]


def test_the_group_of_serial_ports():
    assert doctor.serial_group({"dialout", "pi"}, user=1000).mark == "ok"
    assert doctor.serial_group(set(), user=0).mark == "ok"
    assert "usermod -aG dialout" in doctor.serial_group({"pi"}, user=1000).fix
    assert doctor.own_groups() or os.geteuid() == 0


def test_the_runtime(monkeypatch: pytest.MonkeyPatch):
    assert doctor.runtime().mark == "ok"

    def none() -> None:
        raise RuntimeMissingError("no TFLite runtime: x; install ai-edge-litert or tflite-runtime")

    monkeypatch.setattr(runtime, "_runtime", none)
    assert doctor.runtime() == doctor.Finding(
        "runtime", False, "no TFLite runtime: x", "install ai-edge-litert or tflite-runtime"
    )


def test_the_certificate():
    end = "Jun  1 12:00:00 2030 GMT"
    at = 1_906_545_600.0
    assert doctor.certificate(end, at - 40 * 86_400).mark == "ok"
    near = doctor.certificate(end, at - 10 * 86_400)
    assert near.mark == "warn"
    assert "10 more days" in near.says


def test_the_speed(tmp_path: Path):
    assert doctor.throughput(*load_verified(tiny_bundle(tmp_path / "a.bundle"))).mark == "ok"
    hopeless = InputSpec(("ecg",), "uV", RATE_HZ * 1e4, WINDOW, HOP)
    slow = doctor.throughput(*load_verified(tiny_bundle(tmp_path / "b.bundle", input=hopeless)))
    assert slow.mark == "FAIL"
    assert "smaller bundle" in slow.fix


def test_an_error_without_advice_is_told_whole():
    assert doctor.failed("x", ValueError("what; do this")) == doctor.Finding("x", False, "what", "do this")
    assert doctor.failed("x", ValueError()) == doctor.Finding("x", False, "ValueError")
