"""The state folder of an agent: its lock, and what an earlier run owes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge import durability as module
from edge.bundle import InputSpec
from edge.clock import SYSTEM_CLOCK
from edge.config import DeliverySettings, DurabilitySettings, PipelineSettings
from edge.durability import Durability, lock_folder
from edge.metrics import Metrics
from edge.settings import ConfigError
from tests.edge.agent.helpers import block
from tests.edge.recorder.test_recorder import recorder, write
from tests.edge.tiny import HOP, RATE_HZ, WINDOW

SPEC = InputSpec(("ecg",), "uV", RATE_HZ, WINDOW, HOP)


def opened(folder: Path) -> Durability:
    settings = DurabilitySettings(folder=folder)
    return Durability(settings, folder, DeliverySettings(), PipelineSettings(), SPEC, Metrics(), SYSTEM_CLOCK)


def test_a_folder_serves_one_agent(tmp_path: Path):
    first = opened(tmp_path)
    with pytest.raises(ConfigError, match="in use"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_a_folder_that_is_a_file_is_a_mistake(tmp_path: Path):
    (tmp_path / "x").write_text("")
    with pytest.raises(ConfigError, match=r"durability\.folder"):
        lock_folder(tmp_path / "x")


def test_what_ends_the_process_again_and_again_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A window that crashes native code must not keep the agent down for ever."""
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 3)
    (tmp_path / "samples").mkdir()
    write(recorder(tmp_path / "samples"), [block([k], first=k) for k in range(4)])
    for start in range(1, 6):
        state = opened(tmp_path)
        owed = state.owed()
        _, is_owed, _ = next(owed)  # and here it dies
        assert is_owed == (start <= 3)
        if start < 5:
            os.close(state._lock)
            state.store.close()
    assert [is_owed for _, is_owed, _ in owed] == [False] * 3
    assert not (tmp_path / "recovering").exists()
    state.close()
