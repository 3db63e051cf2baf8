"""A report's folder, written whole or not at all, and its csv files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from transfer_exp.system.cells import harmless
from transfer_exp.types import UserError


def write_csv(content: pd.DataFrame, file: Path) -> None:
    """A table as csv, its index when that has a name; texts that a spreadsheet would execute are made harmless."""
    content = content if content.index.name is None else content.reset_index()
    mended = {
        str(column): content[column].map(harmless)
        for column in content
        if not is_numeric_dtype(content[column])
        and any(harmless(cell) != cell for cell in content[column].dropna().unique())
    }
    content.assign(**mended).rename(columns=harmless).to_csv(file, index=False)


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of ``out`` when the block ends well, and vanishes when it does not.

    Raises UserError when ``out`` holds something else than an earlier report, or cannot be written.
    """
    if out.exists() and not (out / "claims.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"out: expected a new folder or an earlier report, got {out}, which holds something else; choose another"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as failure:
        raise UserError(
            f"out: expected a folder that can be written, got {out} ({failure.strerror}); choose another"
        ) from failure
    fresh, old = work / "new", work / "old"
    try:
        fresh.mkdir()
        yield fresh
        if out.exists():
            out.rename(old)
        fresh.rename(out)
    finally:
        shutil.rmtree(work)
