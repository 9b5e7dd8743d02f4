"""The contract between the trainer and the edge: one file with a model and all that is promised about it.

Reading needs numpy, the standard library and, for signed bundles, cryptography; never an interpreter.
"""

from __future__ import annotations

from .manifest import Decision, InputSpec, Manifest, MemberEntry, OutputSpec, Thermometer

__all__ = ["Decision", "InputSpec", "Manifest", "MemberEntry", "OutputSpec", "Thermometer"]
