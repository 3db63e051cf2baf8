"""Blank figures in one look, and figures as files. No pyplot: no figure outlives its owner."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from transfer_exp.figures.letters import set_fonts

Axis: TypeAlias = Literal["x", "y", "both"]
LOOK: Any = {  # rc parameters; matplotlib types their names as one long literal
    "font.size": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a name with two $ is a name, no formula
    "svg.hashsalt": "transfer_exp",  # the same figure gives the same file
    "svg.fonttype": "none",  # text stays text: a browser has fonts for letters that this machine lacks
}


def blank(
    width: float = 4.8, height: float = 3.9, rows: int = 1, columns: int = 1, *, share: Axis | None = None
) -> tuple[Figure, npt.NDArray[np.object_]]:
    """A figure of the given inches and its axes ``(rows, columns)``, in the suite's look."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        sharex, sharey = share in ("x", "both"), share in ("y", "both")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, axes


def single(width: float = 4.8, height: float = 3.9) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure, axes = blank(width, height)
    return figure, axes[0, 0]


def save(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write the figure as ``<stem>.<format>`` for each format; returns the files."""
    files = [stem.parent / f"{stem.name}.{kind}" for kind in formats]
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # also where axes were made in another look
    set_fonts(figure)
    with mpl.rc_context(LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # set_fonts has said it, in one line
        for file in files:
            undated = {"Date": None} if file.suffix == ".svg" else {}
            figure.savefig(file, dpi=160, metadata=undated)
            figure.set_layout_engine("none")  # it stays as it is now
    return files
