"""How learners are drawn: one colour and marker a family, H solid and filled, L dashed and open.

Colours are Okabe and Ito's, which the colour-blind can tell apart; markers and line styles say the same in grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Complexity: TypeAlias = Literal["high", "low"]
COMPLEXITIES: tuple[Complexity, Complexity] = ("high", "low")
_FAMILIES: dict[str, tuple[str, str]] = {
    "svm": ("#0072B2", "o"),
    "rbf": ("#D55E00", "s"),
    "logistic": ("#009E73", "^"),
    "ridge": ("#CC79A7", "D"),
    "mlp": ("#E69F00", "v"),
    "forest": ("#000000", "P"),
}
_OTHERS: tuple[tuple[str, str], ...] = (("#56B4E9", "X"), ("#7F7F7F", "*"), ("#F0E442", "h"))


@dataclass(frozen=True, kw_only=True)
class Look:
    """One learner in a figure.

    label: what it is called there. family: gives colour and marker, and groups the rows of a matrix. complexity: gives the
    line style. shade: from light (0) over the family's own colour (0.5) to dark (1).
    """

    label: str
    family: str
    complexity: Complexity | None = None
    shade: float = 0.5

    def line(self) -> dict[str, Any]:
        """Keyword arguments of ``Axes.plot``: solid for H, dashed with open markers for L."""
        colour, marker = colour_and_marker(self.family)
        colour = colour if self.shade == 0.5 else _shaded(colour, self.shade)
        low = self.complexity == "low"
        return {
            "color": colour,
            "marker": marker,
            "markersize": 4.5,
            "linewidth": 1.4,
            "linestyle": (0, (4, 2)) if low else "-",
            "markerfacecolor": "white" if low else colour,
        }

    def points(self) -> dict[str, Any]:
        """Keyword arguments of ``Axes.plot`` for points without line: filled for H, open for L."""
        return {**self.line(), "linestyle": "none", "markersize": 5.5, "markeredgewidth": 1.1}


Looks: TypeAlias = Mapping[str, Look]
"""Look of each learner by name, in the order in which they are drawn."""


def colour_and_marker(family: str) -> tuple[str, str]:
    """Colour and marker of a family; those that are not known share a few."""
    return _FAMILIES.get(family) or _OTHERS[sum(map(ord, family)) % len(_OTHERS)]


def label(name: str, looks: Looks) -> str:
    """The label of a row or column: that of a learner, or the name of anything else."""
    return looks[name].label if name in looks else name


def group(name: str, looks: Looks) -> str:
    """What a row or column of a matrix stands together with: learners with their family, others with each other."""
    return looks[name].family if name in looks else ""


def _shaded(colour: str, shade: float) -> str:
    """A colour from light (shade 0) over itself (0.5) to dark (1)."""
    end = 255 if shade < 0.5 else 0
    weight = 1.2 * abs(shade - 0.5)
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + weight * (end - part)):02X}" for part in parts)
