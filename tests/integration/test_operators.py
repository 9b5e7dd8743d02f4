"""What operators connect: Home Assistant's discovery, Prometheus, Grafana's dashboard, logs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import jsonschema
import pytest

from benchmarks.mosquitto import free_port
from edge.bundle import Decision
from edge.homeassistant import discovery
from edge.topics import Topics
from tests.conftest import REPOSITORY
from tests.edge.agent.helpers import signal as ecg
from tests.edge.tiny import RATE_HZ, tiny_bundle, tiny_manifest
from tests.integration.rig import Broker, agent, listener, samples_json, wait_for

SCHEMA = json.loads(Path(__file__).with_name("homeassistant.schema.json").read_text())
DASHBOARD = json.loads((REPOSITORY / "deploy" / "grafana" / "wavewall.json").read_text())


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def samples_of(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_an_agent_as_operators_see_it(broker: Broker, tmp_path: Path):
    bundle = tiny_bundle(tmp_path / "tiny.bundle", decision=Decision(suspect_residual=1e-6))
    port = free_port()
    words = ["--mqtt-port", broker.port, "--bundle", bundle, "--node", "gw1", "--log-format", "json"]
    words += ["--homeassistant-discovery", "true", "--metrics-enabled", "true", "--metrics-port", port]
    broker.start()
    with listener(broker.port, "#") as client, agent(tmp_path, *words) as running:
        for message in samples_json(ecg(400), RATE_HZ, 40):
            client.publish("wavewall/gw1/stream/bed-1/samples", message)
        client.publish("wavewall/gw1/stream/bed-1/samples", "nonsense")
        client.wait_results(22)
        wait_for(lambda: 'reason="not_json"' in scrape(port), "the drop in the metrics")
        text = scrape(port)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{port}/metrics", method="DELETE")
            )
        told = [json.loads(payload) for payload in client.of("config")]
        _, took_s = running.stop()
    assert took_s < 5

    (payload,) = told
    jsonschema.validate(payload, SCHEMA)
    ((topic, retained),) = [(t, r) for t, _, r in client.messages if t.endswith("/config")]
    assert topic == "homeassistant/device/wavewall_gw1_bed-1/config"
    with listener(broker.port, topic) as late:
        wait_for(lambda: late.messages, "the retained configuration")
    assert not retained
    assert late.messages[0][2]
    heard = {t for t, _, _ in client.messages}
    topics = [entity["state_topic"] for entity in payload["components"].values()]
    topics += [a["topic"] for entity in payload["components"].values() for a in entity["availability"]]
    assert set(topics) <= heard, "every topic that is named exists"

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    values = samples_of(text)
    assert values["wavewall_windows_total"] == 22
    assert values['wavewall_verdicts_total{status="suspect"}'] == 22
    assert (
        values['wavewall_latency_seconds_bucket{le="+Inf"}'] == values["wavewall_latency_seconds_count"] == 22
    )
    assert values['wavewall_dropped_total{reason="not_json"}'] == 1
    assert values["wavewall_streams_online"] in (0, 1)
    assert 1e6 < values["wavewall_resident_memory_bytes"] < 200e6
    assert any(name.startswith("wavewall_model_info{") and "tiny@1.0.0" in name for name in values)

    logs = [json.loads(line) for line in running.said().splitlines() if line.startswith("{")]
    assert {"t", "level", "logger", "message"} <= set(logs[0])
    assert any(line["message"].startswith("started: tiny@1.0.0") for line in logs)
    assert any(line["level"] == "warning" and "not_json" in line["message"] for line in logs)


def test_every_panel_asks_for_what_is_exported(tmp_path: Path):
    from edge.metrics import Histogram, Metrics
    from edge.prometheus import AgentCollector, make_exporter

    metrics, latency = Metrics(), Histogram()
    for name in ("windows", "samples", "gaps", "missing"):
        metrics.add(name)
    for name in ("verdicts", "dropped", "restarts", "events"):
        metrics.add_by(name, "x")
    metrics.gauge("queue_blocks", lambda: 3.0)
    facts = {"streams": 1, "online": 1, "status": "ok", "uptime_s": 1.0, "rss_bytes": 1, "boot_id": "b"}
    facts["sinks"] = [{"name": "mqtt localhost:1883", "waiting": 2}]
    collector = AgentCollector(metrics, latency, lambda: facts, lambda: "tiny@1")
    exported = {s.name for family in collector.collect() for s in family.samples}
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert len(asked) > 10
    for expression in asked:
        names = set(re.findall(r"wavewall_\w+", expression))
        assert names, expression
        assert names <= exported, f"{expression} asks for {names - exported}"
    # promtool reads the expressions as a rule file would hold them.
    rules = [{"record": f"panel:{at}", "expr": e.replace("$instance", ".*")} for at, e in enumerate(asked)]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    server = make_exporter("127.0.0.1", 0, collector)
    with pytest.raises(Exception, match="cannot listen"):
        make_exporter("127.0.0.1", server.server_port, collector)
    server.server_close()


def test_the_schema_of_home_assistant_is_one_that_refuses():
    _, text = discovery(Topics("wavewall", "gw1"), "bed-1", tiny_manifest(), "homeassistant")
    good = json.loads(text)
    jsonschema.validate(good, SCHEMA)
    ids = [entity["unique_id"] for entity in good["components"].values()]
    assert len(set(ids)) == len(ids) == 4
    wrong = json.loads(text)
    wrong["components"]["label"]["unit_of_measurement"] = "%"
    wrongs = [good | {"extra": 1}, {k: v for k, v in good.items() if k != "origin"}, wrong]
    for payload in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(payload, SCHEMA)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--homeassistant-prefix", "home/+"], "homeassistant.prefix = 'home/+': may hold"),
        (["--homeassistant-prefix", "#"], "homeassistant.prefix = '#': may hold"),
        (["--homeassistant-discovery", "true", "--sink", "stdout"], "topic `last`"),
        (
            ["--metrics-enabled", "true", "--metrics-host", "192.0.2.1", "--sink", "stdout"],
            "cannot listen on 192.0.2.1",
        ),
    ],
)
def test_settings_that_cannot_work(bundle: Path, words: list[str], says: str):
    command = [sys.executable, "-m", "edge.cli", "run", "--bundle", str(bundle), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
