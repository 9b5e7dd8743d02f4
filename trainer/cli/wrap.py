"""``trainer wrap``: somebody's own classifier becomes a bundle."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from trainer.cli.common import load_keras, native_notes_hidden, progress_bar, tells_mistakes


class WrapQuantize(str, Enum):
    """How the file of a wrapped Keras model is stored."""

    NONE = "none"
    FLOAT16 = "float16"
    INT8 = "int8"


@tells_mistakes
def wrap(
    model: Annotated[Path, typer.Argument(help="Your classifier: .keras, .h5 (no Lambda layers) or .tflite.")],
    spec: Annotated[Path, typer.Option("--spec", help="What one window is: labels, channels, unit, rate, length.")],
    out: Annotated[Path, typer.Option("--out", help="The bundle to write.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Unlabelled recordings to train on; the spec's 'windows' if absent."),
    ] = None,
    quantize: Annotated[
        WrapQuantize,
        typer.Option("--quantize", help="Of a Keras model; int8 needs one channel and convolutions in front."),
    ] = WrapQuantize.NONE,
    sign: Annotated[
        Path | None, typer.Option("--sign", help="Private key of `trainer keygen` to sign the bundle with.")
    ] = None,
) -> None:
    """Put an encode-decode in front of your own Keras or TFLite classifier and pack both as a bundle.

    It is trained on your unlabelled windows; the classifier's weights stay as they are. A Keras model is defended
    against gradients, too, and its float twin is kept beside the bundle for `trainer evaluate`. A TFLite file has no
    gradients: only black-box attacks can measure it, and the card says so.
    """
    from trainer.foreign.spec import read_window_file

    file = read_window_file(spec)  # a mistake in it is told before Keras is loaded
    key = None
    if sign is not None:
        from edge.bundle.signing import load_private_key

        key = load_private_key(sign)
    load_keras()
    from trainer.foreign.wrap import wrap as wrap_model

    with native_notes_hidden(), progress_bar(unit="steps") as bar:
        tasks: dict[str, Any] = {}

        def report(event: dict[str, Any]) -> None:
            phase = event["phase"]
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=event.get("steps"), note="")
            if "step" in event:
                bar.update(tasks[phase], completed=event["step"], total=event["steps"])

        done = wrap_model(model, spec, out, data=data, mode=quantize.value, signing_key=key, report=report)
    typer.echo(
        f"answers as before on {done.agreement:.1%} of {done.held_out} windows held out; on the raw path its "
        f"probabilities differ by at most {done.fidelity:.2g}"
    )
    if done.twin is not None:
        typer.echo(f"{done.twin}: its float twin, for attacks")
    else:
        typer.echo("no float twin: a TFLite file has no gradients, so only black-box attacks can measure it")
    signed = "signed" if done.bundle.signed else "not signed"
    kilobytes = len(done.bundle.model) / 1000
    typer.echo(f"{done.path}: {file.name}@{file.version}, model {kilobytes:.0f} kB, {signed}")
