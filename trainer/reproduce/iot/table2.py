"""Table 2 of paper 1, thermometer codes, in the one reading under which its rows can hold.

The paper contradicts itself: eq. 6 sets ones for l >= j, so a code always ends in a one; Table 2 prints codes of
eleven places for "ten evenly spaced levels", one of them all zeros; and it quantises 0.13 to 0, 0.54 to 0.5, 0.96 to
1, which is a step of a half. Chosen here: level l is lit where the value has reached threshold l
(``edge.bundle.thermometer``), the complement of what is printed, since a code that grows with the value keeps its
order; a classifier that may learn signs loses nothing. With eleven thresholds at 1/11, 2/11, ..., 1 the complement of
our code gives every printed code from the printed quantised value. From the continuous values themselves only the
middle row's code comes out: 0.13 has reached the first threshold, and 0.96 not the last.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.bundle.thermometer import encode
from trainer.models.layers import even_thresholds

PLACES = 11
PRINTED = ((0.13, 0.0, "11111111111"), (0.54, 0.5, "00000111111"), (0.96, 1.0, "00000000000"))


@dataclass(frozen=True)
class Row:
    """A row of Table 2 and what our code gives, both as the paper prints codes (complemented)."""

    value: float
    quantised: float
    printed: str
    code_of_quantised: str
    code_of_value: str


def printed_code(value: float) -> str:
    """Our code of a value in [0, 1], complemented, as text."""
    thresholds = even_thresholds(PLACES, 0.0, (PLACES + 1) / PLACES)
    return "".join("0" if lit else "1" for lit in encode(value, thresholds))


def rows() -> list[Row]:
    return [Row(v, q, code, printed_code(q), printed_code(v)) for v, q, code in PRINTED]
