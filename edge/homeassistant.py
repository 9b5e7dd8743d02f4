"""Home Assistant's MQTT discovery: one retained message a stream makes a device with four entities. Pure data.

Source: home-assistant.io/integrations/mqtt, "Device discovery payload" (Home Assistant 2024.12 and later).
"""

from __future__ import annotations

import json
from typing import Any

from edge.bundle import Manifest
from edge.health import version
from edge.topics import STATE_ONLINE, Topics

ONLINE, OFFLINE = "online", "offline"


def discovery(topics: Topics, stream: str, manifest: Manifest, prefix: str) -> tuple[str, str]:
    """(topic, payload) that announce a stream: its label, score, whether it is heard, and tampering."""
    device = f"{topics.base}_{topics.node}_{stream}"
    last = topics.stream(stream, "last")
    agent = {
        "topic": topics.state,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        # The agent has a third word, for a clean stop.
        "value_template": f"{{{{ '{ONLINE}' if value == '{STATE_ONLINE}' else '{OFFLINE}' }}}}",
    }
    heard = {
        "topic": topics.stream(stream, "availability"),
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
    }

    def entity(leaf: str, platform: str, name: str, **more: Any) -> dict[str, Any]:
        return {
            "platform": platform,
            "name": name,
            "unique_id": f"{device}_{leaf}",
            "state_topic": last,
            "availability": [agent, heard],
            "availability_mode": "all",
            **more,
        }

    payload = {
        "device": {
            "identifiers": [device],
            "name": f"{stream} at {topics.node}",
            "manufacturer": "wavewall",
            "model": manifest.ref,
            "sw_version": version(),
        },
        "origin": {"name": "wavewall", "sw_version": version()},
        "components": {
            "label": entity(
                "label",
                "sensor",
                "Label",
                device_class="enum",
                options=list(manifest.labels),
                value_template="{{ value_json.label }}",
                json_attributes_topic=last,
            ),
            "score": entity(
                "score",
                "sensor",
                "Score",
                state_class="measurement",
                unit_of_measurement="%",
                suggested_display_precision=1,
                value_template="{{ value_json.score * 100 }}",
            ),
            "tamper": entity(
                "tamper",
                "binary_sensor",
                "Tampering",
                device_class="tamper",
                payload_on="ON",
                payload_off="OFF",
                value_template="{{ 'ON' if value_json.status == 'suspect' else 'OFF' }}",
            ),
            "signal": entity(
                "signal",
                "binary_sensor",
                "Signal",
                device_class="connectivity",
                state_topic=heard["topic"],
                payload_on=ONLINE,
                payload_off=OFFLINE,
                availability=[agent],
            ),
        },
        "qos": 1,
    }
    return f"{prefix}/device/{device}/config", json.dumps(payload, separators=(",", ":"))
