"""Past one machine: gateways cut windows, NATS JetStream keeps and hands them out, classifiers anywhere answer them.

Nothing here schedules, replicates or elects: the servers do (docs/scale.md).
"""
