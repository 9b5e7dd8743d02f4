"""A broker for the length of the demo: mosquitto where it is installed, else amqtt inside this process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.demo.stage import DemoError

HOST = "127.0.0.1"
START_S = 10.0
# Debian keeps daemons where a user's PATH does not look.
SEARCH = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])
# CPython 3.10 has three different time-outs.
_FAILURES = (
    OSError,
    asyncio.TimeoutError,
    concurrent.futures.TimeoutError,
    concurrent.futures.CancelledError,
)


@dataclass(frozen=True)
class Broker:
    """A running broker. `version` is the MQTT version that it speaks."""

    name: str
    port: int
    version: str


@contextmanager
def broker(folder: Path) -> Iterator[Broker]:
    """A broker on a free port of the loopback; stopped at the end. `folder` takes its files.

    Raises:
        DemoError: neither is installed, or it did not start.
    """
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + SEARCH)
    port = _free_port()
    if program is not None:
        with _mosquitto(program, port, folder):
            yield Broker("mosquitto", port, "5")
    else:
        with _amqtt(port):
            yield Broker("amqtt (in this process; mosquitto is not installed)", port, "3.1.1")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def _mosquitto(program: str, port: int, folder: Path) -> Iterator[None]:
    config, log = folder / "mosquitto.conf", folder / "mosquitto.log"
    config.write_text(
        f"listener {port} {HOST}\nallow_anonymous true\npersistence false\n"
        # As in deploy/mosquitto: with the 20 in flight of a plain mosquitto, many streams wait for acknowledgements.
        "max_queued_messages 100000\nmax_inflight_messages 200\n",
        encoding="utf-8",
    )
    with log.open("wb") as output:
        # A session of its own: Ctrl-C is for the demo, which then stops its parts in order.
        process = subprocess.Popen(
            [program, "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                raise DemoError(f"mosquitto did not start: {' '.join(tail) or 'no message'}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _amqtt(port: int) -> Iterator[None]:
    try:
        from amqtt.broker import Broker as AmqttBroker
    except ImportError as error:
        raise DemoError(
            'no broker: install mosquitto (sudo apt-get install mosquitto) or pip install "wavewall[demo]"'
        ) from error
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="amqtt", daemon=True)
    thread.start()

    def wait_for(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(START_S)

    async def start() -> Any:
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        config = {"listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}}, "plugins": plugins}
        running = AmqttBroker(config)
        await running.start()
        return running

    async def leave() -> None:
        """End what amqtt left running, so that it does not complain when the process ends."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        running = wait_for(start())
    except _FAILURES as error:
        raise DemoError(f"amqtt did not start: {error}") from error
    try:
        yield
    finally:
        for step in (running.shutdown, leave):
            with suppress(*_FAILURES):  # the show is over; what it leaves behind ends with the process
                wait_for(step())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5.0)
        if not thread.is_alive():
            loop.close()
