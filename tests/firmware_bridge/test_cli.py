"""The command line as people use it: in other processes, with mistakes, with a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from firmware_bridge.capture import read_raw
from firmware_bridge.cli import app, main, ports
from firmware_bridge.messages import Channel
from firmware_bridge.port_list import PortInfo
from firmware_bridge.recordings import Recording, open_recordings, write_recording
from firmware_bridge.simulated_device import DeviceSettings
from firmware_bridge.simulator import Simulator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

PROGRAM = [sys.executable, "-c", "import sys; from firmware_bridge.cli import main; sys.exit(main())"]
Call = Callable[..., tuple[int, str, str]]
SIGNAL = (np.sin(np.arange(900) / 9) * 500).astype(np.int16)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rec") / "sine.npz"
    write_recording(Recording("sine", 300.0, (Channel("ecg", "uV", 0.5),), digital=SIGNAL[:, None]), path)
    return path


def run(*words: str | Path, **kwargs: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=60, **kwargs)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextmanager
def device(link: Path, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """`firmware-bridge simulate ... --pty link`, ready to be opened."""
    process = subprocess.Popen(
        [*PROGRAM, "simulate", *map(str, words), "--pty", str(link)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "begins when the port is opened" in process.stdout.readline()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process: exit code, standard output, standard error."""

    def go(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["firmware-bridge", *map(str, words)])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return go


def test_simulate_and_monitor_json(tmp_path: Path, recording: Path, call: Call):
    link = tmp_path / "tty"
    with device(link, recording, "--speed", "10", "--drop", "0.1", "--seed", "3"):
        code, out, _ = call("monitor", link, "--json", "--seconds", "1")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    kinds = {line["type"] for line in lines}
    assert {"hello", "samples", "summary"} <= kinds
    last = lines[-1]
    assert (last["type"], last["device_id"], last["rate_hz"]) == ("summary", "sim-1", 300.0)
    assert last["gaps"] > 0
    assert any(abs(value) <= 250 for value in last["last"])
    assert not link.is_symlink()


def test_monitor_without_a_terminal_prints_lines(recording: Path, call: Call):
    with Simulator(open_recordings(recording), csv=True, speed=0) as sim:
        code, out, _ = call("monitor", sim.port, "--seconds", "0.5")
    assert code == 0
    assert "dialect: csv" in out
    assert "channels: ecg" in out


def test_monitor_on_a_terminal_is_a_table(recording: Path):
    master, slave = os.openpty()
    try:
        with Simulator(open_recordings(recording), speed=0) as sim:
            words = [*PROGRAM, "monitor", sim.port, "--seconds", "0.5"]
            environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
            process = subprocess.Popen(words, stdout=slave, stderr=subprocess.PIPE, env=environment)
            assert process.wait(30) == 0, process.stderr
        shown = os.read(master, 1 << 16).decode()
    finally:
        os.close(master)
        os.close(slave)
        assert process.stderr is not None
        process.stderr.close()
    assert "│ nominal rate │ 300 Hz" in shown


@pytest.mark.parametrize("suffix", ["hea", "npz", "csv"])
def test_record_gives_back_what_was_played(tmp_path: Path, recording: Path, call: Call, suffix: str):
    with Simulator(open_recordings(recording), speed=0, settings=DeviceSettings(pack=True)) as sim:
        code, _, err = call("record", sim.port, tmp_path / f"out.{suffix}", "--seconds", "0.5")
    assert code == 0, err
    back = open_recordings(tmp_path / f"out.{suffix}").read("out")
    assert np.array_equal(back.physical[:, 0], SIGNAL.astype(np.float32) * 0.5)
    assert back.rate_hz == 300.0


def test_nothing_recorded_is_a_failure(tmp_path: Path, recording: Path, call: Call):
    with Simulator(open_recordings(recording), drop=1.0) as sim:
        code, out, _ = call("record", sim.port, tmp_path / "x.npz", "--seconds", "0.1")
    assert (code, list(tmp_path.iterdir())) == (1, [])
    assert "nothing to write" in out


