"""A verdict together with what it was reached from, for people who look: what Model.classify and edge.stream give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.bundle import Manifest
from edge.types import Scores, Verdict, Window, rfc3339

__all__ = ["Answer"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer(Verdict):
    """A Verdict with its window, the model's scores and the bundle's manifest. Two are equal when their verdicts are.

    A notebook shows it as a strip of the signal with the verdict above.
    """

    window: Window | None = None
    scores: Scores | None = None
    manifest: Manifest | None = None

    def to_dict(self) -> dict[str, Any]:
        """One flat row, as a table of many wants it: `pandas.DataFrame(answer.to_dict() for answer in ...)`.

        stream, t0 (RFC 3339, UTC), first_index, label, score, status, reason, residual, disagreement, missing, and
        p_<label> for each label.
        """
        row: dict[str, Any] = {}
        if self.window is not None:
            row = {
                "stream": self.window.stream,
                "t0": rfc3339(self.window.t0),
                "first_index": self.window.first_index,
                "missing": self.window.missing,
            }
        row |= {"label": self.label, "score": self.score, "status": self.status, "reason": self.reason}
        row |= {"residual": self.residual, "disagreement": self.disagreement}
        return row | {f"p_{label}": value for label, value in self.probabilities.items()}

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return f"<{self.label} {self.score:.2f}, {self.status}{why}>"

    def _repr_html_(self) -> str:
        from edge.notebook import answer_html

        return answer_html(self)
