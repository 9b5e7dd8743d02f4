"""The notebooks run from top to bottom, and what they show in the repository is of such a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.run_notebooks import FOLDER, execute

NAMES = ("own-data-to-bundle", "attack-and-defend")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    done = execute(FOLDER / f"{name}.ipynb", tmp_path)
    code = [cell for cell in done.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    html = "".join(
        out["data"]["text/html"] for cell in code for out in cell.outputs if "text/html" in out.get("data", {})
    )
    assert "<svg" in html
    assert "accuracy" in html


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_outputs_are_whole_and_small(name: str) -> None:
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < 300_000
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["execution_count"], f"{name}: not executed; run: python -m docs.run_notebooks {name}"
            assert not any(out["output_type"] == "error" for out in cell["outputs"])
