"""The one figure of an audit: what an attacker reaches without access to the model, beside noise and full access."""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from transfer_exp.figures.canvas import LOOK

_TRANSFER, _WHITE, _GREY = "#D55E00", "#000000", "#6e6e6e"


@mpl.rc_context(LOOK)
def exposure_curve(data: pd.DataFrame, ax: Axes, *, title: str, xlabel: str, ylabel: str) -> list[Line2D]:
    """Draw the curves of one target; returns the lines.

    data: columns ``epsilon, error, low, high, noise, white_box``; a band from low to high, no line for what is unknown.
    """
    x = data["epsilon"]
    ax.fill_between(
        x, data["low"].fillna(data["error"]), data["high"].fillna(data["error"]), color=_TRANSFER, alpha=0.2, lw=0
    )
    lines = ax.plot(x, data["error"], color=_TRANSFER, marker="o", ms=4.5, lw=1.8, label="strongest transfer attack")
    if data["white_box"].notna().any():
        lines += ax.plot(x, data["white_box"], color=_WHITE, ls=(0, (4, 2)), lw=1.4, label="full access (white box)")
    if data["noise"].notna().any():
        lines += ax.plot(x, data["noise"], color=_GREY, ls=":", lw=1.8, label="random noise of that size")
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel, ylim=(-0.02, 1.02), xlim=(0, float(x.max())))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, handlelength=2.6, columnspacing=1.2)
    return lines
