"""What targets say of the points that mislead a surrogate: the same mistake, another one, or the right class.

Of three classes and more. At each strength, on all of the surrogate data: means over the pairs, then over the seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from transfer_exp import figures, stats
from transfer_exp.report import tables, words
from transfer_exp.report.drawing import Picture
from transfer_exp.report.study import Study

_KINDS = {"same_mistake": "same mistake", "other_mistake": "another mistake", "unfooled": "right"}
_COLUMNS = ["epsilon", "kind", "mean", "low", "high", "n"]


def kinds(study: Study) -> pd.DataFrame:
    """One row a strength and kind: its share, mean over the n seeds and 95% interval; no rows where runs have none."""
    rows: list[dict[str, Any]] = []
    for column, kind in _KINDS.items():
        defined = tables.on_all_data(study).dropna(subset=[column])
        a_seed = defined.groupby(["epsilon", "seed"])[column].mean()
        for epsilon, own in a_seed.groupby(level="epsilon"):
            low, high = stats.mean_interval(own.to_numpy())
            rows.append({"epsilon": epsilon, "kind": kind, "mean": own.mean(), "low": low, "high": high, "n": len(own)})
    return pd.DataFrame(rows, columns=_COLUMNS)


def pictures(study: Study) -> Iterator[Picture]:
    """The three shares over the strengths."""
    data = kinds(study)
    if len(data):
        figure, ax = figures.single(4.9, 4.0)
        lines = figures.path_lines(
            data.rename(columns={"epsilon": "value", "kind": "fixed"}), ax, xlabel=words.strength_axis(study), title=""
        )
        ax.set(ylabel="share of the points", ylim=(-0.02, 1.02))
        figures.legend_of(figure, lines)
        caption = (
            "What the targets say of the points that mislead the surrogate; mean over the pairs, bands: 95% interval of the "
            "mean over seeds."
        )
        yield Picture(
            stem="kinds_of_mistakes", section="classes", row="Same mistake or another", caption=caption, figure=figure
        )
