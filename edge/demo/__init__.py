"""``edge-agent demo``: the whole path on one machine, with an attacker on the wire in the second half.

Nothing is acted: the broker, the pseudo-terminal, the agents and the subscriber are those that a user runs,
each agent in a process of its own, and the screen shows what the subscriber received.
"""
