"""The contract between the trainer and the edge: one file with a model and all that is promised about it.

Reading needs numpy, the standard library and, for signed bundles, cryptography; never an interpreter.
"""

from __future__ import annotations

from edge.zoo import resolve_bundle

from .attacked import Attacked
from .manifest import Decision, InputSpec, Manifest, MemberEntry, OutputSpec, Thermometer
from .store import MAX_BUNDLE_BYTES, Bundle, parse_bundle, read_bundle, write_bundle
from .vectors import Vectors

__all__ = [
    "MAX_BUNDLE_BYTES",
    "Attacked",
    "Bundle",
    "Decision",
    "InputSpec",
    "Manifest",
    "MemberEntry",
    "OutputSpec",
    "Thermometer",
    "Vectors",
    "parse_bundle",
    "read_bundle",
    "resolve_bundle",
    "write_bundle",
]
