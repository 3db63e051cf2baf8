"""Figure of attacks on training data: damage against the CPU seconds that they took, a panel a surrogate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transfer_exp import figures
from transfer_exp.report.attack_groups import ANY
from transfer_exp.report.attacks import damage
from transfer_exp.report.drawing import Picture
from transfer_exp.report.study import Study

_COLUMNS, _IN_LEGEND = 3, 4


def pictures(study: Study) -> Iterator[Picture]:
    """One figure, where the study has several attacks on training data: of the first setting of the data."""
    rows = damage(study).dropna(subset=["cpu_seconds"])
    rows = rows[rows["where"] == rows["where"].iloc[0]] if len(rows) else rows
    named = list(rows["attack"].where(rows["settings"] == "", rows["attack"] + ", " + rows["settings"]))
    rows = rows.assign(label=named, elsewhere=~(rows["made_on"].isin([ANY]) | (rows["made_on"] == rows["surrogate"])))
    attacks = sorted(set(named))
    if len(attacks) < 2:
        return
    surrogates = study.learners.ordered(rows["surrogate"].unique())
    n_rows = -(-len(surrogates) // _COLUMNS)
    figure, axes = figures.blank(7.6, 0.9 + 2.2 * n_rows, n_rows, _COLUMNS, share="y")
    panels: list[Any] = list(axes.flat)
    by_label: dict[Any, Any] = {}
    for surrogate, ax in zip(surrogates, panels, strict=False):
        label = study.learners.label_or_family(surrogate)
        lines = figures.damage_lines(rows[rows["surrogate"] == surrogate], ax, title=label, attacks=attacks)
        by_label = {line.get_label(): line for line in lines} | by_label
    for ax in panels[len(surrogates) :]:
        ax.set_axis_off()
    figures.legend_of(figure, [by_label[label] for label in attacks], columns=_IN_LEGEND)
    yield Picture(
        stem="damage_against_seconds",
        section="attacks",
        row="",
        caption=_caption(rows["where"].iloc[0]),
        figure=figure,
    )


def _caption(where: str) -> str:
    of = f" with {where} (others: table damage)" if where else ""
    return (
        f"Damage (error above the clean one, mean over targets and seeds) against the CPU seconds of the attack{of}; one "
        "mark a share of poisoning points. Dashed: points made on another surrogate, the best one for it."
    )
