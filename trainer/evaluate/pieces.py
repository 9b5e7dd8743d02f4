"""One attack on one block of records: a task for any process, with a result that a later run can take from a file.

A piece holds its windows and names its models, so that a worker needs the models' files and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from trainer import zoo
from trainer.cells import Cells
from trainer.evaluate.answers import Attacked, candidates
from trainer.evaluate.subject import Opening, Subject, open_foreign, open_subject
from trainer.evaluate.targets import DeviceTarget, FloatTarget, ForeignTarget, Target

FORMAT = "pieces of trainer evaluate, 1"


@dataclass(frozen=True)
class Piece:
    """Windows ``x`` (n, time, channel), ``valid`` (n, time), classes ``y`` (n,), and what happens to them.

    ``attack`` None is none at all; ``targets`` answer; ``surrogate`` is the only gradient to try, all if None.
    ``asks``: an attack without gradients that asks each target itself instead of the attacked model.
    """

    x: np.ndarray
    valid: np.ndarray
    y: np.ndarray
    attack: str | None
    epsilon: float
    settings: Mapping[str, Any]
    targets: tuple[str, ...]
    seed: tuple[int, int]
    surrogate: str | None = None
    asks: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of one gradient (or of asking each target itself).

    ``stuck`` (n,): which had no gradient. By target: ``probabilities`` (n, class) and, where something judges,
    ``noticed`` (n,). Of ``compared`` pairs of records of one class ``alike`` were moved the same way.
    """

    gradient: str
    stuck: np.ndarray
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    noticed: dict[str, np.ndarray] = field(default_factory=dict)
    alike: int = 0
    compared: int = 0


class Asked:
    """A target as an attack without gradients sees it: ``predict`` gives logits (the logs of its answers)."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.name = target.name

    def predict(self, x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        valid = np.ones(x.shape[:2], bool) if valid is None else valid
        return np.log(np.maximum(self._target.probabilities(x, valid), 1e-12))


def targets_of(subject: Subject, names: Sequence[str]) -> list[Target]:
    """What answers: ``float`` the twin, ``int8`` or ``file`` the bundle's file."""
    found: list[Target] = []
    if "float" in names:
        found.append(FloatTarget(subject.twin))
    for name in ("int8", "file"):
        if name in names:
            found.append(_file_target(subject, name))
    return found


def _file_target(subject: Subject, name: str) -> Target:
    if subject.foreign is not None:
        return ForeignTarget(subject.foreign, name)
    assert subject.device is not None
    return DeviceTarget(subject.device, name)


def answer(piece: Piece, subject: Subject, source: Subject) -> list[Answer]:
    """Do ``piece``: windows made on ``source`` are put to the targets of ``subject``."""
    x, y, valid = piece.x, piece.y, piece.valid
    targets = targets_of(subject, piece.targets)
    whole = np.zeros(len(x), bool)
    attack = None
    if piece.attack is not None:
        from trainer.attacks.registry import make

        attack = make(piece.attack, epsilon=piece.epsilon, **piece.settings)
    if attack is not None and piece.asks:
        # Without gradients each target is asked itself: the int8 file through its own answers.
        own = Answer("none", whole)
        for target in targets:
            x_adv = attack.run(Asked(target), x, y, valid, np.random.default_rng(piece.seed))
            _put(own, target, x_adv, valid)
        return [own]
    if attack is None:
        made = [Attacked("none", x, whole)]
    elif attack.gradient == "none":
        asked = source.twin if attack.queries_model else None
        made = [Attacked("none", attack.run(asked, x, y, valid, np.random.default_rng(piece.seed)), whole)]
    else:
        made = candidates(attack, source.twin, x, y, valid, seed=list(piece.seed), only=piece.surrogate)
    directed = attack is not None and attack.gradient != "none"
    answers = []
    for each in made:
        found = Answer(each.gradient, each.stuck, {}, {}, *(_compare(x, y, each.x) if directed else (0, 0)))
        for target in targets:
            _put(found, target, each.x, valid)
        answers.append(found)
    return answers


def _put(found: Answer, target: Target, x: np.ndarray, valid: np.ndarray) -> None:
    found.probabilities[target.name] = target.probabilities(x, valid)
    if target.noticed is not None:
        found.noticed[target.name] = target.noticed


