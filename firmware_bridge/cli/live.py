"""``firmware-bridge monitor`` and ``forward``: what happens on a port, shown or passed on."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_bridge.cli.common import (
    BaudOption,
    DialectOption,
    PortArgument,
    RateOption,
    SecondsOption,
    check_dialect,
    chunks,
    open_stream,
    stop_on_signal,
)

if TYPE_CHECKING:
    from firmware_bridge.monitor import Monitor

_SUMMARY_S = 1.0
_HELLO_S = 1.0


def monitor(
    port: PortArgument = "auto",
    *,
    baud: BaudOption = 115_200,
    dialect: DialectOption = "auto",
    seconds: SecondsOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: each message, and a summary every second.")
    ] = False,
    listen: Annotated[bool, typer.Option("--listen", help="Send nothing: do not ask for HELLO.")] = False,
) -> None:
    """Show what comes over a port: device, rates, gaps, CRC errors, latest values."""
    from firmware_bridge import codec
    from firmware_bridge.decoder import FrameDecoder
    from firmware_bridge.messages import Command, Verb
    from firmware_bridge.monitor import Monitor
    from firmware_bridge.monitor import as_json as plain

    checked = check_dialect(dialect)
    stop = stop_on_signal()
    stream = open_stream(port, baud)
    decoder = FrameDecoder(checked)
    state = Monitor(decoder, 0.0)
    show = _Screen(stream.device, quiet=as_json)
    due_s, ask_s, asked = 0.0, 0.5, 0
    try:
        for now_s, data in chunks(stream, stop, seconds):
            for item in state.feed(data, now_s) if data else []:
                if as_json:
                    typer.echo(json.dumps(plain(item)))
            if not listen and state.receiver.hello is None and now_s >= ask_s and decoder.dialect != "csv":
                asked, ask_s = asked + 1, now_s + _HELLO_S
                stream.write(codec.encode(Command(asked & 0xFFFF, Verb.HELLO)))
            if now_s >= due_s:
                due_s = now_s + _SUMMARY_S
                if as_json:
                    typer.echo(json.dumps(state.snapshot(now_s)))
                else:
                    show.update(state, now_s, stream.problem)
            sys.stdout.flush()
        if as_json:
            typer.echo(json.dumps(state.snapshot(now_s)))
        else:
            show.update(state, now_s, stream.problem)
    finally:
        show.close()
        stream.close()


class _Screen:
    """A live table on a terminal, one line a second elsewhere."""

    def __init__(self, device: str, *, quiet: bool) -> None:
        self._device = device
        self._live: Any = None
        if not quiet and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            try:
                from rich.live import Live
            except ImportError:
                return
            self._live = Live(auto_refresh=False)
            self._live.start()

    def update(self, state: Monitor, now_s: float, problem: str) -> None:
        """Show the state as it is now."""
        snapshot = state.snapshot(now_s)
        if self._live is None:
            typer.echo(_line(snapshot) + (f"  [{problem}]" if problem else ""))
            return
        self._live.update(_table(self._device, snapshot, state.lines, problem), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was, with the last table on it."""
        if self._live is not None:
            self._live.stop()


def _facts(s: dict[str, Any]) -> list[tuple[str, str]]:
    last = ", ".join("-" if value is None else f"{value:.6g}" for value in s["last"])
    bad = ", ".join(f"{count} {reason}" for reason, count in s["bad"].items()) or "none"
    battery = "" if s["battery_mv"] is None else f"{s['battery_mv']} mV"
    rows = [
        ("device", f"{s['device_id'] or 'no HELLO yet'} {s['firmware'] or ''}".strip()),
        ("dialect", s["dialect"]),
        ("channels", ", ".join(s["channels"])),
        ("nominal rate", "" if s["rate_hz"] is None else f"{s['rate_hz']:g} Hz"),
        (
            "arriving",
            f"{s['samples_per_s']:g} samples/s, {s['frames_per_s']:g} frames/s, {s['bytes_per_s']:g} B/s",
        ),
        ("latest", f"{last} {' '.join(s['units'])}".strip()),
        ("gaps", f"{s['gaps']} ({s['missing_samples']} samples missing), {s['repeats']} repeats"),
        ("bad frames", f"{bad} ({s['crc_errors']} damaged on the wire)"),
        ("restarts", str(s["restarts"]) if s["restarts"] else ""),
        ("lead off", f"channels {s['lead_off']:b}" if s["lead_off"] else ""),
        ("saturated", f"{s['saturated_samples']} samples" if s["saturated_samples"] else ""),
        ("battery", battery),
        ("clock drift", "" if s["drift_ppm"] is None else f"{s['drift_ppm']:g} ppm"),
    ]
    return [(name, value) for name, value in rows if value]


