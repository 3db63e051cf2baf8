"""Surrogate x target matrices as heat maps."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from transfer_exp.figures.canvas import LOOK
from transfer_exp.figures.style import Looks, group, label

_DARK = 0.45
_APART = ("mean", "noise")


@mpl.rc_context(LOOK)
def heat_map(
    data: pd.DataFrame,
    ax: Axes,
    *,
    looks: Looks,
    title: str,
    percent: bool = False,
    lowest: float = 0.0,
    xlabel: str = "target",
    ylabel: str = "surrogate",
) -> QuadMesh:
    """Draw a matrix, such as one whose rows are surrogates and whose columns are targets; returns the mesh.

    Rows and columns are labelled and grouped by family where they are learners of ``looks``; those named ``mean`` or
    ``noise`` are set apart. Colours run from ``lowest`` to 1 and darken with the value,
    in colour as in grey. Numbers are whole percents with ``percent``, else two decimals; a cell without a value has a dash.
    """
    values = data.to_numpy(dtype=np.float64)
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(values), cmap="YlGnBu", vmin=lowest, vmax=1.0, edgecolors="white", linewidth=0.4
    )
    for row, column in np.ndindex(*values.shape):
        _number(ax, row, column, float(values[row, column]), percent=percent, dark=_DARK + (1 - _DARK) * lowest)
    ax.set_xticks(np.arange(values.shape[1]) + 0.5, [label(str(c), looks) for c in data.columns], rotation=90)
    ax.set_yticks(np.arange(values.shape[0]) + 0.5, [label(str(r), looks) for r in data.index])
    ax.tick_params(length=0, labelsize=8)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    _separate(ax, data, looks)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return mesh


def _number(ax: Axes, row: int, column: int, value: float, *, percent: bool, dark: float) -> None:
    shade = "white" if value > dark + 0.1 else "black"
    number = ax.text(column + 0.5, row + 0.5, _text(value, percent), ha="center", va="center", fontsize=7.5, color=shade)
    number.set_in_layout(False)  # it lies within its cell


def _text(value: float, percent: bool) -> str:
    if math.isnan(value):
        return "–"  # noqa: RUF001  (a dash is what is meant)
    if percent:
        return f"{100 * value:.0f}"
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.1f}"


def _separate(ax: Axes, data: pd.DataFrame, looks: Looks) -> None:
    """White gaps between families and before the means."""
    for names, draw in ((list(data.index), ax.axhline), (list(data.columns), ax.axvline)):
        for at in range(1, len(names)):
            apart = names[at] in _APART
            if apart or group(str(names[at]), looks) != group(str(names[at - 1]), looks):
                draw(at, color="white", linewidth=3.5 if apart else 1.8)
