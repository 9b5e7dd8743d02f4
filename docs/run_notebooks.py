"""Execute docs/notebooks and store their outputs: ``python -m docs.run_notebooks [NAME...]``.

Outputs are kept in the repository so that the site shows them; what changes from run to run without meaning
anything (counts, times) is left out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "notebooks"
SECONDS = 600


def execute(path: Path, cwd: Path) -> Any:
    """The notebook with its outputs. Raises nbclient's CellExecutionError where a cell fails."""
    import nbformat
    from nbclient import NotebookClient

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(cwd)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            # native libraries' notes on standard error are no result
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return notebook


def main() -> int:
    """Execute all, or those named."""
    import nbformat

    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    for name in names:
        path = FOLDER / f"{name}.ipynb"
        nbformat.write(execute(path, FOLDER.parents[1]), path)
        print(f"docs/notebooks/{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
