"""What goes back to a device: the verdict on a window, at most so often, the newest first. No threads, no IO.

The pipeline puts verdicts in and never waits; the thread that reads the port takes them out and writes.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, runtime_checkable

from edge.types import Result, Window
from firmware_bridge.messages import MAX_LABEL_BYTES, Hello, Verdict, VerdictStatus

_WRAP = 1 << 32
_STATUS = {"ok": VerdictStatus.OK, "suspect": VerdictStatus.SUSPECT, "abstain": VerdictStatus.ABSTAIN}
_NO_LABEL = 255


@runtime_checkable
class Answering(Protocol):
    """A source whose devices are told what was thought of their samples."""

    def answer(self, window: Window, result: Result) -> None:
        """From the pipeline's thread: returns at once, whatever the device does."""
        ...


class Answers:
    """The one verdict that waits for the device; a newer one takes its place.

    every_s: the least time between two with the same label and status. A change is due at once.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._waiting: deque[tuple[Window, Result]] = deque(maxlen=1)
        self._told: tuple[str, str] | None = None
        self._next_s = 0.0

    def put(self, window: Window, result: Result) -> None:
        self._waiting.append((window, result))

    def take(self, now_s: float) -> tuple[Window, Result] | None:
        """What is due now. One thread only."""
        if not self._waiting or (now_s < self._next_s and _said(self._waiting[0]) == self._told):
            return None
        item = self._waiting.popleft()
        self._told, self._next_s = _said(item), now_s + self._every_s
        return item

    def forget(self) -> None:
        """Another device, or the same one anew: it has been told nothing."""
        self._waiting.clear()
        self._told = None


def _said(item: tuple[Window, Result]) -> tuple[str, str]:
    return item[1].label, item[1].status


def to_verdict(window: Window, result: Result, hello: Hello) -> Verdict:
    """The window in the device's own count: first sample and length at its rate; padding is not the device's."""
    ratio = hello.rate_hz / window.rate_hz
    label = result.label.encode("utf-8")[:MAX_LABEL_BYTES].decode("utf-8", "ignore")
    names = list(result.probabilities)
    index = names.index(result.label) if result.label in names else _NO_LABEL
    return Verdict(
        seq=round(max(0, window.first_index) * ratio) % _WRAP,
        count=round((len(window.valid) - window.padded) * ratio) % _WRAP,
        status=_STATUS[result.status],
        label=label,
        score=min(1.0, max(0.0, result.score)),
        label_index=index if index < _NO_LABEL else None,
    )
