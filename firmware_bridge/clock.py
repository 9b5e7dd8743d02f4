"""Device time in the gateway's clock: a line that lies under all arrivals. PROTOCOL.md section 5.

A frame can only be late. So the line that touches the earliest arrivals from below is the device's crystal,
and what lies above it is transfer, polling and scheduling. (Moon, Skelly and Towsley 1999 estimate the skew of
network clocks in this way.)
"""

from __future__ import annotations

import itertools

_WRAP = 1 << 32
BIN_S = 1.0
# Long enough to average, short enough to follow a crystal that warms up. Also the cap on memory.
MAX_BINS = 300
# Before this, jitter would be taken for drift.
MIN_SPAN_S = 10.0
# No crystal is this far off; a fit that says so follows a gateway under load.
MAX_DRIFT = 1e-3
# A new fit when one bin in so many has changed.
_FIT_SHARE = 4

Point = tuple[float, float]


class DeviceClock:
    """Follows one device from one boot on.

    Args:
        wire_s: time on the wire of a usual frame, where known (10 bits a byte at the baud rate).
    """

    def __init__(self, wire_s: float = 0.0) -> None:
        self._wire_s = wire_s
        self._latest_us: int | None = None
        self._origin: Point = (0.0, 0.0)  # device s, gateway s
        self._bins: dict[int, Point] = {}  # second of device time -> device s, smallest delay
        self._slope = 0.0
        self._offset = 0.0
        self._unfitted = 0  # changes of bins since the line was fitted

    def unwrap(self, time_us: int) -> int:
        """64-bit device time of a 32-bit one, by its signed difference to the latest."""
        if self._latest_us is None:
            self._latest_us = time_us
        away = (time_us - self._latest_us + _WRAP // 2) % _WRAP - _WRAP // 2
        unwrapped = self._latest_us + away
        self._latest_us = max(self._latest_us, unwrapped)
        return unwrapped

    def observe(self, device_us: int, arrival_s: float) -> None:
        """A frame whose last sample was taken at ``device_us`` (unwrapped) has arrived.

        Args:
            arrival_s: on a clock that never jumps.
        """
        device_s = device_us * 1e-6
        if not self._bins:
            self._origin = (device_s, arrival_s)
        x = device_s - self._origin[0]
        delay = arrival_s - self._origin[1] - x
        key = int(x // BIN_S)
        known = self._bins.get(key)
        if known is not None and known[1] <= delay:
            return
        self._bins[key] = (x, delay)
        if len(self._bins) > MAX_BINS:
            del self._bins[next(iter(self._bins))]  # the first that was made; time hardly ever goes back
        # A fit over all bins takes half a millisecond and a gateway follows a thousand devices: an arrival below
        # the line moves the line down at once, its slope can wait.
        self._unfitted += 1
        if self._unfitted * _FIT_SHARE >= len(self._bins) and abs(x) >= MIN_SPAN_S:
            self._unfitted = 0
            self._fit()
        else:
            self._offset = min(self._offset, delay - self._slope * x)

    def _fit(self) -> None:
        points = sorted(self._bins.values())
        lowest = min(delay for _, delay in points)
        if points[-1][0] - points[0][0] < MIN_SPAN_S:
            self._slope, self._offset = 0.0, lowest
            return
        left, right = _edge_under(_lower_hull(points), sum(x for x, _ in points) / len(points))
        slope = (right[1] - left[1]) / (right[0] - left[0])
        if abs(slope) > MAX_DRIFT:
            self._slope, self._offset = 0.0, lowest
            return
        self._slope, self._offset = slope, left[1] - slope * left[0]

    def gateway_s(self, device_us: int) -> float:
        """When ``device_us`` (unwrapped) was, on the clock of the arrivals."""
        x = device_us * 1e-6 - self._origin[0]
        return self._origin[1] + x + self._offset + self._slope * x - self._wire_s

    @property
    def drift_ppm(self) -> float:
        """How much faster than the gateway's clock the device's runs."""
        return -self._slope / (1.0 + self._slope) * 1e6

    @property
    def span_s(self) -> float:
        """Seconds of device time that the line rests on."""
        return max(self._bins.values())[0] - min(self._bins.values())[0] if self._bins else 0.0


def _lower_hull(points: list[Point]) -> list[Point]:
    """Andrew's monotone chain over points sorted by x."""
    hull: list[Point] = []
    for x, y in points:
        while len(hull) >= 2:
            (ax, ay), (bx, by) = hull[-2], hull[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            hull.pop()
        hull.append((x, y))
    return hull


def _edge_under(hull: list[Point], x: float) -> tuple[Point, Point]:
    """The edge of the hull below ``x``: of all lines under the points the one nearest to them on average."""
    for left, right in itertools.pairwise(hull):
        if right[0] >= x:
            return left, right
    return hull[-2], hull[-1]