def test_raw_capture_is_replayed_to_the_byte(tmp_path: Path, recording: Path, call: Call):
    first, second, link = tmp_path / "a.raw", tmp_path / "b.raw", tmp_path / "tty"
    with Simulator(open_recordings(recording), speed=0) as sim:
        assert call("record", sim.port, first, "--seconds", "0.5")[0] == 0
    with device(link, first, "--speed", "0"):
        assert call("record", link, second, "--seconds", "1")[0] == 0
    played, again = (b"".join(data for _, data in read_raw(path)) for path in (first, second))
    assert len(played) > 1800
    assert played == again


def test_forward_to_a_real_broker(recording: Path, mosquitto: int, call: Call):
    with Simulator(open_recordings(recording), speed=4) as sim:
        code, out, err = call("forward", sim.port, "--broker", f"127.0.0.1:{mosquitto}", "--seconds", "1.2")
    assert code == 0, err
    assert int(out.split()[1]) >= 2
    assert "0 messages dropped" in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_simulate_ends_cleanly_on_a_signal(tmp_path: Path, recording: Path, number: int):
    link = tmp_path / "tty"
    with device(link, recording) as process:
        process.send_signal(number)
        assert process.wait(5) == 0
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["simulate", "none.zip"], "no such file or folder"),
        (["simulate", "REC", "--record", "other"], "no record 'other'"),
        (["simulate", "REC", "--fault", "foo=1"], "unknown fault 'foo'"),
        (["simulate", "REC", "--drop", "2"], "probability"),
        (["simulate", "REC", "--speed", "-1"], "speed"),
        (["simulate", "REC", "--key", "none.key"], "none.key"),
        (["simulate", "REC", "--pty", "/none/tty"], "cannot make the link"),
        (["simulate", "REC", "--device-id", "gerät"], "device id"),
        (["monitor", "/none/tty"], "is not there"),
        (["monitor", "serial:XYZ"], "serial number 'XYZ'"),
        (["record", "/none/tty", "x.wav"], "written as"),
        (["record", "/none/tty", "none/x.npz"], "no such folder"),
        (["forward", "/none/tty", "--broker", "host:x"], "not HOST or HOST:PORT"),
        (["forward", "/none/tty", "--node", "a/b"], "cannot be part of a topic"),
        (["keygen", "/none/x.key"], "/none/x.key"),
    ],
)
def test_mistakes_end_in_one_sentence(
    words: list[str],
    says: str,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(*[recording if word == "REC" else word for word in words])
    assert code == 1
    assert err.startswith("error: ")
    assert says in err
    assert len(err.splitlines()) == 1


def test_no_traceback_in_a_process_of_its_own(tmp_path: Path):
    done = run("simulate", "none.zip", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: none.zip: no such file or folder\n")


def test_wrong_dialect_is_a_usage_error():
    done = CliRunner().invoke(app, ["monitor", "/none", "--dialect", "morse"])
    assert done.exit_code == 2


def test_keygen(tmp_path: Path):
    done = CliRunner().invoke(app, ["keygen", str(tmp_path / "d.key")])
    assert done.exit_code == 0
    assert os.stat(tmp_path / "d.key").st_mode & 0o777 == 0o600
    assert (tmp_path / "d.key").read_text().strip() not in done.output


def test_ports(monkeypatch: pytest.MonkeyPatch):
    found = [PortInfo("/dev/ttyUSB0", "x", 0x1A86, 0x7523, "S1", "CH340 bridge", "join group dialout: ...")]
    monkeypatch.setattr("firmware_bridge.port_list.list_ports", lambda: found)
    text = CliRunner().invoke(app, ["ports"]).output
    assert "/dev/ttyUSB0  1a86:7523  CH340 bridge  serial:S1" in text
    assert "join group dialout" in text
    (row,) = json.loads(CliRunner().invoke(app, ["ports", "--json"]).output)
    assert (row["usb_id"], row["hint"]) == ("1a86:7523", "join group dialout: ...")
    monkeypatch.setattr("firmware_bridge.port_list.list_ports", list)
    assert "no serial ports" in CliRunner().invoke(app, ["ports"]).output
    assert ports.ports.__doc__


def test_help_is_quick_and_light():
    began = time.monotonic()
    done = run("--help")
    assert done.returncode == 0
    assert time.monotonic() - began < 10
    code = "import sys; import firmware_bridge.cli; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert not {"numpy", "serial", "paho", "wfdb", "edfio", "edge"} & set(loaded)
