"""Everything that reads bytes from outside, each as a function of bytes: it parses or raises our own error, no other.

A target raises where that rule is broken: AssertionError for a wrong outcome, anything else for an error that is
not ours. The corpus of each is what a fuzzer begins with.
"""

from __future__ import annotations

from tests.fuzz.targets import bundles, messages, recordings, samples, settings, state
from tests.fuzz.targets.base import Target

__all__ = ["TARGETS", "Target"]

TARGETS: dict[str, Target] = {
    **samples.TARGETS,
    **messages.TARGETS,
    **bundles.TARGETS,
    **settings.TARGETS,
    **state.TARGETS,
    **recordings.TARGETS,
}
