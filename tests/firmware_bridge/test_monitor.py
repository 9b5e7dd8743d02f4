from __future__ import annotations

import json
import math

import numpy as np

from firmware_bridge import codec
from firmware_bridge import messages as m
from firmware_bridge.decoder import FrameDecoder
from firmware_bridge.monitor import Monitor, as_json
from tests.firmware_bridge import generate_vectors

HELLO = m.Hello("d", "f 1", 300.0, (m.Channel("ecg", "uV", 2.0),), 7, True, 640)


def test_rates_gaps_and_errors():
    monitor = Monitor(FrameDecoder("auto"), 0.0)
    monitor.feed(codec.encode(HELLO), 0.0)
    for number in range(100):
        block = m.Samples(
            30 * number, 100_000 * number, np.full((30, 1), number, np.int16), lead_off=number == 99
        )
        if number != 50:
            monitor.feed(codec.encode(block), 0.1 * number + 0.1)
    monitor.feed(b"\x07\x07\x00" + codec.encode(m.Log(0, 2, "[red]low battery")), 10.0)
    monitor.feed(codec.encode(m.Status(0, 7, 4, 0, 3700, 55)), 10.0)
    monitor.feed(codec.encode(m.Samples(3000, 0, np.array([[32767]], np.int16))), 10.0)
    seen = monitor.snapshot(10.0)
    assert (seen["device_id"], seen["rate_hz"], seen["units"]) == ("d", 300.0, ["uV"])
    assert abs(seen["samples_per_s"] - 300) < 10
    assert (seen["gaps"], seen["missing_samples"], seen["repeats"]) == (1, 30, 0)
    assert (seen["bad"], seen["crc_errors"]) == ({"cobs": 1}, 1)
    assert (seen["battery_mv"], seen["battery_percent"], seen["dropped_by_device"]) == (3700, 55, 4)
    assert seen["last"] == [65534.0]
    assert seen["saturated_samples"] == 1
    assert seen["lead_off"] == 0
    assert monitor.lines[-1] == "warning: [red]low battery"
    assert "cobs" in monitor.lines[0]
    json.dumps(seen, allow_nan=False)


def test_csv_stream():
    monitor = Monitor(FrameDecoder("auto"), 0.0)
    monitor.feed(b"a,b\n1,2\nnan,4\n", 0.5)
    seen = monitor.snapshot(1.0)
    assert (seen["dialect"], seen["channels"], seen["csv_rows"]) == ("csv", ["a", "b"], 2)
    assert seen["last"] == [None, 4.0]
    assert seen["drift_ppm"] is None


def test_every_message_as_json():
    for _, message, _ in generate_vectors.cases():
        text = json.dumps(as_json(message), allow_nan=False)
        assert json.loads(text)["type"] == type(message).__name__.lower()
    rows = as_json(m.CsvSamples(np.array([[math.nan, 1.0]]), ("a", "b")))
    assert rows["values"] == [[None, 1.0]]
    assert as_json(m.BadFrame("crc", 7)) == {"type": "badframe", "reason": "crc", "size": 7, "detail": ""}
