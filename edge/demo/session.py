"""The demo itself: puts broker, device, attacker, agents and subscriber together and watches."""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from edge.bundle import InputSpec, read_bundle, resolve_bundle
from edge.demo.agents import AgentProcess, agents
from edge.demo.broker import HOST, Broker, broker
from edge.demo.screen import DEFENDED, UNDEFENDED, Screen
from edge.demo.stage import DATA, DemoError, Stage, set_stage
from edge.demo.subscriber import WindowIds, subscriber
from edge.demo.wire import Splitter
from edge.types import Result
from firmware_bridge.simulated_device import DeviceSettings
from firmware_bridge.simulator import Simulator

SPEED = 10.0
DEVICE = DeviceSettings(device_id="demo", firmware="demo")
SHIPPED = {UNDEFENDED: UNDEFENDED, DEFENDED: DEFENDED}
READY_S = 30.0  # a slow board loads two agents at once
PATIENCE_S = 5.0  # for the last verdicts, after the last sample


def run_demo(
    seconds: float,
    say: Callable[[str], None],
    *,
    colour: bool = False,
    bundles: Mapping[str, str] = SHIPPED,
    data: Path = DATA,
) -> bool:
    """Play for about `seconds`, printing lines with `say`; True if enough was seen.

    Args:
        bundles: node (one of screen.MODELS) -> bundle name or file.

    Raises:
        EdgeError: a part is missing or did not start.
    """
    spec = _common_input(bundles)
    stage = set_stage(seconds, SPEED, spec.hop_samples / spec.rate_hz, data)
    screen = Screen(stage, round(spec.window_samples * stage.recording.rate_hz / spec.rate_hz), colour)
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="wavewall-demo-")))
        place = parts.enter_context(broker(folder))
        results = parts.enter_context(subscriber(place))
        splitter = parts.enter_context(Splitter(len(bundles)))
        running = parts.enter_context(agents(dict(bundles), splitter.ports, place, folder))
        device = Simulator(stage.recording, speed=SPEED, tap=stage.tap, settings=DEVICE)
        parts.callback(device.stop)
        for line in _cast(stage, place, device.port):
            say(line)
        _wait_for_agents(splitter, running)
        splitter.connect(device.port)
        device.start()
        say("")
        say(screen.head())
        ids = WindowIds(list(bundles), DEVICE, stage, spec)
        try:
            _watch(device, results, ids, screen, running, say)
        except KeyboardInterrupt:
            say("stopped by you")
        if splitter.lost_bytes or device.lost_bytes:
            say(
                f"(an agent was too slow: {splitter.lost_bytes + device.lost_bytes} bytes were lost on the wire)"
            )
    lines, enough = screen.summary()
    for line in lines:
        say(line)
    return enough


def _common_input(bundles: Mapping[str, str]) -> InputSpec:
    """The windows that both models take. Raises DemoError where they differ, since rows would not correspond."""
    specs = [read_bundle(resolve_bundle(name)).manifest.input for name in bundles.values()]
    if any(spec != specs[0] for spec in specs):
        raise DemoError(
            f"the bundles {', '.join(bundles.values())} take different windows; they cannot be compared"
        )
    return specs[0]


def _cast(stage: Stage, place: Broker, port: str) -> list[str]:
    rounds = ", ".join(f"{name} until {end / stage.recording.rate_hz:.0f} s" for name, end in stage.rhythms)
    rate = stage.recording.rate_hz
    return [
        f"broker      {place.name} on {HOST}:{place.port}, MQTT {place.version}",
        f"device      simulated, on {port}: {rate:g} samples a second of its own time, "
        f"played at {SPEED:g} times real time (its clock is scaled along)",
        f"recording   synthetic ECG: {rounds}, then again",
        f"agents      {UNDEFENDED} and {DEFENDED}, each an `edge-agent run` on the same wire",
        f"attack      from {stage.attack_from / rate:.0f} s of the signal on: a stored waveform, made with the "
        f"gradients of {UNDEFENDED}",
        "            (whoever has the defended model, too, does better: README has the figures)",
    ]


def _wait_for_agents(splitter: Splitter, running: list[AgentProcess]) -> None:
    try:
        splitter.wait_for_readers(READY_S, lambda: all(agent.process.poll() is None for agent in running))
    except DemoError as error:
        for agent in running:
            if agent.process.poll() is not None:
                raise DemoError(f"agent {agent.node} ended at start: {agent.last_words()}") from error
        raise


def _watch(
    device: Simulator,
    results: queue.Queue[Result],
    ids: WindowIds,
    screen: Screen,
    running: list[AgentProcess],
    say: Callable[[str], None],
) -> None:
    """Show results as they come, until the last window, or a while after the last sample."""
    patience = None
    while not ids.complete(screen.seen):
        try:
            found = ids.find(result := results.get(timeout=0.1))
            if found is not None:
                for line in screen.push(*found, result):
                    say(line)
            continue
        except queue.Empty:
            pass
        if dead := next((agent for agent in running if agent.process.poll() is not None), None):
            raise DemoError(f"agent {dead.node} ended: {dead.last_words()}")
        if device.wait(0.0):
            patience = patience or time.monotonic() + PATIENCE_S
            if time.monotonic() > patience:
                return
