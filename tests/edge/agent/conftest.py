"""Hypothesis without its deadline: these tests share two cores with whatever else runs."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
