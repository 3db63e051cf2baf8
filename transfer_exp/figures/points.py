"""Scatter plots of measures, and sizes a learner as dots with their spread."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from transfer_exp.figures.canvas import LOOK
from transfer_exp.figures.letters import plain_log
from transfer_exp.figures.lines import legend_below
from transfer_exp.figures.style import Looks


@mpl.rc_context(LOOK)
def scatter(data: pd.DataFrame, ax: Axes, *, looks: Looks, title: str, xlabel: str, ylabel: str) -> list[Line2D]:
    """Draw points in the style of their learner; returns one artist a learner.

    data: columns ``learner, x, y``, any number of rows a learner of ``looks``; rows with NaN are not drawn. The x axis is
    logarithmic when all x are positive and span more than a factor of thirty.
    """
    data = data.dropna(subset=["x", "y"])
    artists = []
    for name, look in looks.items():
        rows = data[data["learner"] == name]
        if len(rows):
            artists += ax.plot(rows["x"], rows["y"], label=look.label, alpha=0.85, **look.points())
    if len(data) and data["x"].min() > 0 and data["x"].max() > 30 * data["x"].min():
        ax.set_xscale("log")
        plain_log(ax.xaxis)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    legend_below(ax)
    return artists


@mpl.rc_context(LOOK)
def dots(data: pd.DataFrame, ax: Axes, *, looks: Looks, title: str, xlabel: str) -> list[Line2D]:
    """Draw one dot a learner with a bar of +- its spread, learners down the side; returns the dots.

    data: columns ``learner, mean, spread``, one row a learner of ``looks``.
    """
    rows = data.set_index("learner").reindex([name for name in looks if name in set(data["learner"])])
    artists = []
    for at, (name, row) in enumerate(rows.iterrows()):
        style = looks[str(name)].points()
        spread = np.nan_to_num(row["spread"])
        ax.hlines(at, row["mean"] - spread, row["mean"] + spread, color=style["color"], linewidth=1.6)
        artists += ax.plot([row["mean"]], [at], **style)
    ax.set_yticks(range(len(rows)), [looks[str(name)].label for name in rows.index])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.12 * max(ax.get_xlim()[1], 1e-12))
    ax.locator_params(axis="x", nbins=4)
    ax.set(title=title, xlabel=xlabel)
    return artists
