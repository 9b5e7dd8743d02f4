"""The trainer command: the way from data to an evaluated bundle, mistakes as one line, and quick help."""

from __future__ import annotations

import csv
import json
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import read_bundle
from edge.bundle.signing import load_public_key
from tests.trainer.commands import good, trainer
from tests.trainer.training.test_run import RECIPE, parts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own data as .npz and a recipe, trained and exported by the commands."""
    folder = tmp_path_factory.mktemp("cli")
    data = parts(80)[0]
    x = np.concatenate([np.stack(data.signals)] * 3)
    np.savez(folder / "toy.npz", x=x, y=[data.spec.labels[i] for i in data.y] * 3, rate_hz=50.0)
    (folder / "toy.toml").write_text(RECIPE.replace("epochs = 4", "epochs = 6") + "max_drop = 0.5\n")
    good("keygen", folder / "key")
    result = good("train", folder / "toy.toml", "--data", folder / "toy.npz", "--out", folder / "run")
    assert "joint epoch 6/6" in result.output
    assert "validation clean" in result.output
    report = ["--report", folder / "export.json"]
    result = good("export", folder / "run", "--out", folder / "run" / "toy.bundle", "--sign", folder / "key", *report)
    assert "validation windows" in result.output
    assert "signed" in result.output
    return folder


def test_the_exported_bundle_is_signed_by_the_key(folder: Path) -> None:
    bundle = read_bundle(folder / "run" / "toy.bundle", trusted_key=load_public_key(folder / "key.pub"))
    assert bundle.verified
    assert bundle.manifest.quantization == "int8"


def test_the_export_report_is_of_the_bundle(folder: Path) -> None:
    told = json.loads((folder / "export.json").read_text())
    bundle = read_bundle(folder / "run" / "toy.bundle")
    assert told["bundle"] == bundle.manifest.ref
    assert told["model_bytes"] == len(bundle.model)
    assert told["n"] == bundle.card["validation"]["float"]["n"]
    assert 0 < told["file_correct"] <= told["n"]
    assert all(tensor["low"] < tensor["high"] for tensor in told["tensors"])
    assert len(told["tensors"]) > 10


def test_evaluate_writes_rows_predictions_and_a_table(folder: Path) -> None:
    result = good(
        "evaluate", folder / "run" / "toy.bundle", "--data", folder / "toy.npz", "--split", "val",
        "--attacks", "clean,fgsm", "--epsilon", "0.05,0.1", "--json", folder / "out" / "o.json",
        "--predictions", folder / "p.csv", "--limit", 12,
    )  # fmt: skip
    document = json.loads((folder / "out" / "o.json").read_text())
    assert (document["model"], document["data"], document["seed"]) == ("toy@1.0.0", "toy/val", 0)
    assert [(r["target"], r["epsilon"]) for r in document["rows"]] == [
        ("float", 0), ("int8", 0), ("float", 0.05), ("int8", 0.05), ("float", 0.1), ("int8", 0.1),
    ]  # fmt: skip
    with (folder / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * document["rows"][0]["n"]
    assert {"record", "label", "prediction", "score"} <= set(rows[0])
    assert "95 % interval" in result.output


def test_evaluate_the_int8_file_alone_loads_no_keras(folder: Path) -> None:
    code = (
        "import sys; from trainer.cli import app\n"
        f"app(['evaluate', {str(folder / 'run' / 'toy.bundle')!r}, '--data', {str(folder / 'toy.npz')!r},"
        " '--target', 'int8'], standalone_mode=False)\n"
        "print(sorted({'keras', 'tensorflow', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "int8    clean" in done.stdout


def test_evaluate_chosen_records_of_a_run(folder: Path) -> None:
    everything = good(
        "evaluate",
        folder / "run",
        "--data",
        folder / "toy.npz",
        "--split",
        "all",
        "--predictions",
        folder / "all.csv",
    )
    assert "only the float target is measured" in everything.stderr
    with (folder / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["record"] for row in rows[:3]]
    (folder / "names.txt").write_text("\n".join(names))
    good(
        "evaluate", folder / "run", "--data", folder / "toy.npz", "--split", "all",
        "--records", folder / "names.txt", "--predictions", folder / "some.csv",
    )  # fmt: skip
    with (folder / "some.csv").open(newline="") as file:
        some = list(csv.DictReader(file))
    assert [row["record"] for row in some] == names
    assert [row["prediction"] for row in some] == [row["prediction"] for row in rows[:3]]


def test_a_finished_run_is_not_overwritten(folder: Path) -> None:
    result = trainer("train", folder / "toy.toml", "--data", folder / "toy.npz", "--out", folder / "run")
    assert result.exit_code == 1
    assert "--resume" in result.stderr


def test_keygen_keeps_the_private_key_private_and_never_overwrites(tmp_path: Path) -> None:
    result = good("keygen", tmp_path / "k", "--public", tmp_path / "k.public")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert load_public_key(tmp_path / "k.public") == load_public_key(result.output.split('"')[1])
    again = trainer("keygen", tmp_path / "k")
    assert again.exit_code == 1
    assert again.stderr.startswith("trainer: ")


def test_data_info_as_text_and_json(folder: Path, tmp_path: Path) -> None:
    assert "240 records, 2 classes" in good("data", "info", folder / "toy.npz").output
    facts = json.loads(good("data", "info", folder / "toy.npz", "--json").output)
    assert (facts["records"], facts["rate_hz"], facts["window_samples"]) == (240, 50.0, 100)
    for name in ("Good", "Bad"):
        (tmp_path / name).mkdir()
        rows = "1\t1\t2\n2\t3\t4\n1\t5\t6\n" + ("1\t7\n" if name == "Bad" else "")
        (tmp_path / name / f"{name}_TRAIN.tsv").write_text(rows)
        (tmp_path / name / f"{name}_TEST.tsv").write_text("1\t1\t2\n")
    archive = trainer("data", "info", tmp_path, "--json")
    assert archive.exit_code == 1
    assert [item["name"] for item in json.loads(archive.stdout)] == ["Good"]
    assert "Bad_TRAIN.tsv: row 4" in archive.stderr


def test_fetch_offline_is_one_clear_line(tmp_path: Path) -> None:
    result = trainer("data", "fetch", "ucr", "--out", tmp_path, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "cannot be fetched" in result.stderr
    assert "goes on where it stopped" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data", "info", "{}/nothing"], "no such file or folder"),
        (["data", "fetch", "mnist"], "choose one of cinc2017, ucr"),
        (["train", "{}/none.toml", "--data", "x", "--out", "y"], "none.toml: cannot be read"),
        (["train", "{}/bad.toml", "--data", "x", "--out", "y"], "line 2"),
        (["train", "{}/key.toml", "--data", "x", "--out", "y"], "lerning_rate"),
        (["train", "{}/good.toml", "--data", "{}/none.npz", "--out", "{}/y"], "none.npz: no such file"),
        (["export", "{}", "--out", "{}/x.bundle"], "no recipe.toml"),
        (["export", "{}", "--out", "{}/x.bundle", "--sign", "{}/none"], "none"),
        (["export", "{}", "--out", "{}/x.bundle", "--evaluation", "{}/bad.toml"], "not the JSON"),
        (["evaluate", "ecg-rythm", "--data", "x"], "no such file, run folder or shipped bundle"),
        (["evaluate", "{}/good.toml", "--data", "x"], "good.toml"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "bad.toml").write_text("[data]\nkind = = 3\n")
    (tmp_path / "good.toml").write_text(RECIPE)
    (tmp_path / "key.toml").write_text(RECIPE.replace("average_decay", "lerning_rate"))
    result = trainer(*(argument.format(tmp_path) for argument in arguments))
    assert result.exit_code == 1, repr(result.exception)
    assert told in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("trainer: ")]
    assert len(lines) == 1
    assert "Traceback" not in result.output + result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--attacks", "pdg"], "unknown attack 'pdg'"),
        (["--attacks", "fgsm", "--epsilon", "ten"], "'ten' is not a number"),
        (["--attacks", "fgsm", "--epsilon=-1"], "epsilon must be a number of at least 0"),
        (["--attacks", "fgsm", "--epsilon", "nan"], "epsilon must be"),
        (["--records", "nobody"], "record 'nobody' is not in this part"),
        (["--limit", "0"], "--limit is 0"),
        (["--twin", "nowhere"], "no twin.keras"),
    ],
)
def test_mistakes_in_an_evaluation(folder: Path, options: list[str], told: str) -> None:
    result = trainer("evaluate", folder / "run" / "toy.bundle", "--data", folder / "toy.npz", *options)
    assert result.exit_code == 1, repr(result.exception)
    assert told in result.stderr


@pytest.mark.parametrize(
    "command", [[], ["data"], ["train"], ["export"], ["evaluate"], ["keygen"], ["data", "fetch"]]
)
def test_help_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from trainer.cli import app\n"
        f"try: app({[*command, '--help']!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'keras', 'tensorflow', 'numpy', 'scipy', 'edge.bundle'} & "
        "set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Usage: " in done.stdout


@pytest.mark.slow
def test_attack_counts_what_people_are_told(folder: Path) -> None:
    result = good(
        "attack", folder / "run" / "toy.bundle", "--data", folder / "toy.npz", "--stage", "decision",
        "--attacks", "noise,universal,pgd", "--epsilon", "0.5", "--hours", "0.01", "--json", folder / "attack.json",
    )  # fmt: skip
    document = json.loads((folder / "attack.json").read_text())
    rows = {row["attack"]: row for row in document["rows"]}
    assert list(rows) == ["noise", "universal", "pgd"]
    assert len({(row["windows"], row["hours"], row["clean_events"]) for row in rows.values()}) == 1
    assert rows["pgd"]["windows"] > 10
    assert rows["pgd"]["turned"] >= rows["noise"]["turned"]
    assert "events turned" in result.output
    plain = good(
        "attack", folder / "run" / "toy.bundle", "--data", folder / "toy.npz", "--stage", "verdict",
        "--attacks", "noise", "--epsilon", "0.5", "--hours", "0.01",
    )  # fmt: skip
    assert "verdicts turned" in plain.output
    assert "events turned" not in plain.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--labels", "nothing"), "has no nothing"),
        (("--hours", "0"), "above 0"),
        (("--attacks", "pdg"), "unknown attack 'pdg'"),
    ],
)
def test_attacks_that_cannot_be(folder: Path, words: tuple[str, ...], says: str) -> None:
    result = trainer("attack", folder / "run" / "toy.bundle", "--data", folder / "toy.npz", *words)
    assert result.exit_code == 1
    assert says in result.stderr + result.output
    run = trainer("attack", folder / "run", "--data", folder / "toy.npz")
    assert "export it first" in run.stderr + run.output
