"""Every command of `edge-agent`, in the order of its help."""

from __future__ import annotations

from edge.cli import (
    attack,
    bench,
    calibrate,
    check,
    cluster,
    config,
    init,
    model,
    no_commands,
    ports,
    recorder,
    replay,
    run,
    subscribe,
    verify,
)
from edge.demo.command import demo

app = no_commands()

run.register(app)
init.register(app)
check.register(app)
replay.register(app)
recorder.register(app)
subscribe.register(app)
verify.register(app)
model.register(app)
cluster.register(app)
ports.register(app)
config.register(app)
calibrate.register(app)
attack.register(app)
bench.register(app)
app.command("demo")(demo)
