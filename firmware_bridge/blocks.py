"""Samples with their place in a device's count, as a receiver gives them out."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.messages import Hello, Samples

WRAP = 1 << 32


@dataclass(frozen=True, slots=True)
class Block:
    """Samples with their place: ``first_index`` counts from the start of ``epoch`` and never wraps."""

    epoch: str
    first_index: int
    hello: Hello
    samples: Samples


@dataclass
class ReceiverCounters:
    """What a receiver has seen. Numbers of samples are per channel."""

    blocks: int = 0
    gaps: int = 0
    missing_samples: int = 0
    filled_samples: int = 0
    repeats: int = 0
    restarts: int = 0
    before_hello: int = 0
    asked: int = 0


def form(hello: Hello) -> tuple[float, tuple[str, ...]]:
    return hello.rate_hz, tuple(channel.name for channel in hello.channels)


def part(block: Block, low: int, high: int) -> Block:
    """Samples ``low`` to ``high`` - 1 of a block."""
    start = low - block.first_index
    values = block.samples.values[start : high - block.first_index]
    if len(values) == len(block.samples.values):
        return block
    time_us = block.samples.device_time_us + round(start * 1e6 / block.hello.rate_hz)
    end = block.samples.end and high == block.first_index + len(block.samples.values)
    samples = Samples((block.samples.seq + start) % WRAP, time_us % WRAP, values, end, block.samples.lead_off)
    return Block(block.epoch, low, block.hello, samples)
