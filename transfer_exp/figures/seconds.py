"""Damage of attacks against the time that they took."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from transfer_exp.figures.canvas import LOOK
from transfer_exp.figures.letters import plain_log

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333", "#8c6d31")
_MARKS = "os^Dv<>PXh*"
_LEAST = 1e-4  # seconds: the axis is logarithmic


@mpl.rc_context(LOOK)
def damage_lines(data: pd.DataFrame, ax: Axes, *, title: str, attacks: Sequence[str]) -> list[Line2D]:
    """Draw one line an attack, dashed where its points were made ``elsewhere``; returns them.

    data: columns ``label, epsilon, damage, cpu_seconds, elsewhere``. attacks: all labels of the figure, by which an
    attack looks the same in all its panels.
    """
    lines = []
    for label, (colour, mark) in zip(attacks, cycle(zip(cycle(_COLOURS), _MARKS, strict=False)), strict=False):
        rows = data[data["label"] == label].sort_values("epsilon")
        if len(rows):
            style = "--" if rows["elsewhere"].any() else "-"
            seconds = rows["cpu_seconds"].clip(lower=_LEAST)
            look: dict[str, Any] = {"color": colour, "marker": mark, "linestyle": style, "label": label}
            lines += ax.plot(seconds, rows["damage"], markersize=3.5, linewidth=1.1, **look)
    ax.set(title=title, xlabel="CPU seconds of the attack", ylabel="damage", xscale="log")
    plain_log(ax.xaxis)
    return lines
