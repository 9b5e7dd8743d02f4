"""Server-sent events that never make anybody wait: what a client missed is merged into its next message.

There is no queue to a client. At each turn its `Feed` builds one message from the store as it is now, hands it to
the socket and goes on when the socket has taken it: a slow client gets fewer messages, never older ones.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A client whose socket took so long for one message is given up; its browser connects again.
STUCK_S = 30.0
# After a message that took T to send, the next one comes T * EASE later at the earliest.
EASE = 4.0
SLOWEST_S = 10.0
QUIET_S = 10.0


class Feed(Protocol):
    """What one client is told. `period_s` is its pace at best."""

    period_s: float

    async def messages(self, late: bool) -> list[tuple[str, object]]:
        """(event, data) to send now; `late` when the client did not keep up with the last ones."""
        ...


def encode(event: str, data: object) -> bytes:
    """One event on the wire."""
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n".encode()


async def serve(feed: Feed, receive: Receive, send: Send, closing: asyncio.Event) -> None:
    """Feed one client until it leaves, sticks or the page closes. The ASGI response as a whole."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.ensure_future(_disconnected(receive))
    ended = asyncio.ensure_future(closing.wait())
    try:
        await _pump(feed, send, (gone, ended))
    except asyncio.TimeoutError:
        return  # stuck; the connection is dropped with the task
    finally:
        gone.cancel()
        ended.cancel()
    if not gone.done() or gone.cancelled():
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pump(feed: Feed, send: Send, ends: tuple[asyncio.Future[Any], ...]) -> None:
    period, late, said = feed.period_s, False, time.monotonic()
    # The browser waits this long before it connects again.
    piece = b"retry: 1000\n\n"
    while not any(end.done() for end in ends):
        piece += b"".join(encode(event, data) for event, data in await feed.messages(late))
        now = time.monotonic()
        if not piece and now - said > QUIET_S:
            piece = b": still here\n\n"  # a proxy or a dead peer would not notice silence
        took = 0.0
        if piece:
            await asyncio.wait_for(send({"type": "http.response.body", "body": piece, "more_body": True}), STUCK_S)
            said = time.monotonic()
            took, piece = said - now, b""
        late = took > feed.period_s
        period = min(SLOWEST_S, max(feed.period_s, took * EASE))
        await asyncio.wait(ends, timeout=period, return_when=asyncio.FIRST_COMPLETED)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
