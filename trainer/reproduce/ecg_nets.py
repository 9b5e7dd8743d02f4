"""The networks behind paper 2's tables: which there are, at which scale, and what each learns from.

At T = 1 the first stage of DD and Dist-ADT is the undefended network, and that of Init-ADT and ADT is AT, so these
are trained once a run and shared. JR and NSR come in two readings (see ``trainer.defenses.jacobian``): the
constants on raw uV, and with 1 mV as the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.data.base import Dataset
from trainer.data.oversample import PAPER as OVERSAMPLE
from trainer.errors import TrainingError

EPSILON = 10.0
ADT = f'name = "adt"\nepsilons = [{EPSILON}]'


@dataclass(frozen=True)
class Net:
    """One column of a table: its label, its defence section, and the net whose soft labels it learns from."""

    label: str
    defense: str
    teacher: str | None = None
    temperature: float = 1.0


# a teacher before its pupils; a net's place is part of its seed
NETS: dict[str, Net] = {
    "none": Net("none", 'name = "none"'),
    "at": Net("AT", ADT),
    "jr": Net("JR", 'name = "jacobian"\narguments = { from_epoch = LATE }'),
    "jr_mv": Net("JR, per mV", 'name = "jacobian"\narguments = { unit = 1000.0, from_epoch = LATE }'),
    "nsr": Net("NSR", 'name = "nsr"\narguments = { from_epoch = LATE }'),
    "nsr_mv": Net("NSR, per mV", 'name = "nsr"\narguments = { unit = 1000.0, from_epoch = LATE }'),
    "dd": Net("DD", 'name = "distillation"', "none"),
    "init_adt": Net("Init-ADT", 'name = "distillation"', "at"),
    "dist_adt": Net("Dist-ADT", ADT, "none"),
    "adt": Net("ADT", ADT, "at"),
}

TWICE = ("jr", "jr_mv", "nsr", "nsr_mv")  # differentiate twice, which takes longest: trained last

# ADT at other temperatures, each with a first stage of its own: the temperature is that of both stages
TEMPERATURES = (2.0, 5.0, 10.0)
ABLATION: dict[str, Net] = {}
for _t in TEMPERATURES:
    ABLATION[f"at_t{_t:g}"] = Net(f"AT, T = {_t:g}", ADT, temperature=_t)
    ABLATION[f"adt_t{_t:g}"] = Net(f"ADT, T = {_t:g}", ADT, f"at_t{_t:g}", _t)


def nets_for(methods: Sequence[str]) -> tuple[str, ...]:
    """The nets that ``methods`` need, in training order: themselves, their teachers, and the undefended one, on
    which situation I and the boundary attack are made.

    Raises:
        TrainingError: a method that is none; names the known ones.
    """
    for method in methods:
        if method not in NETS:
            raise TrainingError(f"unknown method {method!r}; known are {', '.join(NETS)}")
    needed = {"none", *methods}
    needed |= {teacher for net in needed if (teacher := NETS[net].teacher)}
    return tuple(net for net in NETS if net in needed)


@dataclass(frozen=True)
class Scale:
    """The classifier and its schedule. Paper 2: E1 = E2 = 100, batch 16, Adam 0.001, no schedule named."""

    name: str
    model: str
    epochs: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 16
    learning_rate: float = 0.001
    schedule: str = "constant"


SCALES = {
    # 131,000 parameters, strided, and a short schedule that ends at a rate of zero, so that an adversarial net takes
    # half an hour on one core
    "device": Scale("device", "compact", 12, {"stride": 10, "widths": [16, 24, 40, 56, 64]}, 32, 0.002, "cosine"),
    "paper": Scale("paper", "ecg13", 100),
}

RECIPE = """\
[data]
kind = "cinc2017"
oversample = {oversample}
[model]
name = "{scale.model}"
arguments = {arguments}
[defense]
{defense}
{distillation}
[training]
epochs = {scale.epochs}
batch = {scale.batch}
learning_rate = {scale.learning_rate}
schedule = "{scale.schedule}"
warmup_epochs = 0
weight_decay = 0.0
clip_norm = 1e9
seed = {seed}
checkpoint_every_s = 60
validate_limit = 256
validate_every = {every}
[export]
name = "ecg-{net}"
"""


def recipe_text(net: str, scale: Scale, run: int) -> str:
    """The whole recipe of one net in one run.

    Every net of a run starts from weights of its own, as Algorithm 1 has it: seeds differ by net and run. The
    regularisers' 11th epoch of 100 becomes the same share of a shorter schedule.
    """
    every = {**NETS, **ABLATION}
    what = every[net]
    seed = 100 * run + list(every).index(net)
    stage = (
        f"[distillation]\nstage = {2 if what.teacher else 1}" if what.teacher or what.temperature != 1 else ""
    )
    if what.temperature != 1:
        stage += f"\ntemperature = {what.temperature:g}"
    return RECIPE.format(
        oversample=_table(OVERSAMPLE),
        scale=scale,
        arguments=_table({**scale.arguments, "seed": seed}),
        defense=what.defense.replace("LATE", str(scale.epochs // 10 + 1)),
        distillation=stage,
        seed=seed,
        every=max(1, scale.epochs // 5),
        net=net.replace("_", "-"),
    )


def train_net(
    net: str,
    scale: Scale,
    run: int,
    parts: tuple[Dataset, Dataset],
    data: str,
    out: Path,
    report: Callable[[dict[str, Any]], None],
) -> Path:
    """The finished run folder of ``net``, trained or gone on with if it is not there. Its teacher must be."""
    from trainer.run import train

    folder = folder_of(out, net, run)
    if (folder / "run.json").exists():  # written last
        return folder
    recipe = out / "recipes" / f"run{run}-{net}.toml"
    text = recipe_text(net, scale, run)
    try:
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{recipe}: cannot be written: {error.strerror or error}") from error
    teacher = {**NETS, **ABLATION}[net].teacher
    given = [folder_of(out, teacher, run)] if teacher else []
    return train(recipe, data, folder, resume=True, teacher=given, parts=parts, report=report)


def folder_of(out: Path, net: str, run: int) -> Path:
    return out / "nets" / f"run{run}" / net


def _table(values: Mapping[str, Any]) -> str:
    """A TOML inline table of numbers and lists of numbers."""
    return "{ " + ", ".join(f"{key} = {value}" for key, value in values.items()) + " }"
