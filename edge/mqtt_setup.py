"""paho's client as the settings want it: session, login, TLS, transport, caps."""

from __future__ import annotations

from typing import Any

from edge.config import MqttSettings
from edge.mqtt_tls import make_context, refuse_readable_by_others
from edge.settings import ConfigError

# Publishes that wait inside paho; the spool is where results wait, so this only has to hold one batch and the
# retained topics.
MAX_QUEUED = 4096


def password_of(settings: MqttSettings) -> str | None:
    """The password from the settings or its file. Raises ConfigError."""
    if settings.password is not None:
        return settings.password.get_secret_value()
    if settings.password_file is None:
        return None
    refuse_readable_by_others(settings.password_file, "mqtt.password_file")
    try:
        lines = settings.password_file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"mqtt.password_file {settings.password_file}: {error}", key="mqtt.password_file"
        ) from error
    if not lines or not lines[0]:
        raise ConfigError(f"mqtt.password_file {settings.password_file}: its first line is empty")
    return lines[0]


def make_client(settings: MqttSettings, client_id: str, lasting: bool, will: tuple[str, str] | None) -> Any:
    """A client without callbacks. `will` is (topic, payload). Raises ConfigError."""
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    from edge.mqtt_client import BulkClient

    v5 = settings.version == "5"
    client = BulkClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
        # MQTT 3.1.1 has one flag for both ends of a session's life.
        clean_session=None if v5 else not lasting,
        manual_ack=lasting,
        reconnect_on_failure=True,
        transport=settings.transport,
    )
    if settings.tls:
        client.tls_set_context(make_context(settings))
    if settings.transport == "websockets":
        client.ws_set_options(settings.ws_path)
    client.connect_timeout = settings.connect_timeout_s
    client.max_queued_messages_set(MAX_QUEUED)
    if settings.username is not None:
        client.username_pw_set(settings.username, password_of(settings))
    if will is not None:
        client.will_set(will[0], will[1], qos=1, retain=True)
    return client


def aim(client: Any, settings: MqttSettings, lasting: bool) -> None:
    """Tell the client where `reconnect` goes to, and what it asks for there."""
    if settings.version != "5":
        client.connect_async(settings.host, settings.port, settings.keepalive_s)
        return
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = settings.receive_maximum
    properties.MaximumPacketSize = settings.max_packet_bytes
    if lasting:
        properties.SessionExpiryInterval = settings.session_expiry_s
    client.connect_async(
        settings.host, settings.port, settings.keepalive_s, clean_start=not lasting, properties=properties
    )
