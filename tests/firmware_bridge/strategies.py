"""Hypothesis strategies for everything that may travel on the wire."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from firmware_bridge import messages as m

NAMES = st.text("ABCxyz019_-", min_size=1, max_size=16)
IDS = st.text("ABCxyz019_-", min_size=1, max_size=32)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=32)
U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
# What survives nine significant digits.
DECIMALS = st.builds(
    lambda mantissa, exponent: float(f"{mantissa}e{exponent}"),
    st.integers(-(10**9) + 1, 10**9 - 1),
    st.integers(-12, 12),
)
RATES = st.one_of(
    st.sampled_from([1.0, 250.0, 300.0, 360.0, 1 / 60, 16_000_000 / 53_312, 100_000.0]),
    st.builds(lambda n, d: n / d, st.integers(1, 1000), st.integers(1, 65535)),
)


@st.composite
def channels(draw: st.DrawFn) -> tuple[m.Channel, ...]:
    names = draw(st.lists(NAMES, min_size=1, max_size=16, unique=True))
    unit = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
    return tuple(m.Channel(n, draw(unit), draw(DECIMALS.filter(bool)), draw(DECIMALS)) for n in names)


@st.composite
def samples(draw: st.DrawFn, tagged: bool = False) -> m.Samples:
    width = draw(st.integers(1, 16))
    room = (m.MAX_BODY_BYTES - 19 - 16 * tagged) // (2 * width)
    count = draw(st.integers(0, min(room, m.MAX_SAMPLES)))
    values = draw(hnp.arrays(np.int16, (count, width)))
    return m.Samples(draw(U32), draw(U32), values, draw(st.booleans()), draw(U16))


hellos = st.builds(
    m.Hello, IDS, PRINTABLE, RATES, channels(), U32, st.booleans(), st.integers(0, m.MAX_RESEND_SAMPLES)
)
statuses = st.builds(
    m.Status,
    U32,
    U32,
    U32,
    U16,
    st.none() | st.integers(0, 65534),
    st.none() | st.integers(0, 100),
    st.booleans(),
)
logs = st.builds(
    m.Log, U32, st.integers(0, 3), st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
)
acks = st.builds(m.Ack, U16, U8, U8, U32)
commands = st.one_of(
    st.builds(m.Command, U16, U8.filter(lambda verb: verb != m.Verb.RESEND)),
    st.builds(
        lambda i, first, size: m.Command(i, m.Verb.RESEND, first, (first + size) % (1 << 32)),
        U16,
        U32,
        st.integers(1, 65535),
    ),
)
verdicts = st.builds(
    m.Verdict,
    U32,
    U32,
    st.integers(0, 2),
    st.text("abcµ~ ", max_size=16),
    st.integers(0, 1000).map(lambda n: n / 1000),
    st.none() | st.integers(0, 254),
)
any_message = st.one_of(hellos, samples(), statuses, logs, acks, commands, verdicts)
