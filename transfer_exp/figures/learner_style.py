"""How learners are named, ordered and drawn: one colour and marker a family, H solid and filled, L dashed and open.

Colours are Okabe and Ito's, which the colour-blind can tell apart; markers and line styles say the same in grey.
"""

from __future__ import annotations

import re
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
_VARIANT = re.compile(r"[^\[]*\[([\w.]+=.*)\]", re.DOTALL)
_OPTION = re.compile(r"(?:^|,)([A-Za-z_][\w.]*)=")


def base(name: str) -> str:
    """``svm_low`` of the variant ``svm_low[C=0.001]``; any other name is its own."""
    return name[: name.index("[")] if options(name) else name


def options(name: str) -> dict[str, str]:
    """What tells a variant from others of its name: ``{"C": "0.001"}`` of ``svm_low[C=0.001]``; empty for other names."""
    found = _VARIANT.fullmatch(name)
    parts = _OPTION.split(found[1])[1:] if found else []
    return dict(zip(parts[::2], parts[1::2], strict=True))


def family(name: str) -> str:
    """``svm`` of ``svm_high`` and its variants; a name without level is its own family."""
    own = base(name)
    return own.rsplit("_", 1)[0] if level(own) else own


def level(name: str) -> Level | None:
    """``high`` or ``low`` by the end of the name, None where it says neither."""
    return next((lvl for lvl in LEVELS if name.endswith(f"_{lvl}")), None)


def ordered(names: Iterable[str]) -> list[str]:
    """Names by family (the paper's order, then the alphabet), H next to L, then variants by the size of their options."""
    known = list(_FAMILIES)

    def key(name: str) -> tuple[Any, ...]:
        rank = known.index(family(name)) if family(name) in known else len(known)
        lvl = level(name)
        return rank, family(name), LEVELS.index(lvl) if lvl else len(LEVELS), *map(_by_size, options(name).values()), name

    return sorted(set(names), key=key)


def _by_size(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), ""
    except ValueError:
        return 1, 0.0, text


def families(names: Iterable[str]) -> list[str]:
    """The families of the names, in order, once each."""
    return list(dict.fromkeys(family(name) for name in ordered(names)))


def family_label(name: str) -> str:
    """A family's name for people."""
    return _FAMILIES[name][0] if name in _FAMILIES else name


def label(name: str) -> str:
    """A learner's name for people: ``SVM H`` of ``svm_high``, ``SVM, C 0.001`` of ``svm_low[C=0.001]``."""
    lvl = level(name)
    own = options(name)
    if own:
        return ", ".join([family_label(family(name)), *(f"{option} {value}" for option, value in own.items())])
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


def line_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``line_style`` of each learner, variants of one family from a light to a dark shade of its colour."""
    found = {name: line_style(name) for name in ordered(names)}
    for own in families(found):
        variants = [name for name in found if options(name) and family(name) == own]
        for place, name in enumerate(variants if len(variants) > 1 else []):
            shade = _shade(colour_and_marker(name)[0], place / (len(variants) - 1))
            found[name] |= {"color": shade, "markerfacecolor": shade}
    return found


def _shade(colour: str, place: float) -> str:
    """A colour from light (place 0) over itself (0.5) to dark (1)."""
    end = 255 if place < 0.5 else 0
    weight = 1.2 * abs(place - 0.5)
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + weight * (end - part)):02X}" for part in parts)


def marker_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Keyword arguments of ``Axes.plot`` for points without line: filled for H, open for L."""
    points = {"linestyle": "none", "markersize": 5.5, "markeredgewidth": 1.1}
    return {name: {**style, **points} for name, style in line_styles(names).items()}
