"""Places messages that carry a time on a stream's count of samples, so that gaps show and repeats are known.

The index of a stream's first sample is its Unix time in periods, round(t0 × rate): whoever sees the same message again,
also after a restart of the agent, gives it the same index, and so its windows the same ids. From then on the
count goes on by the samples received as long as each t0 agrees with it: a sender's clock is never exactly its rate,
and the little difference must neither open gaps nor add up to one.
"""

from __future__ import annotations

from dataclasses import dataclass

# Below this, t0 is no date but a device's uptime; the year 2001.
UNIX_FROM = 1e9
# A sender may repeat what was not acknowledged: up to a minute back is the past of the same count, more is a clock
# set back or a record sent again, and starts a new one.
REWIND_S = 60.0
REWIND_SAMPLES = 100.0  # for sensors that give a sample a minute


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block belongs. `fresh` says that a new epoch begins with it."""

    epoch: str
    first_index: int
    t0: float
    fresh: bool


class Timeline:
    """One stream's count. `tolerance_s`: a t0 this near to the last message's end continues it without a gap."""

    def __init__(self, tolerance_s: float = 0.02) -> None:
        self._tolerance_s = tolerance_s
        self._key: tuple[str | None, float, bool] | None = None
        self._epoch = ""
        self._next = 0  # index after the newest sample
        self._end_t = 0.0  # sender's time of that index
        self._wall = 0.0  # UTC minus the sender's time
        self._first = 0  # index of the epoch's first sample
        self._finished = False
        self._restarts = 0

    @property
    def rate_hz(self) -> float | None:
        """The stream's rate so far."""
        return self._key[1] if self._key else None

    def place(
        self,
        t0: float | None,
        n: int,
        rate_hz: float,
        arrival: float,
        *,
        epoch: str | None = None,
        end: bool = False,
    ) -> Place | None:
        """Place `n` samples from `t0` (Unix or uptime seconds, None without a clock) that arrived at `arrival` (UTC).

        None where they repeat a record that has ended: its end was told, and must not begin another record.
        """
        key = (epoch, rate_hz, t0 is None)
        if self._finished and key == self._key and t0 is not None and self._repeats(t0, rate_hz):
            return None
        if key != self._key or self._finished or self._rewound(t0, rate_hz):
            place = self._start(key, t0, n, arrival)
        else:
            index = self._next
            if t0 is not None:
                drift_s = t0 - self._end_t
                if abs(drift_s) > max(self._tolerance_s, 1.5 / rate_hz):
                    index += round(drift_s * rate_hz)
            start = self._end_t + (index - self._next) / rate_hz if t0 is None else t0
            place = Place(self._epoch, index, start + self._wall, False)
        after = place.first_index + n
        if after >= self._next or place.fresh:
            self._next = after
            self._end_t = place.t0 - self._wall + n / rate_hz
        self._finished = end
        return place

    def _start(self, key: tuple[str | None, float, bool], t0: float | None, n: int, arrival: float) -> Place:
        again = self._key == key and not self._finished
        name, rate_hz, _ = key
        began = arrival - n / rate_hz
        if t0 is None:
            index, start, self._wall, label = 0, began, 0.0, name or "rx"
        elif t0 >= UNIX_FROM:
            index, start, self._wall, label = round(t0 * rate_hz), t0, 0.0, name or "unix"
        else:
            index, start, self._wall, label = round(t0 * rate_hz), t0, began - t0, name or "up"
        if again or (name is None and label != "unix"):
            # The same indices come again for other samples: after a clock was set back, and at each start of a
            # count that nothing dates. Such an epoch is not the same after a restart of the agent.
            self._restarts += 1
            label += f"{began:.3f}.{self._restarts}"
        self._key = key
        self._epoch = f"{label}@{rate_hz:g}"
        self._first = index
        return Place(self._epoch, index, start + self._wall, True)

    def _rewound(self, t0: float | None, rate_hz: float) -> bool:
        return t0 is not None and t0 < self._end_t - max(REWIND_S, REWIND_SAMPLES / rate_hz)

    def _repeats(self, t0: float, rate_hz: float) -> bool:
        """After an end: a message from inside the finished record is a repeat, its very first one a new sending."""
        index = self._next + round((t0 - self._end_t) * rate_hz)
        return self._first + 1 < index < self._next
