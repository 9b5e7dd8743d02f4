"""Canaries: a secret that the agent was given appears nowhere but on the wire to the broker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from edge.config import MqttSettings, Settings
from edge.mqtt_setup import password_of
from edge.settings import ConfigError, _readable, env_name, load_settings, scalar_settings, takes_flag
from tests.integration.rig import AgentProcess, Broker, agent, wait_for

CANARY = "canary-5f2c9e"


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Broker]:
    """A broker that lets `gw1` in, with the canary for a password, and anyone look on as `viewer`."""
    users = tmp_path / "users"
    program = shutil.which("mosquitto_passwd")
    assert program, "mosquitto is not installed; run: make deps"
    subprocess.run([program, "-b", "-c", str(users), "gw1", CANARY], check=True)
    subprocess.run([program, "-b", str(users), "viewer", "viewer"], check=True, stderr=subprocess.DEVNULL)
    users.chmod(0o600)
    made = Broker(tmp_path, "allow_anonymous false", f"password_file {users}")
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=["file", "environment", "toml"])
def given(
    request: pytest.FixtureRequest, locked: Broker, bundle: Path, tmp_path: Path
) -> tuple[list[str], dict[str, str]]:
    """Words and environment that hand the secret over in each way that there is."""
    words = ["--bundle-path", str(bundle), "--mqtt-port", str(locked.port), "--node", "gw1"]
    words += ["--mqtt-username", "gw1", "--log-level", "debug", "--requests-enabled", "true"]
    if request.param == "environment":
        return words, {"WAVEWALL_MQTT_PASSWORD": CANARY}
    secret = tmp_path / "secret"
    secret.write_text(f"{CANARY}\n" if request.param == "file" else f'[mqtt]\npassword = "{CANARY}"\n')
    secret.chmod(0o600)
    if request.param == "file":
        return [*words, "--mqtt-password-file", str(secret)], {}
    return [str(secret), *words], {}


def everything_said(running: AgentProcess) -> str:
    """What the process shows to others of this machine, and what it wrote."""
    line = Path(f"/proc/{running.process.pid}/cmdline").read_bytes().decode(errors="replace")
    return running.said() + line


def test_a_running_agent_says_it_nowhere(
    locked: Broker, given: tuple[list[str], dict[str, str]], tmp_path: Path
):
    words, env = given
    login = ["-p", str(locked.port), "-u", "viewer", "-P", "viewer", "-V", "5", "-W", "10"]
    commands = []
    for topic in ("info", "health"):
        response = f"wavewall/gw1/response/{topic}"
        commands.append(["mosquitto_rr", *login, "-t", f"wavewall/gw1/request/{topic}", "-e", response, "-n"])
        commands.append(["mosquitto_sub", *login, "-t", f"wavewall/gw1/{topic}", "-C", "1"])
    with agent(tmp_path, *words, env=env) as running:
        wait_for(lambda: running.said().count("connected as") == 2, "both connections")
        published = ""
        for command in commands:
            published += subprocess.run(command, check=True, capture_output=True, text=True).stdout
        said = everything_said(running)
        locked.stop()  # what is said in an outage
        wait_for(lambda: "trying again" in running.said(), "the outage")
    assert published.count('"ok":true') == 2
    assert "wavewall.info/1" in published
    assert "wavewall.health/1" in published
    assert CANARY not in published + said + running.said()


def test_a_refused_login_says_it_nowhere(
    locked: Broker, given: tuple[list[str], dict[str, str]], tmp_path: Path
):
    words, env = given
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WAVEWALL_")}
    wrong = [word if word != "gw1" else "nobody" for word in words]
    wrong = [word for word in wrong if word not in ("--requests-enabled", "true")]
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "check", *wrong],
        env={**clean, **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Not authorized" in done.stdout
    assert CANARY not in done.stdout + done.stderr


def test_a_traceback_says_it_nowhere(bundle: Path, tmp_path: Path):
    """The worst case: a bug while the connection is being made, with the settings at hand."""
    code = (
        "import sys, edge.mqtt_link as m\n"
        "m.aim = lambda client, settings, lasting: [][settings]\n"
        "from edge.cli import main\n"
        "main()\n"
    )
    words = [
        "run",
        "--bundle-path",
        str(bundle),
        "--mqtt-username",
        "u",
        "--source",
        "mqtt",
        "--sink",
        "stdout",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "WAVEWALL_MQTT_PASSWORD": CANARY},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = ""
    assert process.stdout is not None
    while "TypeError" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.terminate()
    said += process.communicate(timeout=20)[0]
    assert "Traceback" in said
    assert CANARY not in said


@pytest.mark.parametrize(
    ("env", "flags", "overrides"),
    [
        ({}, {}, [f"mqtt.password={CANARY}"]),
        ({"WAVEWALL_MQTT_PASWORD": CANARY}, {}, []),
        ({"WAVEWALL_MQTT_PASSWORD": CANARY, "WAVEWALL_MQTT_PORT": "x"}, {}, []),
        ({}, {"mqtt.host": f"u:{CANARY}@broker"}, []),
        ({}, {"mqtt.host": f"mqtt://u:{CANARY}@broker:1883"}, []),
        ({}, {"mqtt.port": f"u:{CANARY}@1883"}, []),
        ({}, {"cluster.servers": f"nats://u:{CANARY}@n1:4222"}, []),
    ],
)
def test_a_configuration_error_says_it_nowhere(
    env: dict[str, str], flags: dict[str, str], overrides: list[str]
):
    with pytest.raises(ConfigError) as caught:
        load_settings(None, env, flags, overrides)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[mqtt]\npassword = {}\n",
        "[mqtt]\npassword = {} # \n[mqtt]\n",
        '[mqtt]\npasword = "{}"\n',
        'mqtt = "mqtt://u:{}@broker"\n',
        '[mqtt]\npassword = ["{}"]\n',
    ],
)
def test_a_broken_file_says_it_nowhere(text: str, tmp_path: Path):
    path = tmp_path / "agent.toml"
    path.write_text(text.format(CANARY))
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert CANARY not in str(caught.value)


SECRETS = [name for name, field in scalar_settings() if not takes_flag(field)]


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("broken", [["{}"], {"a": "{}"}])
def test_no_secret_setting_is_shown_when_it_is_wrong(name: str, broken: object):
    section, _, key = name.partition(".")
    text = json.loads(json.dumps(broken).replace("{}", CANARY))
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({section: {key: text}})
    assert CANARY not in str(_readable(caught.value, None, {}))
    with pytest.raises(ConfigError, match="command line"):
        load_settings(None, {}, {}, [f"{name}={CANARY}"])
    made = load_settings(None, {env_name(name): CANARY})
    assert CANARY not in repr(made) + made.model_dump_json()


def test_every_secret_that_there_is_is_known_here():
    assert {"mqtt.password", "dashboard.token"} <= set(SECRETS)


def test_settings_as_text_hide_it():
    settings = load_settings(None, {"WAVEWALL_MQTT_PASSWORD": CANARY})
    shown = repr(settings) + str(settings) + json.dumps(settings.model_dump(mode="json"))
    assert CANARY not in shown


@pytest.mark.parametrize(
    ("mode", "by_systemd", "taken"),
    [(0o600, False, True), (0o400, False, True), (0o640, False, False), (0o604, False, False),
     (0o440, True, True), (0o444, True, False)],
)  # fmt: skip
def test_a_file_with_a_secret_is_closed_to_others(
    mode: int, by_systemd: bool, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "mqtt-password"
    path.write_text(CANARY)
    path.chmod(mode)
    if by_systemd:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = MqttSettings(username="u", password_file=path)
    if taken:
        assert password_of(settings) == CANARY
    else:
        with pytest.raises(ConfigError, match="lets others read it"):
            password_of(settings)
