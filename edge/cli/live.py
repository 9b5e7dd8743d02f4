"""`edge-agent run` on a terminal: every stream on a line, as it is now. Reads the live store; draws in the agent's
own thread between two looks at the stop, so that a terminal that stands still stops nothing but the picture.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from edge.live.signal import runs, strip
from edge.live.store import LiveStore, Stream

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from edge.agent import Agent

EVERY_S = 0.25
SPARK_S, SPARK_COLUMNS = 8.0, 32
LOG_LINES = 4
KEPT_LINES = 200
_BARS = " ▁▂▃▄▅▆▇█"
# A sign, too: a colour alone says nothing on a screen without any.
_STATUS = {"ok": ("✓", "green"), "suspect": ("!", "bold red"), "abstain": ("?", "yellow"), "": ("·", "dim")}
_RANK = {"suspect": 0, "abstain": 1, "": 2, "ok": 3}


def spark(store: LiveStore, name: str) -> str:
    """The stream's last seconds, first channel, as bars; blank where samples are missing."""
    columns = strip(runs(store.tail(name, SPARK_S + 2.0)), SPARK_S, SPARK_COLUMNS)
    highs = [pair[1] for pair in columns if pair]
    if not highs:
        return " " * SPARK_COLUMNS
    low, span = min(highs), max(highs) - min(highs)
    bars = [" " if pair is None else _BARS[1 + round(7 * (pair[1] - low) / span) if span else 1] for pair in columns]
    return "".join(bars)


class LiveView(logging.Handler):
    """The picture. As a log handler it keeps the last messages; all of them are printed when it ends."""

    def __init__(self, agent: Agent, console: Console | None = None) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._agent = agent
        self._console = console or Console()
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._live = Live(console=self._console, auto_refresh=False, screen=self._console.is_terminal)
        self._due = 0.0
        self._rate, self._before = 0.0, (time.monotonic(), 0)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))

    def __enter__(self) -> LiveView:
        logging.getLogger().handlers[:] = [self]
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        logging.getLogger().removeHandler(self)
        sys.stderr.write("".join(f"{line}\n" for line in self._lines))

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def tick(self) -> None:
        """Draw, some times a second however often it is called."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + EVERY_S
            self._live.update(self.picture(), refresh=True)

    def picture(self) -> RenderableType:
        """Head, streams and the last messages, in as many lines as the terminal has."""
        from rich.console import Group
        from rich.text import Text

        health = self._agent.health()
        height = max(8, self._console.size.height)
        store = self._agent.live
        assert store is not None  # asked for with `watched`
        lines = list(self._lines)[-LOG_LINES:]
        room = height - len(lines) - 6
        foot = [Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in lines]
        return Group(self._head(health), self._table(store, room), *foot)

    def _head(self, health: Mapping[str, object]) -> RenderableType:
        from rich.text import Text

        counters = health.get("counters")
        windows = int(str(counters.get("windows", 0))) if isinstance(counters, Mapping) else 0
        dropped = counters.get("dropped", {}) if isinstance(counters, Mapping) else {}
        lost = sum(dropped.values()) if isinstance(dropped, Mapping) else 0
        at, before = self._before
        passed = time.monotonic() - at
        if passed > 1.0:
            self._rate, self._before = (windows - before) / passed, (time.monotonic(), windows)
        reasons = health.get("reasons")
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append("wavewall ", "bold cyan").append(f"{self._agent.settings.node.id}  ")
        head.append(f"{self._agent.engine.bundle.manifest.ref}  ", "dim")
        head.append(f"{health['online']}/{health['streams']} streams  {self._rate:.1f} windows/s  ")
        head.append(f"{lost} dropped  ", "bold red" if lost else "")
        head.append(f"{int(str(health['rss_bytes'])) / 1e6:.0f} MB")
        if self._agent.dashboard is not None:
            head.append(f"  {self._agent.dashboard.url}", "cyan")
        if isinstance(reasons, list) and reasons:
            head.append(f"\n! {'; '.join(map(str, reasons))}", "bold red")
        return head

    def _table(self, store: LiveStore, room: int) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
        table.add_column("stream", ratio=2, no_wrap=True)
        table.add_column("", width=1)
        table.add_column("verdict", min_width=8, no_wrap=True)
        table.add_column("score", justify="right", width=5)
        table.add_column(f"last {SPARK_S:g} s", width=SPARK_COLUMNS, no_wrap=True)
        table.add_column("lag", justify="right", width=7)
        table.add_column("windows", justify="right", width=7)
        table.add_column("why", ratio=2, no_wrap=True, overflow="ellipsis")
        streams = sorted(store.streams(), key=lambda s: (_RANK[_status(s)], s.name))
        shown = streams if len(streams) <= room else streams[: max(1, room - 1)]
        now = time.monotonic()
        for stream in shown:
            status, result = _status(stream), stream.result
            silent = stream.ended or now - stream.heard > self._agent.settings.pipeline.silent_s
            sign, style = ("×", "dim") if silent else _STATUS[status]
            why = "lead off" if stream.lead_off else "" if result is None else result.reason.replace("_", " ")
            lag = "" if silent or stream.lag_s is None else f"{max(0.0, stream.lag_s):.1f} s"
            table.add_row(
                Text(stream.name, style="dim" if silent else ""),
                Text(sign, style=style),
                Text("…" if result is None else result.label, style=style),
                Text("" if result is None else f"{result.score:.2f}"),
                Text(spark(store, stream.name), style="dim" if silent else "cyan"),
                Text(lag, style="bold red" if stream.lag_s and stream.lag_s > 5.0 else ""),
                Text("" if result is None else str(result.seq + 1)),
                Text("silent" if silent else why, style="dim"),
            )
        if len(shown) < len(streams):
            table.add_row(Text(f"and {len(streams) - len(shown)} more", style="dim"))
        return table


def _status(stream: Stream) -> str:
    return "" if stream.result is None else stream.result.status
