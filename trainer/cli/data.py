"""``trainer data``: facts about data sets, and fetching the public archives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trainer.cli.common import EXIT_FAILED, progress_bar, tells_mistakes

app = typer.Typer(help="Look at data sets and fetch the public archives.", no_args_is_help=True)


@app.command()
@tells_mistakes
def info(
    path: Annotated[
        Path,
        typer.Argument(help="A dataset or archive: UCR folder, CinC 2017 zip or folder, .npz, CSV folder."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Print what decides how figures on this data must be read: size, split, classes, balance, rate, lengths."""
    from trainer.data.info import Facts, describe, render

    found = describe(path)
    errors = [item for item in found if not isinstance(item, Facts)]
    facts = [item for item in found if isinstance(item, Facts)]
    if as_json:
        document = [item.to_json() for item in facts]
        typer.echo(json.dumps(document[0] if len(found) == 1 else document, indent=1))
    else:
        typer.echo("\n\n".join(render(item) for item in facts))
    for error in errors:
        typer.echo(f"trainer: {error}", err=True)
    if errors:
        raise typer.Exit(EXIT_FAILED)


@app.command()
@tells_mistakes
def fetch(
    name: Annotated[str, typer.Argument(help="Which archive: cinc2017 or ucr.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to put it in.")] = Path("data"),
    url: Annotated[
        str | None,
        typer.Option("--url", help="A mirror that serves the archive's files, instead of its own address."),
    ] = None,
) -> None:
    """Fetch a public archive from its own address: checked, unpacked, and continued where it stopped."""
    from trainer.data.fetch import archive, sha256_of
    from trainer.data.fetch import fetch as fetch_archive

    source = archive(name, url)
    typer.echo(f"{source.title} from {source.base_url}", err=True)
    with progress_bar(unit="bytes") as bar:
        tasks = {file: bar.add_task(file, total=None, note="") for file in source.files}
        folder = fetch_archive(
            source, out, lambda file, done, total: bar.update(tasks[file], completed=done, total=total)
        )
    if source.sums is None:
        typer.echo(
            f"no checksum is published; sha256 of {source.unpack}: {sha256_of(out / name / source.unpack)}",
            err=True,
        )
    typer.echo(str(folder))
