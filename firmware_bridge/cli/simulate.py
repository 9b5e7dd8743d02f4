"""``firmware-bridge simulate``."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from firmware_bridge.cli.common import stop_on_signal


def simulate(
    recording: Annotated[
        Path, typer.Argument(help="WFDB, EDF, CSV, npz, UCR .tsv, a zip or folder of them, or a raw capture.")
    ],
    *,
    record: Annotated[
        list[str] | None, typer.Option("--record", help="Play this record only; may be given again.")
    ] = None,
    pty: Annotated[
        Path | None, typer.Option("--pty", help="Link to the port, to have a name for it.")
    ] = None,
    speed: Annotated[float, typer.Option(help="Times real time; 0: as fast as it is read.")] = 1.0,
    drop: Annotated[float, typer.Option(help="Probability that a frame is lost.")] = 0.0,
    corrupt: Annotated[float, typer.Option(help="Probability that a bit of a frame flips.")] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            help="NAME=NUMBER or NAME=NUMBER@SEED: reorder, duplicate, reset, stuck, lead_off, wrong_key "
            "(probabilities), drift_ppm, jitter_ms, drop, corrupt. May be given again.",
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print lines of numbers, as sketches do.")] = False,
    seed: Annotated[int, typer.Option(help="Of the faults: the same seed gives the same faults.")] = 0,
    loop: Annotated[bool, typer.Option("--loop/--once", help="Begin again after the last record.")] = False,
    device_id: Annotated[str, typer.Option(help="What the device calls itself.")] = "sim-1",
    block: Annotated[int, typer.Option(help="Samples in a frame.", min=1, max=255)] = 32,
    pack: Annotated[bool, typer.Option("--pack", help="Pack samples as differences.")] = False,
    key: Annotated[Path | None, typer.Option(help="Key file: every frame is tagged.")] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Samples a second, where the recording does not say.")
    ] = None,
) -> None:
    """Be a device on a pseudo-terminal that plays a recording. It begins when somebody opens the port."""
    from firmware_bridge.auth import read_key
    from firmware_bridge.capture import is_raw
    from firmware_bridge.faults import parse_faults
    from firmware_bridge.recordings import open_recordings
    from firmware_bridge.simulated_device import DeviceSettings
    from firmware_bridge.simulator import Simulator

    stop = stop_on_signal()
    if recording.is_file() and is_raw(recording):
        _replay_raw(recording, pty, speed, stop)
        return
    faults = parse_faults([f"drop={drop}", f"corrupt={corrupt}", *(fault or [])], seed)
    opened = open_recordings(recording, rate_hz=rate)
    chosen = opened if not record else [opened.read(name) for name in record]
    settings = DeviceSettings(
        device_id=device_id,
        # Rises from run to run, as the boot counter of a device does.
        boot=int(time.time()) & 0xFFFFFFFF,
        block_samples=block,
        pack=pack,
        key=None if key is None else read_key(key),
    )
    count = len(record) if record else len(opened)
    with Simulator(
        chosen, speed=speed, faults=faults, csv=csv, loop=loop, link=pty, settings=settings
    ) as device:
        name = f"{device.port} ({pty})" if pty else device.port
        pace = "as fast as it is read" if speed == 0 else f"{speed:g} times real time"
        typer.echo(f"{name}: {count} record{'s' * (count != 1)}, {pace}; begins when the port is opened")
        while not stop.is_set() and not device.wait(0.1):
            pass
        lost = f", {device.lost_bytes} bytes that nobody read" if device.lost_bytes else ""
        faulty = ", ".join(f"{number} {what}" for what, number in device.faulty.counts.items() if number)
        typer.echo(f"played {device.played}{lost}" + (f"; frames: {faulty}" if faulty else ""))


def _replay_raw(path: Path, link: Path | None, speed: float, stop: threading.Event) -> None:
    from firmware_bridge.capture import read_raw
    from firmware_bridge.pty_line import PtyLine

    line = PtyLine(link)
    total = 0
    try:
        typer.echo(f"{line.port}: replays {path}; begins when the port is opened")
        if not line.wait_for_open(stop):
            return
        began = time.monotonic()
        for due_s, data in read_raw(path):
            while speed and (left := began + due_s / speed - time.monotonic()) > 0:
                if stop.wait(min(left, 0.05)):
                    return
            line.write(data, stop)
            total += len(data)
        line.drained(stop)
        typer.echo(f"replayed {total} bytes")
    finally:
        line.close()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)
