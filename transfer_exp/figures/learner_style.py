"""How learners are named, ordered and drawn: one colour and marker a family, H solid and filled, L dashed and open.

Colours are Okabe and Ito's, which the colour-blind can tell apart; markers and line styles say the same in grey.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

Level: TypeAlias = Literal["high", "low"]
LEVELS: tuple[Level, Level] = ("high", "low")
_FAMILIES: dict[str, tuple[str, str, str]] = {
    "svm": ("SVM", "#0072B2", "o"),
    "rbf": ("RBF", "#D55E00", "s"),
    "logistic": ("logistic", "#009E73", "^"),
    "ridge": ("ridge", "#CC79A7", "D"),
    "mlp": ("MLP", "#E69F00", "v"),
    "forest": ("forest", "#000000", "P"),
}
_OTHERS: tuple[tuple[str, str], ...] = (("#56B4E9", "X"), ("#7F7F7F", "*"), ("#F0E442", "h"))


def family(name: str) -> str:
    """``svm`` of ``svm_high``; a name without level is its own family."""
    return name.rsplit("_", 1)[0] if level(name) else name


def level(name: str) -> Level | None:
    """``high`` or ``low`` by the end of the name, None where it says neither."""
    return next((lvl for lvl in LEVELS if name.endswith(f"_{lvl}")), None)


def ordered(names: Iterable[str]) -> list[str]:
    """Names by family (the paper's order, then the alphabet), H next to L."""
    known = list(_FAMILIES)

    def key(name: str) -> tuple[int, str, int]:
        rank = known.index(family(name)) if family(name) in known else len(known)
        lvl = level(name)
        return rank, family(name), LEVELS.index(lvl) if lvl else len(LEVELS)

    return sorted(set(names), key=key)


def families(names: Iterable[str]) -> list[str]:
    """The families of the names, in order, once each."""
    return list(dict.fromkeys(family(name) for name in ordered(names)))


def family_label(name: str) -> str:
    """A family's name for people."""
    return _FAMILIES[name][0] if name in _FAMILIES else name


def label(name: str) -> str:
    """A learner's name for people: ``SVM H`` of ``svm_high``."""
    lvl = level(name)
    return f"{family_label(family(name))} {lvl[0].upper()}" if lvl else name


def colour_and_marker(name: str) -> tuple[str, str]:
    """Colour and marker of the learner's family."""
    own = family(name)
    if own in _FAMILIES:
        return _FAMILIES[own][1], _FAMILIES[own][2]
    return _OTHERS[sum(map(ord, own)) % len(_OTHERS)]


def line_style(name: str) -> dict[str, Any]:
    """Keyword arguments of ``Axes.plot``: solid for H, dashed with open markers for L."""
    colour, marker = colour_and_marker(name)
    low = level(name) == "low"
    return {
        "color": colour,
        "marker": marker,
        "markersize": 4.5,
        "linewidth": 1.4,
        "linestyle": (0, (4, 2)) if low else "-",
        "markerfacecolor": "white" if low else colour,
    }


def marker_style(name: str) -> dict[str, Any]:
    """Keyword arguments of ``Axes.plot`` for points without line: filled for H, open for L."""
    return {**line_style(name), "linestyle": "none", "markersize": 5.5, "markeredgewidth": 1.1}
