"""``trainer export`` and ``trainer keygen``: a run becomes a signed bundle."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer.cli.common import load_keras, native_notes_hidden, tells_mistakes
from trainer.export import stored

if TYPE_CHECKING:
    from trainer.export.pack import Exported


class Quantize(str, Enum):
    """How the weights and activations of the TFLite file are stored."""

    INT8 = "int8"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    NONE = "none"


@tells_mistakes
def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `trainer train`.")],
    out: Annotated[Path, typer.Option("--out", help="The bundle to write.")],
    quantize: Annotated[
        Quantize, typer.Option("--quantize", help="int8 is full-integer behind a float32 front end.")
    ] = Quantize.INT8,
    sign: Annotated[
        Path | None,
        typer.Option("--sign", help="Private key of `trainer keygen` to sign the bundle with."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The training data; where it was at training time if absent."),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--evaluation", help="A `trainer evaluate` JSON whose rows go on the card."),
    ] = None,
    speed: Annotated[
        Path | None, typer.Option("--speed", help="What `edge-agent bench --json` printed, for the card.")
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option("--detector", help="The report.json of `trainer report`: its operating points go on the card."),
    ] = None,
    before: Annotated[
        Path | None,
        typer.Option("--before", help="Of a refit (data.refit): the bundle that gives it temperature and thresholds."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Write what was compared, and the range of every int8 tensor, as JSON."),
    ] = None,
) -> None:
    """Convert a run to TFLite, compare it with the float model on validation windows, and pack the bundle."""
    from trainer.evaluate.intervals import wilson

    key = None
    if sign is not None:
        from edge.bundle.signing import load_private_key

        key = load_private_key(sign)
    given = {
        name: stored.read(file, command)
        for name, file, command in (
            ("evaluation", evaluation, "trainer evaluate"),
            ("speed", speed, "edge-agent bench --json"),
            ("detector", detector, "trainer report"),
        )
        if file is not None
    }
    load_keras()
    from trainer.export.pack import export_run

    with native_notes_hidden():
        done = export_run(
            run,
            out,
            mode=quantize.value,
            signing_key=key,
            data_path=data,
            **given,
            before=before,
            report=lambda text: typer.echo(text, err=True),
        )
    parity = done.parity
    for name, correct in (("float", parity.float_correct), (quantize.value, parity.file_correct)):
        low, high = wilson(correct, parity.n)
        typer.echo(
            f"{name:<8} {correct / parity.n:.4f} (95 %: {low:.4f} to {high:.4f}) of {parity.n} validation "
            f"windows{'' if before is None else ', learnt from'}"
        )
    typer.echo(f"same answer on {parity.agreement:.1%}; golden vectors reproduced by the agent's code")
    if report is not None:
        _tell(done, report, before)
    signed = "signed" if done.bundle.signed else "not signed"
    typer.echo(f"{done.path}: {done.bundle.manifest.ref}, model {done.model_bytes / 1000:.0f} kB, {signed}")


def _tell(done: Exported, file: Path, before: Path | None) -> None:
    """Write the export report."""
    from trainer.evaluate.report import write_text

    parity = done.parity
    told = {
        "bundle": done.bundle.manifest.ref,
        "model_bytes": done.model_bytes,
        "n": parity.n,
        "float_correct": parity.float_correct,
        "file_correct": parity.file_correct,
        "agreement": parity.agreement,
        "windows_learnt_from": before is not None,
        "tensors": done.ranges,
    }
    write_text(file, json.dumps(told, indent=1) + "\n")


@tells_mistakes
def keygen(
    private: Annotated[Path, typer.Argument(help="Private key file to make (mode 0600); never overwritten.")],
    public: Annotated[
        Path | None, typer.Option("--public", help="Public key file; the private one plus .pub if absent.")
    ] = None,
) -> None:
    """Make an Ed25519 key pair: the private key signs bundles, the public one goes into the agent's config."""
    from edge.bundle.signing import generate_keys, public_key_text

    key = generate_keys(private, public)
    typer.echo(f"private key: {private} (keep it secret)")
    typer.echo(f"public key:  {public or f'{private}.pub'}")
    typer.echo(f'for the agent\'s config: key = "{public_key_text(key)}"')
