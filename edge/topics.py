"""The agent's MQTT topics below `<base>/<node>/`, as text; no IO. docs/mqtt.md lists them for users."""

from __future__ import annotations

from dataclasses import dataclass

from edge.names import is_name

STATE_ONLINE = "online"
STATE_STOPPED = "stopped"  # said by the agent on a clean stop
STATE_OFFLINE = "offline"  # said by the broker: the agent's last will


@dataclass(frozen=True)
class Topics:
    """Topic names of one agent. `base` and `node` are names (see `edge.names`)."""

    base: str
    node: str

    @property
    def root(self) -> str:
        return f"{self.base}/{self.node}"

    @property
    def state(self) -> str:
        return f"{self.root}/state"

    @property
    def info(self) -> str:
        return f"{self.root}/info"

    @property
    def health(self) -> str:
        return f"{self.root}/health"

    def request(self, verb: str) -> str:
        return f"{self.root}/request/{verb}"

    def response(self, verb: str) -> str:
        return f"{self.root}/response/{verb}"

    @property
    def event(self) -> str:
        return f"{self.root}/event"

    def stream(self, stream: str, leaf: str) -> str:
        """`leaf` is one of samples, result, last, availability, event, attack_rate, chain, windows."""
        return f"{self.root}/stream/{stream}/{leaf}"

    def samples_filters(self, streams: tuple[str, ...] = ()) -> list[str]:
        """Topic filters to subscribe to: the named streams, or every stream of this node.

        The second filter of "every" catches a slash in a stream's id: such a message is then counted and
        named instead of vanishing. `stream/#` would catch more, and with it each of our own results.
        """
        if streams:
            return [self.stream(s, "samples") for s in streams]
        return [f"{self.root}/stream/+/samples", f"{self.root}/stream/+/+/samples"]


def results_filter(base: str, stream: str | None, node: str | None = None, leaf: str = "result") -> str:
    """Topic filter for the results of one stream or of all, of one node or of all."""
    return f"{base}/{node or '+'}/stream/{stream or '+'}/{leaf}"


def stream_of(topic: str, root: str, leaf: str = "samples") -> str | None:
    """The stream id in `<root>/stream/<id>/<leaf>`; None where `topic` is not of that form or the id no name."""
    head, tail = f"{root}/stream/", f"/{leaf}"
    if not (topic.startswith(head) and topic.endswith(tail)):
        return None
    stream = topic[len(head) : -len(tail)]
    return stream if is_name(stream) else None
