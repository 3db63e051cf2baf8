"""Damage of attacks against the time that they took."""

from __future__ import annotations

from itertools import cycle

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from transfer_exp.figures.canvas import LOOK

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
_MARKS = "os^Dv<>PX"
_LEAST = 1e-4  # seconds: the axis is logarithmic


@mpl.rc_context(LOOK)
def damage_lines(data: pd.DataFrame, ax: Axes, *, title: str) -> list[Line2D]:
    """Draw one line an attack; returns them. data: columns ``attack, settings, epsilon, damage, cpu_seconds``."""
    lines, looks = [], cycle(zip(cycle(_COLOURS), _MARKS, strict=False))
    for (attack, settings), own in data.groupby(["attack", "settings"]):
        colour, mark = next(looks)
        rows = own.sort_values("epsilon")
        label = f"{attack}, {settings}" if settings else str(attack)
        seconds = rows["cpu_seconds"].clip(lower=_LEAST)
        lines += ax.plot(seconds, rows["damage"], label=label, color=colour, marker=mark, markersize=3.5, linewidth=1.1)
    ax.set(title=title, xlabel="CPU seconds of the attack", ylabel="damage", xscale="log")
    return lines
