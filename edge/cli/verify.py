"""`edge-agent verify`: whether a bundle, or a file of results, is whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from edge.cli.options import bundle_names


def verify(
    file: str = typer.Argument(
        ...,
        metavar="FILE",
        help="Bundle file, the name of a shipped bundle, or results as JSON lines.",
        show_default=False,
        autocompletion=bundle_names,
    ),
    key: Path | None = typer.Option(
        None, "--key", metavar="FILE", help="Public key that must have signed it, or the notes among the results."
    ),
    json_out: bool = typer.Option(False, "--json", help="What was found as JSON."),
) -> None:
    """Check a bundle, and print what it says about itself; or the hash chain of results ([chain]).

    A bundle: hashes, signature, shapes, golden vectors. Results: exit code 1 names the first line that is altered or
    has one missing before it; lines may be of many streams and boots, in any order. Without --key, whoever can rewrite
    the file can also compute its digests anew.
    """
    if _is_lines(Path(file)):
        _verify_results(Path(file), key, json_out)
        return
    from edge.cli.bundles import verify_bundle

    verify_bundle(file, key, json_out)


def _is_lines(path: Path) -> bool:
    if path.suffix in (".jsonl", ".ndjson"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False


def _verify_results(path: Path, key: Path | None, json_out: bool) -> None:
    from edge.bundle import signing
    from edge.chain_check import check
    from edge.errors import EdgeError

    public = signing.load_public_key(key) if key is not None else None
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            report = check(file, public)
    except OSError as error:
        raise EdgeError(f"{path}: {error.strerror}; name a file of results") from error
    first = report.first
    if json_out:
        typer.echo(json.dumps({"whole": first is None, **asdict(report)}, indent=1))
    else:
        signed = f", {report.signed} signed notes" if public is not None else ""
        typer.echo(f"{report.results} results in {report.chains} chains{signed}")
        for count, what in (
            (report.given_up, "given up by the spool or erased, under tombstones"),
            (report.lost, "holes of a crash; those windows are answered again by the next run"),
            (report.uncovered, "results at the ends, whose alteration or removal would not show"),
        ):
            if count:
                typer.echo(f"{count} {what}")
        for fault in sorted(report.faults)[1:20]:
            typer.echo(f"also line {fault.line}: {fault.says}", err=True)
    if first is not None:
        raise EdgeError(f"{path}: line {first.line} {first.says}")
    if not report.results and not report.given_up:
        raise EdgeError(f"{path}: no results in it")
    if not json_out:
        typer.echo("whole: nothing is altered or missing")


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)
