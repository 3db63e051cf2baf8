"""One function a figure: data and axes in, artist out."""

from transfer_exp.figures.canvas import blank, save, single
from transfer_exp.figures.exposure import exposure_curve
from transfer_exp.figures.images import example_grid
from transfer_exp.figures.lines import legend_of, security_curves
from transfer_exp.figures.matrix import heat_map
from transfer_exp.figures.paths import path_lines
from transfer_exp.figures.points import dots, scatter
from transfer_exp.figures.seconds import damage_lines

__all__ = [
    "blank",
    "damage_lines",
    "dots",
    "example_grid",
    "exposure_curve",
    "heat_map",
    "legend_of",
    "path_lines",
    "save",
    "scatter",
    "security_curves",
    "single",
]