def _compare(x: np.ndarray, y: np.ndarray, x_adv: np.ndarray) -> tuple[int, int]:
    """(alike, compared): each record's direction of change beside that of the first of its class."""
    moved, alike, compared = np.sign(x_adv - x), 0, 0
    for label in np.unique(y):
        group = moved[y == label]
        # padding stands still, so records are compared where both move
        both = (group[1:] != 0) & (group[:1] != 0)
        same = ~np.any((group[1:] != group[:1]) & both, axis=(1, 2)) & both.any((1, 2))
        alike, compared = alike + int(same.sum()), compared + len(same)
    return alike, compared


@dataclass(frozen=True)
class Errand:
    """A piece with the names of its models, for another process."""

    piece: Piece
    subject: Opening
    source: Opening


def run(errand: Errand) -> list[Answer]:
    """Do an errand in a worker, which keeps the models that it has opened."""
    needs_keras = errand.piece.attack is not None or "float" in errand.piece.targets
    return answer(errand.piece, _opened(errand.subject, needs_keras), _opened(errand.source, needs_keras))


@lru_cache(maxsize=4)
def _opened(opening: Opening, needs_keras: bool) -> Subject:
    from trainer.cli.common import load_keras, native_notes_hidden

    if needs_keras:
        load_keras()
    target, twin, spec = opening
    with native_notes_hidden():
        if spec is not None:
            return open_foreign(Path(target), Path(spec))
        return open_subject(target, None if twin is None else Path(twin))


Share = Callable[[Sequence[Errand]], Iterator[tuple[int, list[Answer]]]]


def kept(folder: Path, share: Share) -> Share:
    """``share`` with results that stay in ``folder``: those that are there are not made again.

    A result's name is the digest of all that it depends on: models, windows, attack, seed and this version.

    Raises:
        TrainingError: the folder holds something else.
    """
    cells = Cells(folder, {"format": FORMAT})

    def shared(errands: Sequence[Errand]) -> Iterator[tuple[int, list[Answer]]]:
        names = [digest(errand) for errand in errands]
        missing = [at for at, name in enumerate(names) if not cells.has(name)]
        for at in sorted(set(range(len(errands))) - set(missing)):
            yield at, [_read(found) for found in cells.get(names[at], dict)]
        for number, found in share([errands[at] for at in missing]):
            at = missing[number]
            cells.get(names[at], lambda found=found: [_plain(one) for one in found])
            yield at, found

    return shared


def digest(errand: Errand) -> str:
    """A name that two errands share only where their results are the same."""
    piece = errand.piece
    names = ("attack", "epsilon", "settings", "targets", "seed", "surrogate", "asks")
    told = {key: getattr(piece, key) for key in names}
    models = [_fingerprint(opening) for opening in (errand.subject, errand.source)]
    text = json.dumps([version("wavewall"), models, told], sort_keys=True, default=_told)
    found = hashlib.sha256(text.encode())
    for array in (piece.x, piece.valid, piece.y):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:40]


@lru_cache(maxsize=8)
def _fingerprint(opening: Opening) -> list[str]:
    subject = _opened(opening, False)
    twin = subject.twin_at / zoo.TWIN if subject.twin_at is not None else None
    return [
        "" if subject.bundle is None else subject.bundle.sha256,
        "" if subject.foreign is None else hashlib.sha256(subject.foreign.content).hexdigest(),
        "" if twin is None else hashlib.sha256(twin.read_bytes()).hexdigest(),
        json.dumps([asdict(subject.spec), list(subject.steps)]),
    ]


def _told(value: Any) -> Any:
    """What JSON does not know, for a digest."""
    return hashlib.sha256(np.ascontiguousarray(value)).hexdigest() if isinstance(value, np.ndarray) else repr(value)


def _plain(found: Answer) -> dict[str, Any]:
    return {
        "gradient": found.gradient,
        "stuck": found.stuck.tolist(),
        "probabilities": {name: p.astype(float).tolist() for name, p in found.probabilities.items()},
        "noticed": {name: n.tolist() for name, n in found.noticed.items()},
        "alike": found.alike,
        "compared": found.compared,
    }


def _read(found: Mapping[str, Any]) -> Answer:
    probabilities = {name: np.asarray(p, np.float32) for name, p in found["probabilities"].items()}
    noticed = {name: np.asarray(n, bool) for name, n in found["noticed"].items()}
    stuck = np.asarray(found["stuck"], bool)
    return Answer(found["gradient"], stuck, probabilities, noticed, found["alike"], found["compared"])
