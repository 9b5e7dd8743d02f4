"""Who imports whom, as written and as loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
HEAVY_FOR_EDGE = (*RUNTIMES, "paho", "serial", "scipy", "tensorflow", "keras", "trainer")
TRAINER_MAY_TAKE = ("edge.bundle", "edge.pipeline", "edge.types", "edge.errors", "edge.zoo")
BUNDLE_MAY_TAKE = {"numpy", "cryptography", "edge"}


def loaded_after(statement: str, cwd: Path) -> set[str]:
    """Top-level names in ``sys.modules`` of a fresh interpreter after ``statement``."""
    code = f"import sys\n{statement}\nprint('LOADED', *{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("LOADED ", 1)[1].split())


def imports_of(path: Path, package_root: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute module name) of every import in a file, those inside functions too.

    ``from edge import bundle`` gives ``edge.bundle``: the finer name is what the rule is about.
    """
    module = path.relative_to(package_root).with_suffix("").parts
    package = module[:-1]  # of __init__.py, too, this is the package itself
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            full = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                yield node.lineno, f"{full}.{alias.name}"


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)


def is_ours(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_import_edge_loads_nothing_heavy(tmp_path: Path):
    loaded = loaded_after("import edge", tmp_path)
    assert "edge" in loaded
    assert loaded.isdisjoint(HEAVY_FOR_EDGE)


def test_the_contract_with_the_trainer_needs_numpy_and_cryptography_only(tmp_path: Path):
    loaded = loaded_after("import edge.bundle", tmp_path)
    assert loaded.isdisjoint((*HEAVY_FOR_EDGE, "pydantic", "typer", "firmware_bridge"))


@pytest.mark.parametrize("module", ["edge.cli", "firmware_bridge.cli"])
def test_a_command_line_alone_loads_nothing_of_the_trainer(module: str, tmp_path: Path):
    loaded = loaded_after(f"import {module}", tmp_path)
    assert loaded.isdisjoint(("tensorflow", "keras", "trainer", "scipy", "sklearn", "matplotlib", "pandas"))


def test_what_the_trainer_takes_of_edge_is_on_the_list(repository: Path):
    found = [
        (f"{path.relative_to(repository)}:{line}", name)
        for path in (repository / "trainer").rglob("*.py")
        for line, name in imports_of(path, repository)
        if is_ours(name, "edge")
    ]
    assert found, "the trainer packs bundles, so it must take something of edge"
    assert [place for place in found if not within(place[1], TRAINER_MAY_TAKE)] == []


def test_the_bundle_takes_only_errors_and_types_of_edge(repository: Path):
    allowed = ("edge.bundle", "edge.errors", "edge.types", "edge.zoo")
    folders = (repository / "edge" / "bundle", repository / "edge" / "zoo")  # zoo: names of shipped bundles
    for path in (file for folder in folders for file in folder.rglob("*.py")):
        for line, name in imports_of(path, repository):
            top = name.split(".")[0]
            where = f"{path.relative_to(repository)}:{line}: {name}"
            assert top in BUNDLE_MAY_TAKE or top in sys.stdlib_module_names, where
            assert not is_ours(name, "edge") or within(name, allowed), where


def test_nothing_imports_against_the_direction(repository: Path):
    forbidden = {"firmware_bridge": ("edge", "trainer"), "edge": ("trainer",)}
    for package, others in forbidden.items():
        for path in (repository / package).rglob("*.py"):
            for line, name in imports_of(path, repository):
                where = f"{path.relative_to(repository)}:{line}: {name}"
                assert not any(is_ours(name, other) for other in others), where


def test_import_linter_agrees(repository: Path):
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-cache"], capture_output=True, text=True, cwd=repository, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_relative_imports_are_resolved(tmp_path: Path):
    """The rules above would pass over what they cannot read."""
    folder = tmp_path / "edge" / "bundle"
    folder.mkdir(parents=True)
    source = folder / "store.py"
    source.write_text("from ..errors import BundleError\nfrom . import vectors\nimport numpy as np\n")
    names = [name for _, name in imports_of(source, tmp_path)]
    assert names == ["edge.errors.BundleError", "edge.bundle.vectors", "numpy"]
