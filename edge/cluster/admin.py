"""What the servers keep for us: a work queue of windows, a stream of results, one consumer that all classifiers share.

`edge-agent cluster init` creates them or brings them to the settings, `edge-agent cluster status` shows them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edge.config import ClusterSettings, Settings
from edge.errors import EdgeError
from edge.mqtt_tls import refuse_readable_by_others
from edge.settings import ConfigError

CONSUMER = "classifiers"
CONNECT_S = 5.0
# Work that nobody acknowledges within so many deliveries is still wanted: only its age ends it.
NO_LIMIT = -1


class ClusterError(EdgeError):
    """The servers cannot be used, or do not have what is needed; the text says what to do."""


def windows_stream(base: str) -> str:
    return f"{base}-windows"


def results_stream(base: str) -> str:
    return f"{base}-results"


def nats_module() -> Any:
    """nats-py, which only the cluster needs. Raises ConfigError."""
    try:
        import nats
    except ModuleNotFoundError as error:
        raise ConfigError("this needs nats-py: pip install 'wavewall[cluster]'") from error
    return nats


def options(settings: ClusterSettings) -> dict[str, Any]:
    """What nats.connect takes from the settings. Raises ConfigError."""
    given: dict[str, Any] = {"servers": list(settings.servers), "connect_timeout": CONNECT_S}
    if settings.user is not None:
        given["user"] = settings.user
    for key in ("password_file", "credentials_file"):
        path = getattr(settings, key)
        if path is not None:
            refuse_readable_by_others(path, f"cluster.{key}")
    if settings.password_file is not None:
        try:
            given["password"] = settings.password_file.read_text("utf-8").splitlines()[0]
        except (OSError, IndexError, UnicodeDecodeError) as error:
            raise ConfigError(f"cluster.password_file: {error}", key="cluster.password_file") from error
    if settings.credentials_file is not None:
        given["user_credentials"] = str(settings.credentials_file)
    return given


@asynccontextmanager
async def connected(settings: ClusterSettings) -> AsyncIterator[Any]:
    """A connection for one command. Raises ClusterError."""
    nats = nats_module()

    async def quiet(error: Exception) -> None:
        """The command says it once."""

    try:
        connection = await nats.connect(
            **options(settings), allow_reconnect=False, max_reconnect_attempts=1, error_cb=quiet
        )
    except Exception as error:
        raise ClusterError(f"{', '.join(settings.servers)}: {error or type(error).__name__}; is it running?") from error
    try:
        yield connection
    finally:
        await connection.close()


async def init(settings: Settings) -> list[str]:
    """Create or change streams and consumer; what was done, in words. Raises ClusterError."""
    from nats.js import api, errors

    cluster, base = settings.cluster, settings.node.base
    streams = [
        api.StreamConfig(
            name=windows_stream(base),
            description="Windows that wait for a classifier",
            subjects=[f"{base}.*.stream.*.windows"],
            retention=api.RetentionPolicy.WORK_QUEUE,
            storage=api.StorageType.FILE,
            num_replicas=cluster.replicas,
            max_age=cluster.windows_keep_s,
            max_bytes=cluster.windows_max_bytes,
            discard=api.DiscardPolicy.OLD,
        ),
        api.StreamConfig(
            name=results_stream(base),
            description="Results; what repeats an id is not stored again",
            subjects=[f"{base}.*.stream.*.result"],
            retention=api.RetentionPolicy.LIMITS,
            storage=api.StorageType.FILE,
            num_replicas=cluster.replicas,
            max_age=cluster.results_keep_s,
            max_bytes=cluster.results_max_bytes,
            discard=api.DiscardPolicy.OLD,
            duplicate_window=cluster.repeats_s,
        ),
    ]
    consumer = api.ConsumerConfig(
        durable_name=CONSUMER,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=cluster.ack_wait_s,
        max_deliver=NO_LIMIT,
        max_ack_pending=cluster.max_unacknowledged,
    )
    done = []
    async with connected(cluster) as connection:
        js = connection.jetstream(timeout=CONNECT_S)
        try:
            for config in streams:
                try:
                    await js.stream_info(config.name)
                    await js.update_stream(config)
                    done.append(f"stream {config.name}: brought to the settings")
                except errors.NotFoundError:
                    await js.add_stream(config)
                    done.append(f"stream {config.name}: created, {cluster.replicas} replica(s)")
            await js.add_consumer(windows_stream(base), consumer)
            done.append(f"consumer {CONSUMER}: acknowledgement within {cluster.ack_wait_s:g} s")
        except Exception as error:
            why = getattr(error, "description", None) or error or type(error).__name__
            raise ClusterError(
                f"{why}; are there cluster.replicas servers with JetStream, and do they have room for "
                "cluster.windows_max_bytes and cluster.results_max_bytes?"
            ) from error
    return done


async def status(settings: Settings) -> dict[str, Any]:
    """Lag, redeliveries and replicas. Raises ClusterError."""
    from nats.js import errors

    base = settings.node.base
    async with connected(settings.cluster) as connection:
        js = connection.jetstream(timeout=CONNECT_S)
        try:
            streams = [_stream(await js.stream_info(name)) for name in (windows_stream(base), results_stream(base))]
            consumer = await js.consumer_info(windows_stream(base), CONSUMER)
        except errors.NotFoundError as error:
            raise ClusterError(f"the streams of {base} are not there; run: edge-agent cluster init") from error
        except Exception as error:
            why = error or type(error).__name__
            raise ClusterError(f"no answer of JetStream ({why}); is there a leader?") from error
    return {
        "streams": streams,
        "lag": consumer.num_pending or 0,
        "unacknowledged": consumer.num_ack_pending or 0,
        "redelivered": consumer.num_redelivered or 0,
        "classifiers_waiting": consumer.num_waiting or 0,
    }


def _stream(info: Any) -> dict[str, Any]:
    cluster = info.cluster
    peers = (cluster.replicas or []) if cluster is not None else []
    return {
        "name": info.config.name,
        "messages": info.state.messages,
        "bytes": info.state.bytes,
        "replicas": info.config.num_replicas,
        "leader": cluster.leader if cluster is not None else None,
        "followers": [
            {"name": peer.name, "current": bool(peer.current), "offline": bool(peer.offline), "lag": peer.lag or 0}
            for peer in peers
        ],
    }