def _line(snapshot: dict[str, Any]) -> str:
    return f"{snapshot['seconds']:7.1f} s  " + "; ".join(
        f"{name}: {value}" for name, value in _facts(snapshot)
    )


def _table(device: str, snapshot: dict[str, Any], lines: Any, problem: str) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{device}  {snapshot['seconds']:.0f} s", show_header=False, title_justify="left")
    for name, value in _facts(snapshot):
        table.add_row(name, escape(value))
    if problem:
        table.add_row("port", f"[bold]{escape(problem)}[/bold]")
    for line in lines:
        table.add_row("", escape(line))
    return table


def forward(
    port: PortArgument = "auto",
    *,
    broker: Annotated[str, typer.Option(help="HOST or HOST:PORT.")] = "localhost:1883",
    node: Annotated[str, typer.Option(help="This gateway, in the topic.")] = "bridge",
    base: Annotated[str, typer.Option(help="First level of the topic.")] = "wavewall",
    stream_id: Annotated[str | None, typer.Option("--stream", help="Default: the device's id.")] = None,
    baud: BaudOption = 115_200,
    dialect: DialectOption = "auto",
    seconds: SecondsOption = None,
    rate: RateOption = None,
    username: Annotated[
        str | None, typer.Option(envvar="WAVEWALL_MQTT_USERNAME", help="Of the broker.")
    ] = None,
    password: Annotated[
        str | None, typer.Option(envvar="WAVEWALL_MQTT_PASSWORD", help="Better given by the variable.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt, and check the broker; port 8883 unless given.")] = False,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of the authorities that may vouch for the broker, else the system's.")
    ] = None,
    cert_file: Annotated[Path | None, typer.Option(help="This bridge's certificate (PEM).")] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key (PEM), mode 0600.")] = None,
) -> None:
    """Pass a device's samples on to an MQTT broker, for an agent elsewhere. Needs no model and little memory."""
    from firmware_bridge import codec
    from firmware_bridge.decoder import FrameDecoder
    from firmware_bridge.errors import BrokerError
    from firmware_bridge.forwarder import Batcher, MqttPublisher, samples_topic
    from firmware_bridge.receiver import Receiver

    checked = check_dialect(dialect)
    host, _, number = broker.rpartition(":") if ":" in broker else (broker, "", "8883" if tls else "1883")
    if not number.isdigit() or not 0 < int(number) < 1 << 16:
        raise BrokerError(f"broker {broker!r} is not HOST or HOST:PORT")
    samples_topic(base, node, stream_id or "x")
    context = None
    if tls:
        from firmware_bridge.tls import make_context

        context = make_context(ca_file, cert_file, key_file)
    elif ca_file or cert_file or key_file:
        raise BrokerError("files for TLS are given, but not --tls")
    stop = stop_on_signal()
    stream = open_stream(port, baud)
    publisher = MqttPublisher(host, int(number), username=username, password=password, tls=context)
    decoder, batcher, asker = FrameDecoder(checked), Batcher(rate), Receiver(resend=False)
    said = ""
    try:
        for now_s, data in chunks(stream, stop, seconds):
            payloads = []
            for item in decoder.feed(data) if data else []:
                asker.push(item, now_s)
                payloads += batcher.push(item, now_s, time.time())
            payloads += batcher.poll(now_s)
            if decoder.dialect != "csv":
                for command in asker.commands(now_s):
                    stream.write(codec.encode(command))
            for payload in payloads:
                name = stream_id or (batcher.hello.device_id if batcher.hello else "csv")
                publisher.publish(samples_topic(base, node, name), payload)
            # After a moment: connecting takes one.
            problem = stream.problem or (publisher.problem if now_s > 1 else "")
            if problem != said:
                said = problem
                typer.echo(problem or "connected again", err=True)
    finally:
        publisher.close()
        stream.close()
    counters = decoder.counters
    typer.echo(
        f"forwarded {publisher.published} messages from {counters.frames} frames and {counters.csv_rows} rows; "
        f"{counters.bad_total} bad frames, {publisher.dropped + publisher.refused} messages dropped"
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(monitor)
    app.command()(forward)
