"""Who is mistaken for whom: counts of points by their class and the class that a model gives them, as a run's csv file.

    role,true,predicted,count
    target,cat,cat,17
    target,cat,dog,3

One block a role (``target`` and ``surrogate`` on attacked points at the reference epsilon, ``target_clean`` and
``surrogate_clean`` on the same points before). In a block every class stands in order with its own count, also where that is
0; other counts of 0 are left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transfer_exp.system.cells import harmless
from transfer_exp.types import Ints

FILE = "confusion.csv"
ROLES = ("target", "surrogate", "target_clean", "surrogate_clean")
_COLUMNS = ["role", "true", "predicted", "count"]


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """Counts ``(K, K)`` by role: rows are true classes, columns predicted ones, in the order of ``class_names``."""

    class_names: tuple[str, ...]
    counts: Mapping[str, Ints]


def to_csv(confusion: Mapping[str, Ints], class_names: Sequence[str]) -> bytes:
    """Counts ``(K, K)`` of some roles as a csv file. Raises ValueError for other shapes, roles, or equal names."""
    names = [str(harmless(name.replace("\r", " "))) for name in class_names]  # csv does not quote it
    if len(set(names)) != len(names):
        raise ValueError(f"class_names: expected {len(names)} different names, got {', '.join(names)}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for role, counts in confusion.items():
        if role not in ROLES:
            raise ValueError(f"confusion: expected one of {', '.join(ROLES)}, got {role}")
        if counts.shape != (len(names), len(names)):
            raise ValueError(f"confusion of {role}: expected shape {(len(names), len(names))}, got {counts.shape}")
        kept = (counts != 0) | np.eye(len(names), dtype=bool)
        writer.writerows([role, names[i], names[j], int(counts[i, j])] for i, j in np.argwhere(kept))
    return text.getvalue().encode()


def from_csv(content: bytes) -> Confusions:
    """The counts in a file of ``to_csv``. Raises ValueError, with what was expected and got, for any other content."""
    text = content.decode()
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise ValueError(f"expected a table, got {error}") from error
    if rows[:1] != [_COLUMNS] or not text.endswith("\n") or any(len(row) != len(_COLUMNS) for row in rows):
        raise ValueError(f"expected whole rows of {', '.join(_COLUMNS)}, got others")
    blocks: dict[str, list[list[str]]] = {}
    for role, *cells in rows[1:]:
        blocks.setdefault(role, []).append(cells)
    if not blocks or set(blocks) - set(ROLES):
        raise ValueError(f"expected roles out of {', '.join(ROLES)}, got {', '.join(sorted(blocks)) or 'none'}")
    names = [true for true, predicted, _ in next(iter(blocks.values())) if true == predicted]
    places = {name: place for place, name in enumerate(names)}
    counts = {role: _counts(role, block, places) for role, block in blocks.items()}
    for kind in ("", "_clean"):
        target, surrogate = counts.get(f"target{kind}"), counts.get(f"surrogate{kind}")
        if target is not None and surrogate is not None and (target.sum(axis=1) != surrogate.sum(axis=1)).any():
            raise ValueError(f"expected surrogate{kind} to have the points of target{kind}, got others")
    return Confusions(class_names=tuple(names), counts=counts)


def _counts(role: str, block: Sequence[Sequence[str]], places: Mapping[str, int]) -> Ints:
    """The counts of one role, whose block must name every class once as itself, in the same order as all others."""
    own = [true for true, predicted, _ in block if true == predicted]
    if own != list(places):
        raise ValueError(f"{role}: expected a count of every class, {', '.join(places)}, got {', '.join(own)}")
    counts = np.full((len(places), len(places)), -1, dtype=np.int64)
    for true, predicted, count in block:
        if true not in places or predicted not in places:
            raise ValueError(f"{role}: expected classes out of {', '.join(places)}, got {true} and {predicted}")
        if not (count.isascii() and count.isdigit()):
            raise ValueError(f"{role}: expected whole numbers >= 0, got {count}")
        if counts[places[true], places[predicted]] >= 0:
            raise ValueError(f"{role}: expected one count of {true} and {predicted}, got several")
        counts[places[true], places[predicted]] = int(count)
    return np.maximum(counts, 0)
