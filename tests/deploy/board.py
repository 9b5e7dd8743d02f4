"""Runs on an emulated board, on what the Debian package holds: each step's outcome as one line of JSON.

``python board.py LIB FOLDER MQTT_PORT PTY``: LIB is /opt/wavewall/lib, FOLDER holds record.npz, the board's serial
port is PTY. One process for all, as the emulator needs seconds to import anything.
"""

import json
import sys
import time

began = time.perf_counter()
lib, folder, mqtt_port, pty = sys.argv[1:5]
sys.path.insert(0, lib)


def tell(step, **found):
    print(json.dumps({"step": step, **found}), flush=True)


def memory_mb():
    """The most it held since exec; getrusage's figure starts with what the parent held."""
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM:"))
    return round(int(peak.split()[1]) / 1024, 1)


import platform  # noqa: E402

import numpy as np  # noqa: E402

from edge import zoo  # noqa: E402
from edge.bundle import preprocess, read_bundle, resolve_bundle  # noqa: E402
from edge.pipeline.classify import Classifier  # noqa: E402
from edge.pipeline.golden import check_vectors  # noqa: E402
from edge.pipeline.runtime import runtime_name  # noqa: E402

tell("import", seconds=round(time.perf_counter() - began, 2), memory_mb=memory_mb(), machine=platform.machine(),
     python=platform.python_version(), numpy=np.__version__, runtime=runtime_name())  # fmt: skip

# Every shipped bundle's golden windows: refused beyond one int8 step; how far each output is off is told besides.
for name in zoo.names():
    bundle = read_bundle(resolve_bundle(name))
    classifier, vectors = Classifier(bundle), bundle.vectors
    check_vectors(bundle, classifier)
    off = dict.fromkeys(vectors.outputs, 0.0)
    for at in range(len(vectors.windows)):
        x = preprocess.apply(bundle.manifest.preprocess, vectors.windows[at], vectors.valid[at])
        got = classifier.run(x[None])
        for output, wanted in vectors.outputs.items():
            step = max(vectors.steps[output], classifier.steps[output]) or 1.0
            off[output] = max(off[output], float(np.abs(got[output][0] - wanted[at]).max()) / step)
    tell("golden", bundle=name, windows=len(vectors.windows), steps={k: round(v, 3) for k, v in off.items()})

# The wire: frames as a board sends them over a serial port.
from firmware_bridge.decoder import FrameDecoder  # noqa: E402
from firmware_bridge.messages import Samples  # noqa: E402
from firmware_bridge.serial_stream import SerialStream  # noqa: E402

decoder, stream, total, ended = FrameDecoder(), SerialStream(pty, 115200), 0, False
stream.open()
until = time.monotonic() + 120
while not ended and time.monotonic() < until:
    for message in decoder.feed(stream.read(1.0)):
        if isinstance(message, Samples):
            total += len(message.values)
            ended = ended or message.end
stream.close()
tell("frames", samples=total, bad=decoder.counters.bad_total)

# The commands themselves: the record's labels, and the same to the broker.
from edge.cli import main  # noqa: E402

source = f"replay:{folder}/record.npz"
for arguments in (
    ["replay", f"{folder}/record.npz", "--bundle", "ecg-rhythm", "--json"],
    [
        "run",
        "--source",
        source,
        "--sink",
        "mqtt",
        "--mqtt-port",
        mqtt_port,
        "--mqtt-host",
        "127.0.0.1",
        "--node",
        "board",
    ],
):
    sys.argv = ["edge-agent", *arguments]
    try:
        main()
    except SystemExit as end:
        tell(arguments[0], code=end.code or 0)
tell("end", memory_mb=memory_mb())
