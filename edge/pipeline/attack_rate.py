"""How often the windows of one stream are suspect: shares by hour, and a change detector whose false alarms are
bounded.

The detector is Page's CUSUM of the log likelihood ratio of two rates, `clean` and `attacked`, over windows that do not
overlap (overlapping ones share samples, so they do not count as independent). Lorden (1971): with threshold
ln(A) the mean number of windows to a false alarm is at least A, at the clean rate and at every lower one.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from dataclasses import dataclass

from edge.errors import DecisionError
from edge.events import EndReason, Event, EventType
from edge.types import Result

__all__ = ["AttackRate", "HourOfWindows", "RateRule"]

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class RateRule:
    """`clean` and `attacked`: shares of suspect windows to tell apart, 0 < clean < attacked < 1.
    `false_alarm_days`: mean time between false alarms of one stream, in days of signal, at least.
    """

    clean: float = 0.01
    attacked: float = 0.2
    false_alarm_days: float = 30.0

    def __post_init__(self) -> None:
        if not 0.0 < self.clean < self.attacked < 1.0:
            raise DecisionError(
                f"rates of suspect windows are {self.clean} clean and {self.attacked} attacked; "
                "use 0 < clean < attacked < 1"
            )
        if not self.false_alarm_days > 0:
            raise DecisionError(f"false_alarm_days is {self.false_alarm_days}; use a number above 0")

    def step(self, suspect: bool) -> float:
        """What one window adds: the log likelihood ratio."""
        if suspect:
            return math.log(self.attacked / self.clean)
        return math.log((1.0 - self.attacked) / (1.0 - self.clean))

    def threshold(self, window_s: float) -> float:
        """Sum at which an alarm is raised, for windows of `window_s` seconds, at least one suspect window's worth."""
        return max(math.log(self.false_alarm_days * 86_400.0 / window_s), self.step(True))


@dataclass(frozen=True, slots=True)
class HourOfWindows:
    """Judged windows of one stream that began in one hour of its signal; `t0` is the hour's start."""

    stream: str
    t0: float
    windows: int
    suspect: int
    alarm: bool

    @property
    def share(self) -> float:
        """Suspect ones among all, 0 to 1."""
        return self.suspect / self.windows if self.windows else 0.0


class AttackRate:
    """State of one stream. The alarm is an event of kind `attack_rate`: it starts where the sum last left zero and is
    over when the sum is back there.
    """

    def __init__(self, stream: str, rule: RateRule) -> None:
        self.stream, self.rule = stream, rule
        self._sum = 0.0
        self._counted_to = float("-inf")
        self._last_t0 = float("-inf")
        self._hour = float("-inf")
        self._windows = self._suspect = 0
        # Since the sum left zero: start, end, windows, suspect ones and the newest of their ids.
        self._start = self._end = 0.0
        self._run_windows = self._run_suspect = 0
        self._evidence: deque[str] = deque(maxlen=64)
        self._open: tuple[str, int, str, str] | None = None  # id, next seq, boot_id, model

    @property
    def open_id(self) -> str | None:
        """The id of the alarm that is on."""
        return None if self._open is None else self._open[0]

    def push(self, result: Result, suspect: bool) -> tuple[list[Event], HourOfWindows | None]:
        """Take a judged window; the alarm's messages, and the hour before when this window begins another."""
        t0 = result.window.t0
        window_s = result.window.n / result.window.rate_hz
        events = self.stop(result.t, "clock") if t0 < self._last_t0 else []
        self._last_t0 = t0
        hour = self._note_hour(t0, suspect)
        if t0 + 0.5 / result.window.rate_hz < self._counted_to:
            return events, hour
        self._counted_to = t0 + window_s
        if self._sum <= 0.0:
            self._sum, self._start = 0.0, t0
            self._run_windows = self._run_suspect = 0
            self._evidence.clear()
        threshold = self.rule.threshold(window_s)
        # Held at the threshold, so that an attack of days is not still told a day after it ended.
        self._sum = min(self._sum + self.rule.step(suspect), threshold)
        self._run_windows += 1
        self._end = self._counted_to
        if suspect:
            self._run_suspect += 1
            self._evidence.append(result.id)
        if self._open is None and self._sum >= threshold:
            digest = hashlib.sha256(f"attack_rate {self._evidence[0]}".encode()).hexdigest()[:32]
            self._open = digest, 0, result.boot_id, result.model
            events.append(self._tell("new", result.t))
        elif self._open is not None and self._sum <= 0.0:
            events.append(self._tell("end", result.t, "over"))
        return events, hour

    def stop(self, t: float, reason: EndReason) -> list[Event]:
        """Begin anew; an alarm that is on ends."""
        events = [] if self._open is None else [self._tell("end", t, reason)]
        self._sum, self._counted_to, self._last_t0 = 0.0, float("-inf"), float("-inf")
        self._hour, self._windows, self._suspect = float("-inf"), 0, 0
        return events

    def _note_hour(self, t0: float, suspect: bool) -> HourOfWindows | None:
        hour, done = t0 // HOUR_S * HOUR_S, None
        if hour != self._hour:
            if self._windows:
                done = HourOfWindows(
                    self.stream, self._hour, self._windows, self._suspect, self._open is not None
                )
            self._hour, self._windows, self._suspect = hour, 0, 0
        self._windows += 1
        self._suspect += suspect
        return done

    def _tell(self, type: EventType, t: float, reason: EndReason = "") -> Event:
        assert self._open is not None
        id, seq, boot_id, model = self._open
        self._open = None if type == "end" else (id, seq + 1, boot_id, model)
        return Event(
            id=id,
            seq=seq,
            type=type,
            kind="attack_rate",
            t=t,
            boot_id=boot_id,
            stream=self.stream,
            model=model,
            label=None,
            start=self._start,
            end=self._end,
            peak_score=None,
            windows=self._run_suspect,
            evidence=tuple(self._evidence),
            reason=reason,
            measures={"share": self._run_suspect / self._run_windows, "windows": float(self._run_windows)},
        )
