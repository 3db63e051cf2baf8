"""Findings as text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from textwrap import wrap

from transfer_exp.checks.base import Finding
from transfer_exp.types import counted

_FOUND, _EXPECTED = 52, 44  # widths
_HEADINGS = ("check", "result", "found", "expected")


def table(found: Sequence[Finding]) -> str:
    """A table for each part, and a line that counts."""
    parts = [f"{part}\n{_lines(list(rows))}" for part, rows in groupby(found, lambda one: one.part)]
    n_failed = sum(one.result == "FAILED" for one in found)
    n_held = sum(one.result == "ok" for one in found)
    total = f"{counted(n_held, 'check')} ok, {n_failed} failed, {len(found) - n_held - n_failed} not applicable"
    return "\n\n".join([*parts, total])


def _lines(rows: Sequence[Finding]) -> str:
    cells = [_HEADINGS, *((one.check, one.result, one.found, one.expected) for one in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths = [*widths[:2], min(widths[2], _FOUND), min(widths[3], _EXPECTED)]
    return "\n".join(line for row in cells for line in _wrapped(row, widths))


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    columns = [wrap(text, width) or [""] for text, width in zip(row, widths, strict=True)]
    height = max(map(len, columns))
    padded = [[*column, *[""] * (height - len(column))] for column in columns]
    return [
        "  " + "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*padded, strict=True)
    ]
