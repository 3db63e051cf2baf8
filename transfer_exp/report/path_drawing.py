"""Figures of paths: one a swept number of a learner, a panel a quantity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from transfer_exp import figures
from transfer_exp.report import words
from transfer_exp.report.drawing import Picture
from transfer_exp.report.paths import quantities
from transfer_exp.report.study import Study
from transfer_exp.report.taxonomy import family_label

_COLUMNS = 3


def pictures(study: Study, curves: pd.DataFrame) -> Iterator[Picture]:
    """One figure a learner and number. curves: ``paths.curves`` of the study."""
    families = {study.learners.of(id_).name: study.learners.family(id_) for id_ in study.learners}
    for (learner, number), data in curves.groupby(["learner", "number"]):
        shown = [quantity for quantity in quantities(study) if quantity in set(data["quantity"])]
        rows = -(-len(shown) // _COLUMNS)
        figure, axes = figures.blank(7.6, 0.5 + 2.0 * rows, rows, _COLUMNS)
        panels: list[Any] = list(axes.flat)
        for quantity, ax in zip(shown, panels, strict=False):
            own = data[data["quantity"] == quantity]
            lines = figures.path_lines(own, ax, xlabel=str(number), title=quantity)
        for ax in panels[len(shown) :]:
            ax.set_axis_off()
        if data["fixed"].any():
            figures.legend_of(figure, lines)
        name = family_label(families.get(str(learner), str(learner)))
        yield Picture(
            stem=f"path_{learner}_{number}",
            section="paths",
            row="",
            caption=f"{name} along {number}, at {words.strength(study, study.epsilon_reference)}. Transfer: mean error over "
            "the learners of the other role that all values have met. Bands: 95% interval of the mean over seeds.",
            figure=figure,
        )
