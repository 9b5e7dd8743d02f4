"""`edge-agent check`: would `run` work with these settings? One line for each part."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edge.cli.options import with_settings
from edge.config import FileSink, MqttSettings, MqttSink, MqttSource, ReplaySource, SerialSource, Settings
from edge.doctor import Finding, certificate, failed, machine, throughput
from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.bundle import InputSpec


def check(
    settings: Settings,
    json_out: bool = typer.Option(False, "--json", help="The findings as a JSON array."),
) -> None:
    """Check configuration, bundle, machine, ports, broker and files, each with its fix; exit code 1 where `run` could
    not work.
    """
    findings = list(examine(settings))
    if json_out:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{finding.mark:<4}  {finding.part:<10}  {finding.says}")
            if finding.fix:
                typer.echo(f"{'':<18}fix: {finding.fix}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order of the samples' way."""
    yield Finding(
        "config", True, f"node {settings.node.id}, topics below {settings.node.base}/{settings.node.id}/"
    )
    spec: InputSpec | None = None
    try:
        from edge.build import load_bundle

        bundle, classifier = load_bundle(settings.bundle)
        spec = bundle.manifest.input
        yield Finding("bundle", True, f"{bundle.manifest.ref}: every check passed")
        yield throughput(bundle, classifier)
    except Exception as error:
        yield failed("bundle", error)
    yield from machine(settings)
    for at, source in enumerate(settings.source):
        if isinstance(source, SerialSource):
            yield _try(f"source.{at}", lambda source=source: _port(source))  # type: ignore[misc]
        elif isinstance(source, ReplaySource) and spec is not None:
            yield _try(f"source.{at}", lambda source=source, spec=spec: _recording(source, spec))  # type: ignore[misc]
    if any(isinstance(part, (MqttSource, MqttSink)) for part in (*settings.source, *settings.sink)):
        name = f"{settings.node.base}-{settings.node.id}-check"
        answer = _try("broker", lambda: _broker(settings.mqtt, name))
        yield answer
        yield from _tls(settings.mqtt, answer.ok)
    for at, sink in enumerate(settings.sink):
        if isinstance(sink, FileSink):
            yield _try(f"sink.{at}", lambda sink=sink: _file(sink.path))  # type: ignore[misc]


def _try(part: str, look: Callable[[], str]) -> Finding:
    from firmware_bridge.errors import FirmwareBridgeError

    try:
        return Finding(part, True, look())
    except (EdgeError, FirmwareBridgeError, OSError) as error:
        return failed(part, error)


def _port(source: SerialSource) -> str:
    from firmware_bridge.serial_stream import SerialStream

    stream = SerialStream(source.port, source.baud)
    stream.open()
    try:
        return f"{stream.device} opens at {source.baud} baud"
    finally:
        stream.close()


def _recording(source: ReplaySource, spec: InputSpec) -> str:
    from edge.sources.replay import open_set, read

    records = open_set(source.recording, spec, source.rate_hz)
    for name in source.records:
        read(records, name)
    return f"{source.recording}: {len(source.records) or len(records)} records"


def _broker(settings: MqttSettings, client_id: str) -> str:
    from edge.mqtt_link import BrokerError, MqttLink

    link, stop = MqttLink(settings, client_id, quiet=True), threading.Event()
    thread = threading.Thread(target=link.run, args=(stop,), daemon=True)
    thread.start()
    until = time.monotonic() + settings.connect_timeout_s + 1.0
    connected, why = False, ""
    while not connected and not why and time.monotonic() < until:
        connected, why = link.wait_connected(0.05), link.last_error
    stop.set()
    thread.join(2.0)
    if not connected:
        raise BrokerError(
            f"{link.place}: {why or 'no answer'}; start a broker there or set mqtt.host and mqtt.port"
        )
    return f"{link.place} answers, MQTT {settings.version}"


def _tls(settings: MqttSettings, answers: bool) -> Iterator[Finding]:
    """How the connection is protected, and for how long."""
    from edge.mqtt_tls import LOOPBACK, make_context

    if not settings.tls:
        if settings.host not in LOOPBACK:
            says = f"none: samples and results cross the network to {settings.host} in plain"
            yield Finding(
                "tls", True, says, "set mqtt.tls = true; deploy/mosquitto has a broker with certificates"
            )
        return
    if not answers:
        return
    try:
        address = (settings.host, settings.port)
        with (
            socket.create_connection(address, settings.connect_timeout_s) as plain,
            make_context(settings).wrap_socket(plain, server_hostname=settings.host) as secure,
        ):
            peer = secure.getpeercert() or {}
    except (EdgeError, OSError) as error:
        yield failed("tls", error)
        return
    yield certificate(str(peer.get("notAfter")), time.time())


def _file(path: Path) -> str:
    from edge.delivery.sinks.base import SinkError

    target = path if path.exists() else path.parent
    if not target.exists():
        raise SinkError(f"{path}: folder {path.parent} does not exist; create it")
    if path.is_dir() or not os.access(target, os.W_OK):
        raise SinkError(f"{path}: not writable; change its rights or the sink's path")
    return f"{path} is writable"


def register(app: typer.Typer) -> None:
    app.command("check")(with_settings(check))
