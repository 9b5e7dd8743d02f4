"""A connection that is up and brings nothing: told, and opened anew. No IO."""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge.mqtt_link import MqttLink
from edge.warnings_once import WarnOnce

log = logging.getLogger("edge.sources.mqtt")

LOOK_S = 1.0
# A slow sensor is silent between its samples: silence is that of so many of them.
SILENT_SAMPLES = 10.0


class Silence:
    """Of all streams of a source together. `limit_s`: for so long nothing may come while something is due. Once nothing
    has come for `idle_s`, nothing is.
    """

    def __init__(self, limit_s: float, idle_s: float, monotonic: Callable[[], float]) -> None:
        self._limit_s, self._idle_s, self._monotonic = limit_s, idle_s, monotonic
        self._heard_s = self._look_s = self._renewed_s = monotonic()
        self._slowest_hz = float("inf")
        self._warn = WarnOnce(log)
        self.says = ""  # for `status`, "" while all is well

    def heard(self, rate_hz: float, link: MqttLink) -> None:
        """Samples came."""
        self._heard_s = self._monotonic()
        self._slowest_hz = min(self._slowest_hz, rate_hz)
        if self.says:
            self.says = ""
            self._warn.recovered("silent", "broker %s: samples come again", link.place)

    def check(self, active: int, link: MqttLink) -> None:
        """From the connection's thread, several times a second. `active`: streams that have not ended."""
        now = self._monotonic()
        if now < self._look_s:
            return
        self._look_s = now + LOOK_S
        limit_s = max(self._limit_s, SILENT_SAMPLES / self._slowest_hz)
        # Nobody has sent yet, every record has ended, or the streams are given up: nothing is due.
        due = active and now - self._heard_s < self._idle_s + limit_s
        if not due or not link.connected:
            self.says = self.says if due else ""
        elif now - max(self._heard_s, self._renewed_s) >= limit_s:
            self._renewed_s = now
            self.says = f"connected, but no sample message came for {limit_s:g} s"
            self._warn.warn("silent", "broker %s: %s; connecting anew", link.place, self.says)
            link.renew("no sample message came")
