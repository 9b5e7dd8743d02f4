"""Requests over MQTT: `request/<verb>` in, one answer out. Off unless `[requests] enabled` says otherwise.

A part that offers a verb makes a `Verb` and adds it to the agent's `Registry` (see verbs.py); which verbs may be
asked for is the configuration's choice, not the code's.
"""

from edge.requests.registry import Arguments, Registry, RequestError, Verb

__all__ = ["Arguments", "Registry", "RequestError", "Verb"]
