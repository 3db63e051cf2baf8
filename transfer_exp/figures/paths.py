"""Quantities along a swept number of a learner."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from transfer_exp.figures.canvas import LOOK
from transfer_exp.types import Floats

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDE = 20.0  # largest / smallest value from which an axis is logarithmic
_MOST_TICKS = 7


@mpl.rc_context(LOOK)
def path_lines(data: pd.DataFrame, ax: Axes, *, xlabel: str, title: str) -> list[Line2D]:
    """Draw one quantity along a number; returns the lines.

    data: columns ``value, mean, low, high, fixed``, one line for each ``fixed``; bands are low to high, where there are any.
    """
    lines = []
    for k, (fixed, rows) in enumerate(data.groupby("fixed", sort=False)):
        ordered = rows.sort_values("value")
        colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
        low, high = (ordered[end].fillna(ordered["mean"]) for end in ("low", "high"))
        ax.fill_between(ordered["value"], low, high, color=colour, alpha=0.15, linewidth=0)
        lines += ax.plot(
            ordered["value"], ordered["mean"], label=str(fixed), color=colour, marker=marker, markersize=4, linewidth=1.4
        )
    _ticks(ax, np.unique(data["value"].to_numpy(dtype=np.float64)))
    ax.set(xlabel=xlabel, title=title)
    return lines


def _ticks(ax: Axes, values: Floats) -> None:
    positive = values[values > 0]
    if len(positive) and values[0] >= 0 and positive[-1] / positive[0] >= _WIDE:
        if len(positive) == len(values):
            ax.set_xscale("log")
        else:  # 0, one decade left of the smallest value: matplotlib stretches linscale by 10 / 9
            ax.set_xscale("symlog", linthresh=positive[0], linscale=0.9)
    step = -(-len(values) // _MOST_TICKS)
    ax.xaxis.set_major_locator(FixedLocator(values[::step].tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(_label))


def _label(value: float, _: object) -> str:
    """A number in few letters: 0.001, 1e-4 for 0.0001, 1e4 for 10000."""
    plain, power = f"{value:g}", f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    shorter = "e" in plain or len(power) < len(plain) - 1
    return power if shorter and float(power) == value else plain
