"""What a model makes of points, for people (a table) and for programs (csv, JSON)."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from transfer_exp.points.showing import Shown
from transfer_exp.system.cells import harmless
from transfer_exp.types import Ints

_LARGEST_MATRIX = 12


def table(shown: Shown, recorded: Sequence[float] | None = None) -> str:
    """The numbers by epsilon, then who is taken for whom at the last one. recorded: the run's own errors, one an epsilon."""
    heads = ["epsilon", *(["added"] if shown.added else []), "error", "transfer rate"]
    heads += [f"largest {name}" for name in ("l2", "linf") if name in shown.sizes]
    heads += [*(["recorded error"] if recorded is not None else []), "most frequent confusion"]
    rows = [_clean_row(shown, heads)] if shown.clean_error is not None and not shown.added else []
    for k, epsilon in enumerate(shown.epsilon):
        cells = ["-" if math.isnan(epsilon) else f"{epsilon:g}", *([f"{shown.added[k]:,}"] if shown.added else [])]
        cells += [rate(shown.error[k]), rate(shown.transfer[k])]
        cells += [f"{shown.sizes[name][k]:.4g}" for name in ("l2", "linf") if name in shown.sizes]
        cells += [rate(recorded[k])] if recorded is not None else []
        rows.append([*cells, whom(shown.confusion[k], shown.class_names)])
    return "\n".join([*_aligned([heads, *rows]), "", *_matrix(shown), *(f"note: {one}" for one in shown.notes)])


def rate(share: float) -> str:
    """A share for people; a dash where it is not known."""
    return "-" if math.isnan(share) else f"{share:.1%}"


def whom(counts: Ints, names: Sequence[str]) -> str:
    """The most frequent confusion, ``3 as 8 (17)``; a dash where there is none."""
    wrong = counts * ~np.eye(len(names), dtype=bool)
    i, k = divmod(int(wrong.argmax()), len(names))
    return f"{names[i]} as {names[k]} ({wrong[i, k]:,})" if wrong[i, k] else "-"


def _clean_row(shown: Shown, heads: Sequence[str]) -> list[str]:
    assert shown.clean_error is not None
    assert shown.clean_confusion is not None
    cells = {"epsilon": "clean", "error": rate(shown.clean_error)}
    cells["most frequent confusion"] = whom(shown.clean_confusion, shown.class_names)
    return [cells.get(head, "-") for head in heads]


def _matrix(shown: Shown) -> list[str]:
    """Who is taken for whom at the last epsilon; of many classes the most frequent confusions."""
    names, counts = shown.class_names, shown.confusion[-1]
    if len(names) > _LARGEST_MATRIX:
        wrong = np.argwhere(counts * ~np.eye(len(names), dtype=bool))
        most = sorted(wrong.tolist(), key=lambda place: -counts[place[0], place[1]])[:10]
        rows = [["true", "taken for", "points"], *([names[i], names[k], f"{counts[i, k]:,}"] for i, k in most)]
        return [*_aligned(rows), ""]
    rows = [
        ["true \\ taken for", *names],
        *([name, *(f"{n:,}" for n in row)] for name, row in zip(names, counts, strict=True)),
    ]
    return [*_aligned(rows), ""]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def as_json(shown: Shown, recorded: Sequence[float] | None = None, **about: Any) -> str:
    """All numbers as JSON; null where one is not known."""
    found = {
        **about,
        "target": shown.target,
        "class_names": list(shown.class_names),
        "n_points": shown.n_points,
        "epsilon": _numbers(shown.epsilon),
        "error": _numbers(shown.error),
        "transfer_rate": _numbers(shown.transfer),
        "recorded_error": None if recorded is None else _numbers(recorded),
        "clean_error": shown.clean_error,
        "confusion": shown.confusion.tolist(),
        "clean_confusion": None if shown.clean_confusion is None else shown.clean_confusion.tolist(),
        "largest_distance": {name: _numbers(sizes) for name, sizes in shown.sizes.items()},
        "poisoning_points": list(shown.added) or None,
        "notes": list(shown.notes),
    }
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(shown: Shown, recorded: Sequence[float] | None = None) -> str:
    """One row an epsilon; empty where a number is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["target", "epsilon", "n_points", "poisoning_points", "error", "transfer_rate", "recorded_error"])
    for k, epsilon in enumerate(shown.epsilon):
        added: Any = shown.added[k] if shown.added else ""
        numbers = (shown.error[k], shown.transfer[k], math.nan if recorded is None else recorded[k])
        cells = ["" if math.isnan(one) else float(one) for one in numbers]
        place = "" if math.isnan(epsilon) else float(epsilon)
        writer.writerow([harmless(shown.target), place, shown.n_points, added, *cells])
    return text.getvalue()


def _numbers(values: Any) -> list[float | None]:
    return [None if math.isnan(one) else float(one) for one in values]
