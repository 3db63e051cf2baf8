"""Curves over the strength of the attack."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from transfer_exp.figures.canvas import LOOK
from transfer_exp.figures.style import Looks

_GREY = "#6e6e6e"


@mpl.rc_context(LOOK)
def security_curves(
    data: pd.DataFrame,
    ax: Axes,
    *,
    looks: Looks,
    title: str,
    xlabel: str,
    ylabel: str,
    control: pd.DataFrame | None = None,
) -> list[Line2D]:
    """Draw the security evaluation curves; returns the lines.

    data: columns ``learner, epsilon, mean, spread``, one row per learner of ``looks`` and epsilon; bands are mean +- spread.
    control: columns ``epsilon, mean, low, high``, drawn dotted in grey, last, named at its end; none where it is empty.
    """
    lines = []
    for name, look in looks.items():
        style = look.line()
        rows = data[data["learner"] == name].sort_values("epsilon")
        mean, spread = rows["mean"], rows["spread"].fillna(0.0)
        ax.fill_between(rows["epsilon"], mean - spread, mean + spread, color=style["color"], alpha=0.13, linewidth=0)
        lines += ax.plot(rows["epsilon"], mean, label=look.label, **style)
    if control is not None and len(control):
        ax.fill_between(control["epsilon"], control["low"], control["high"], color=_GREY, alpha=0.25, linewidth=0)
        lines += ax.plot(control["epsilon"], control["mean"], label="_noise", color=_GREY, linestyle=":", linewidth=1.8)
        end = control.sort_values("epsilon").iloc[-1]  # named there: a sixth column would not fit in the legend
        ends = (float(end["epsilon"]), float(end["high"]))
        ax.annotate("noise", ends, (-3, 3), textcoords="offset points", ha="right", va="bottom", color=_GREY)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=(-0.02, 1.02))
    legend_below(ax)
    return lines


def legend_below(ax: Axes) -> None:
    """The legend under the axes, where it hides nothing; two rows, so that H stands above L."""
    handles, labels = ax.get_legend_handles_labels()
    figure = ax.get_figure()
    if handles and figure is not None:
        columns = (len(handles) + 1) // 2
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.6, columnspacing=1.2)


@mpl.rc_context(LOOK)
def legend_of(figure: Figure, lines: Sequence[Line2D], *, columns: int | None = None) -> None:
    """One legend under all axes of a figure, in one row, or in so many columns."""
    figure.legend(handles=list(lines), loc="outside lower center", ncols=columns or len(lines))
