"""`edge-agent init`: a first configuration, each answer tried before it is written."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edge.config import Settings

UNIT_FOLDER = Path("/etc/systemd/system")


@dataclass(frozen=True)
class Answers:
    """What is asked for; `port` "mqtt" means that samples come from the broker."""

    node: str
    port: str
    broker: str
    stream: str
    bundle: str

    def text(self) -> str:
        """The configuration file."""
        host, _, port = self.broker.rpartition(":") if ":" in self.broker else (self.broker, "", "1883")
        quoted = {name: json.dumps(value) for name, value in vars(self).items()}
        source = [f'kind = "mqtt"\nstreams = [{quoted["stream"]}]' if self.stream else 'kind = "mqtt"']
        if self.port != "mqtt":
            source = ['kind = "serial"', f"port = {quoted['port']}"]
            source += [f"stream = {quoted['stream']}"] if self.stream else []
        bundle = "path" if "/" in self.bundle or self.bundle.endswith(".bundle") else "name"
        lines = [
            "# Written by edge-agent init. Every setting there is: edge-agent schema, or docs/config.md.",
            f"\n[node]\nid = {quoted['node']}",
            f"\n[mqtt]\nhost = {json.dumps(host)}\nport = {port or 1883}",
            f"\n[bundle]\n{bundle} = {quoted['bundle']}",
            "\n[[source]]\n" + "\n".join(source),
            '\n[[sink]]\nkind = "mqtt"',
        ]
        return "\n".join(lines) + "\n"


def init(
    config: Path = typer.Argument(
        Path("agent.toml"), metavar="CONFIG.toml", help="File to write.", show_default=True
    ),
    *,
    port: str | None = typer.Option(
        None, "--port", metavar="PORT", help="Serial port, auto, or mqtt: samples come from the broker."
    ),
    broker: str | None = typer.Option(None, "--broker", metavar="HOST[:PORT]", help="MQTT broker."),
    stream: str | None = typer.Option(
        None, "--stream", metavar="ID", help="Name of the stream. Default: the device's own; on MQTT all."
    ),
    bundle: str | None = typer.Option(
        None, "--bundle", metavar="NAME|FILE", help="Shipped bundle or bundle file."
    ),
    node: str | None = typer.Option(None, "--node", metavar="ID", help="Name of this gateway."),
    unit: Path | None = typer.Option(
        None,
        "--unit",
        metavar="FILE",
        help="Also write a systemd unit for this installation and configuration.",
    ),
    yes: bool = typer.Option(False, "--yes", help="Ask nothing: flags, else defaults."),
    anyway: bool = typer.Option(
        False,
        "--anyway",
        help="Write it although something does not answer yet, say a board to be plugged in.",
    ),
    force: bool = typer.Option(False, "--force", help="Replace the file where it exists."),
) -> None:
    """Write a first configuration: asks for what no flag gives, tries each answer, offers a systemd unit."""
    from edge.settings import ConfigError

    if config.exists() and not force:
        raise ConfigError(f"{config} exists; name another file, or replace it with --force")
    ask = not yes
    if ask and not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on; give the flags and --yes")
    answers = _gather({"node": node, "port": port, "broker": broker, "stream": stream, "bundle": bundle}, ask)
    good = _try_all(answers)
    if not good and not anyway and not (ask and typer.confirm("Write it anyway?", default=False)):
        typer.echo(f"nothing written; put it right, or write {config} with --anyway", err=True)
        raise typer.Exit(1)
    _write(config, answers.text(), 0o644)
    typer.echo(f"wrote {config}; start with: edge-agent run {config}")
    if ask and unit is None and os.geteuid() == 0 and UNIT_FOLDER.is_dir():
        place = UNIT_FOLDER / "wavewall-agent.service"
        if not place.exists() and typer.confirm(
            f"Write {place}, so that it starts with the system?", default=True
        ):
            unit = place
    if unit is not None:
        _write(unit, unit_text(config.resolve()), 0o644)
        typer.echo(f"wrote {unit}; systemctl daemon-reload && systemctl enable --now {unit.stem}")


def _gather(given: dict[str, str | None], ask: bool) -> Answers:
    import socket

    from edge.names import to_name
    from edge.zoo import names

    defaults = {
        "node": to_name(socket.gethostname(), "gateway"), "port": _likely_port(), "broker": "localhost:1883",
        "stream": "", "bundle": "ecg-rhythm",
    }  # fmt: skip
    questions = {
        "node": "Name of this gateway on the broker",
        "port": "Serial port (auto: the only one; mqtt: samples come from the broker)",
        "broker": "MQTT broker, HOST[:PORT]",
        "stream": "Name of the stream (empty: the device's own)",
        "bundle": f"Model ({', '.join(names())}, or a file)",
    }
    out: dict[str, str] = {}
    for key, default in defaults.items():
        value = given[key]
        while value is None:
            value = (
                typer.prompt(questions[key], default=default, show_default=bool(default)) if ask else default
            )
        out[key] = value.strip()
    return Answers(**out)


def _likely_port() -> str:
    """The one port on USB, by the name that outlasts replugging; else samples come from MQTT."""
    from firmware_bridge.ports import list_ports

    usb = [port for port in list_ports() if port.usb_id]
    return usb[0].device if len(usb) == 1 else "mqtt"


def _try_all(answers: Answers) -> bool:
    """Show `edge-agent check`'s findings; True where all is well."""
    from edge.cli.check import examine

    findings = list(examine(settings_of(answers)))
    for finding in findings:
        typer.echo(f"{finding.mark:<4}  {finding.part:<10}  {finding.says}")
        if finding.fix:
            typer.echo(f"{'':<18}fix: {finding.fix}")
    return all(finding.ok for finding in findings)


def settings_of(answers: Answers) -> Settings:
    """The settings that the file will give. Raises ConfigError."""
    import tempfile

    from edge.settings import load_settings

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.toml"
        path.write_text(answers.text(), encoding="utf-8")
        return load_settings(path)


def unit_text(config: Path) -> str:
    """The shipped unit for this very installation: its program, `config`, and a user of systemd's making."""
    import pwd

    program = Path(sys.argv[0]).absolute()
    owner = program.stat().st_uid if program.exists() else 0
    changes = {
        "/opt/wavewall/bin/edge-agent": str(program),
        "/etc/wavewall/agent.toml": str(config),
        "Documentation=file:///usr/share/doc/wavewall\n": "",
        "User=wavewall": "DynamicUser=yes" if owner == 0 else f"User={pwd.getpwuid(owner).pw_name}",
    }
    if any(path.parts[1:2] in (("home",), ("root",)) for path in (program, config)):
        changes["ProtectHome=yes"] = "ProtectHome=read-only"
    text = resources.files("edge.units").joinpath("wavewall-agent.service").read_text("utf-8")
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def _write(path: Path, text: str, mode: int) -> None:
    from edge.settings import ConfigError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; choose a place where you may write") from error


def register(app: typer.Typer) -> None:
    app.command("init")(init)
