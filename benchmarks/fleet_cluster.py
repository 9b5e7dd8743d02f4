"""Windows a second over 1, 2 and 4 classifiers: ``python -m benchmarks.fleet --cluster --minutes 1 --json F``.

Three nats-servers on the loopback, three replicas. For each number of classifiers the queue is filled by MQTT with no
classifier running, then they are started together and the results are counted as they come. All processes share
the machine, so the processor time of a window, told apart for servers and classifiers, says more than the rate.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho

from benchmarks.agent_process import cpu_s
from benchmarks.goals import Figure, report
from benchmarks.nats_servers import HOST, Servers, servers
from edge.bundle import Bundle, read_bundle, resolve_bundle
from edge.cluster.window import Cut, encode
from edge.types import Window

WORKERS = (1, 2, 4)
WINDOWS_A_MINUTE = 600
STREAMS = 100
WAIT_S = 300.0


def payloads(bundle: Bundle, count: int, base: int) -> list[tuple[str, bytes]]:
    """(stream, message) of `count` windows, each one of its own."""
    spec, vectors = bundle.manifest.input, bundle.vectors
    out = []
    for k in range(count):
        values = np.rint(vectors.windows[k % len(vectors.windows)])
        window = Window(
            stream=f"s{k % STREAMS}",
            epoch=f"bench{base}",
            first_index=(k // STREAMS) * spec.hop_samples,
            t0=1.8e9,
            rate_hz=spec.rate_hz,
            values=values,
            valid=np.ones(len(values), np.bool_),
        )
        out.append((window.stream, encode(Cut(window, k // STREAMS, f"bench{base}"))))
    return out


def fill(port: int, messages: Sequence[tuple[str, bytes]]) -> float:
    """Publish by MQTT at QoS 1; seconds until the last acknowledgement."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, f"fill-{time.monotonic_ns()}", protocol=paho.MQTTv311)
    client.max_inflight_messages_set(50)
    client.connect(HOST, port)
    client.loop_start()
    began = time.monotonic()
    last = [client.publish(f"wavewall/bench/stream/{stream}/windows", data, 1) for stream, data in messages]
    for info in last:
        info.wait_for_publish(WAIT_S)
    took = time.monotonic() - began
    client.disconnect()
    client.loop_stop()
    return took


async def answers(urls: Sequence[str], count: int, workers: Sequence[list[str]], folder: Path, pids: list[int]) -> Any:
    """Start the classifiers, count results; seconds from the first to the last and processor time on the way."""
    import nats

    connection = await nats.connect(servers=list(urls))
    ids: dict[str, float] = {}
    everything = asyncio.Event()
    running: list[subprocess.Popen[bytes]] = []
    # An interpreter's start is no work of a window's: from the first result on.
    at_first = 0.0

    async def came(message: Any) -> None:
        nonlocal at_first
        if not ids:
            at_first = sum(cpu_s(process.pid) for process in running)
        ids.setdefault(json.loads(message.data)["id"], time.monotonic())
        if len(ids) == count:
            everything.set()

    await connection.subscribe("wavewall.*.stream.*.result", cb=came)
    before = [cpu_s(pid) for pid in pids]
    for at, line in enumerate(workers):
        with (folder / f"worker-{at}.log").open("wb") as log:
            running.append(subprocess.Popen(line, stdout=log, stderr=log))
    try:
        await asyncio.wait_for(everything.wait(), WAIT_S)
        used = sum(cpu_s(pid) for pid in pids) - sum(before)
        of_workers = sum(cpu_s(process.pid) for process in running) - at_first
    except asyncio.TimeoutError as error:
        raise RuntimeError(f"only {len(ids)} of {count} windows were answered within {WAIT_S:g} s") from error
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)
        await connection.close()
    times = sorted(ids.values())
    return times[-1] - times[0], used, of_workers


def one(place: Servers, loaded: Bundle, bundle: str, workers: int, count: int, folder: Path) -> dict[str, Any]:
    """One number of classifiers."""
    messages = payloads(loaded, count, workers)
    pids = place.pids()
    before = sum(cpu_s(pid) for pid in pids)
    filled_s = fill(place.mqtt[0], messages)
    fill_cpu = sum(cpu_s(pid) for pid in pids) - before
    line = [sys.executable, "-m", "edge.cli", "run", "--role", "classifier", "--bundle", bundle]
    line += ["--cluster-servers", place.urls, "--node-state-dir", str(folder / "state")]
    lines = [[*line, "--node", f"w{at}"] for at in range(workers)]
    took_s, server_s, worker_s = asyncio.run(answers(place.urls.split("+"), count, lines, folder, pids))
    return {
        "workers": workers,
        "windows": count,
        "windows_per_s": round((count - 1) / took_s, 1),
        "published_per_s": round(count / filled_s, 1),
        "window_bytes": len(messages[0][1]),
        "servers_ms_a_window_in": round(fill_cpu / count * 1e3, 3),
        "servers_ms_a_window_out": round(server_s / count * 1e3, 3),
        "workers_ms_a_window": round(worker_s / count * 1e3, 3),
    }


def measure(bundle: str, minutes: float, out: Path | None) -> int:
    """Every number of classifiers in turn; 1 when a window is lost."""
    loaded = read_bundle(resolve_bundle(bundle))
    count = max(2 * STREAMS, round(minutes * WINDOWS_A_MINUTE))
    found = []
    with tempfile.TemporaryDirectory() as name, servers(Path(name)) as place:
        deadline = time.monotonic() + 60.0
        init = [sys.executable, "-m", "edge.cli", "cluster", "init", "--cluster-servers", place.urls]
        while subprocess.run(init, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError("the servers found no leader within a minute")
        for workers in WORKERS:
            print(f"{workers} classifier(s), {count} windows", file=sys.stderr, flush=True)
            found.append(one(place, loaded, bundle, workers, count, Path(name)))
    rows = []
    for step in found:
        of = f"{step['workers']} classifier(s)"
        note = f"{of}; a window: servers {step['servers_ms_a_window_in']:g} ms in, "
        note += f"{step['servers_ms_a_window_out']:g} ms out, classifier {step['workers_ms_a_window']:g} ms"
        rows.append(Figure(f"windows a second, {step['workers']}", step["windows_per_s"], "/s", None, note))
    rows.append(Figure("windows by MQTT", found[0]["published_per_s"], "/s", None, f"{found[0]['window_bytes']} bytes"))
    rows.append(Figure("windows lost", 0.0, "", 0.0, f"of {count * len(found)}"))
    return report(rows, {"benchmark": "fleet-cluster", "bundle": bundle, "curve": found}, out)


