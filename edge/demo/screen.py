"""What the demo shows: results in, lines of text out. No IO, so that a test can read it."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.demo.stage import Part, Stage
from edge.types import Result

UNDEFENDED = "ecg-undefended"
DEFENDED = "ecg-rhythm"
MODELS = (UNDEFENDED, DEFENDED)
LEAST_WINDOWS = 2  # on each side of the attack, seen from both models; fewer show nothing

_CELL = 29
_BOLD, _RED, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


@dataclass
class Tally:
    """One model's windows under attack, compared with its own answer on the same window when clean."""

    flipped: int = 0
    flipped_unnoticed: int = 0  # another label, and status ok
    held: int = 0
    suspect: int = 0  # whatever the label
    compared: int = 0
    lost: int = 0  # no clean window to compare with: its result never came


@dataclass
class Screen:
    """Collects results and puts both models' verdicts on a window side by side.

    `colour`: use terminal colours. Windows are known by their first sample.
    """

    stage: Stage
    window_samples: int
    colour: bool = False
    seen: dict[tuple[str, int], Result] = field(default_factory=dict)
    _announced: bool = False

    def push(self, model: str, first: int, result: Result) -> list[str]:
        """The lines to print now: a row once both models have spoken on that window."""
        if (model, first) in self.seen:
            return []  # delivery is at least once
        self.seen[(model, first)] = result
        if any((name, first) not in self.seen for name in MODELS):
            return []
        lines = []
        if self._part(first) != "clean" and not self._announced:
            self._announced = True
            lines.append(self._attack_line())
        return [*lines, self._row(first)]

    def head(self) -> str:
        """Titles of the columns."""
        return self._paint(f"  signal   wire      was made as       {UNDEFENDED:<{_CELL}}{DEFENDED}", _BOLD)

    def _part(self, first: int) -> Part:
        return self.stage.part(first, self.window_samples)

    def _attack_line(self) -> str:
        delta = self.stage.delta.astype(float)
        largest, rms = abs(delta).max(), (delta**2).mean() ** 0.5
        name, end = self.stage.rhythms[0]
        size = float(self.stage.recording.physical[:end].std())
        return self._paint(
            f"--- an attacker is on the wire: every sample is changed by at most {largest:.0f} µV "
            f"(rms {rms:.1f} µV; that of the {name} part is {size:.0f} µV). The same record from its start. ---",
            _YELLOW,
        )

    def _row(self, first: int) -> str:
        rate = self.stage.recording.rate_hz
        ends_s = (first + self.window_samples) / rate
        rhythm = self.stage.rhythm(first, self.window_samples)
        cells = [self._cell(model, first) for model in MODELS]
        return f"{ends_s:6.0f} s   {self._part(first):<9} {rhythm:<17} {''.join(cells)}".rstrip()

    def _cell(self, model: str, first: int) -> str:
        result = self.seen[(model, first)]
        text = f"{result.label:<7}{result.score:4.2f} {result.status:<7}"
        remark, colour = "", ""
        if self._part(first) == "attacked":
            before = self.seen.get((model, self.stage.twin(first)))
            if before is not None:
                flipped = before.label != result.label
                remark = "FLIPPED" if flipped else "held"
                colour = _RED if flipped and result.status == "ok" else _GREEN
        if result.status != "ok":
            colour = _YELLOW
        return self._paint(f"{text} {remark}".ljust(_CELL), colour)

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self.colour and colour else text

    def count(self, model: str, part: Part) -> int:
        """Windows of that part on which this model has spoken."""
        return sum(name == model and self._part(first) == part for name, first in self.seen)

    def tally(self, model: str) -> Tally:
        """How the model stood under attack."""
        tally = Tally()
        for (name, first), result in self.seen.items():
            if name != model or self._part(first) != "attacked":
                continue
            before = self.seen.get((name, self.stage.twin(first)))
            if before is None:
                tally.lost += 1
                continue
            tally.compared += 1
            flipped = before.label != result.label
            tally.flipped += flipped
            tally.held += not flipped
            tally.flipped_unnoticed += flipped and result.status == "ok"
            tally.suspect += result.status == "suspect"
        return tally

    def summary(self) -> tuple[list[str], bool]:
        """(lines, whether enough was seen to say anything)."""
        lines = ["", self._paint("Summary", _BOLD)]
        enough = True
        for model in MODELS:
            clean, attacked = self.count(model, "clean"), self.count(model, "attacked")
            tally = self.tally(model)
            enough = enough and clean >= LEAST_WINDOWS and tally.compared >= LEAST_WINDOWS
            lines.append(
                f"  {model:<15} {clean} windows clean, {attacked} attacked: {tally.flipped} flipped "
                f"({tally.flipped_unnoticed} of them with status ok), {tally.held} held, {tally.suspect} suspect"
            )
            if tally.lost:
                lines.append(f"  {'':<15} {tally.lost} attacked windows had no clean one to compare with")
        lines.append("")
        lines.append(self._verdict() if enough else self._too_few())
        return lines, enough

    def _verdict(self) -> str:
        """One sentence, and a true one, whichever way it went."""
        weak, strong = self.tally(UNDEFENDED), self.tally(DEFENDED)
        largest = abs(self.stage.delta.astype(int)).max()
        a = f"With at most {largest} µV on the wire the undefended model changed its answer on {weak.flipped} "
        a += f"of {weak.compared} windows"
        b = f"the defended one on {strong.flipped} of {strong.compared}"
        if strong.flipped:
            b += f", {strong.flipped - strong.flipped_unnoticed} of them marked as not to be relied on"
        if weak.flipped_unnoticed <= strong.flipped_unnoticed:
            return f"{a}, {b}: this time the defence made no difference."
        return f"{a}, {b}."

    @staticmethod
    def _too_few() -> str:
        return (
            f"Too little was seen: at least {LEAST_WINDOWS} windows before and {LEAST_WINDOWS} during the attack "
            "are needed from both models. Give it more --seconds."
        )
