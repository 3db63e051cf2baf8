"""Run the tutorials: ``python tools/notebooks.py [NAME ...]`` (``make notebooks``) makes docs/tutorials/*.ipynb from *.py.

The sources are Python files with cells, marked by ``# %%`` and ``# %% [markdown]``; the notebooks hold their outputs, too,
for the site. A cell that raises an error, or writes a warning, fails.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
SECONDS = 300  # no cell takes as long


def run(source: Path) -> Path:
    """Execute a tutorial from the first cell to the last; returns the notebook. Raises RuntimeError on a warning."""
    import jupytext
    import nbformat
    from nbclient import NotebookClient

    notebook = jupytext.read(source)
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for k, cell in enumerate(notebook.cells):
        cell.id = f"cell-{k}"  # not a random one, which would change with each run
    place = {"metadata": {"path": str(source.parent)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=place).execute()
    complaints = [output.text for output in outputs(notebook) if output.get("name") == "stderr"]
    if complaints:
        raise RuntimeError(f"{source.name}: expected nothing on stderr, got {complaints[0]}")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of day
    made = source.with_suffix(".ipynb")
    nbformat.write(notebook, made)
    return made


def outputs(notebook: Any) -> Iterator[Any]:
    """What the cells of a notebook have written."""
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def main(names: Sequence[str]) -> None:
    """Run the tutorials of these names, or all."""
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm asks for widgets, which a page cannot show
    for source in sorted(FOLDER.glob("*.py")):
        if not names or source.stem in names:
            begin = time.monotonic()
            made = run(source)
            print(f"{made.name}: {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
