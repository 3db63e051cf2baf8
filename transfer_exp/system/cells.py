"""Cells of csv files that a spreadsheet shows and does not execute."""

from __future__ import annotations

from typing import Any


def harmless(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula, with an apostrophe before it; anything else as it is.

    Such a text begins with ``=``, ``@``, a tab or a carriage return, or with a sign and is no number.
    """
    if not isinstance(cell, str) or cell[:1] not in ("=", "@", "+", "-", "\t", "\r") or not cell[:1]:
        return cell
    return cell if cell[0] in "+-" and _is_number(cell) else f"'{cell}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not text[1:2].isalpha()  # -inf
