"""Figure of attacks on training data: damage against the CPU seconds that they took, a panel a surrogate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transfer_exp import figures
from transfer_exp.report.attacks import damage
from transfer_exp.report.drawing import Picture
from transfer_exp.report.study import Study

_COLUMNS = 3


def pictures(study: Study) -> Iterator[Picture]:
    """One figure, where the study has several attacks on training data."""
    rows = damage(study).dropna(subset=["cpu_seconds"])
    if rows[["attack", "settings"]].drop_duplicates().shape[0] < 2:
        return
    surrogates = study.learners.ordered(rows["surrogate"].unique())
    n_rows = -(-len(surrogates) // _COLUMNS)
    figure, axes = figures.blank(7.6, 0.9 + 2.2 * n_rows, n_rows, _COLUMNS, share="y")
    panels: list[Any] = list(axes.flat)
    for surrogate, ax in zip(surrogates, panels, strict=False):
        label = study.learners.label_or_family(surrogate)
        lines = figures.damage_lines(rows[rows["surrogate"] == surrogate], ax, title=label)
    for ax in panels[len(surrogates) :]:
        ax.set_axis_off()
    figures.legend_of(figure, lines)
    yield Picture(
        stem="damage_against_seconds",
        section="attacks",
        row="",
        caption="Damage (error above the clean one, mean over targets and seeds) against the CPU seconds of the attack; one "
        "mark a share of poisoning points.",
        figure=figure,
    )
