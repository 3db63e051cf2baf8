"""Which surrogate should an attacker take? Rankings made before any attack, judged by what attacks then reached.

In each repetition, for each target, a ranking chooses one surrogate; of several that it puts first together, each counts
in equal parts. With e(s) the error of the target under the attacks made on s, and s* the choice,

    regret       1 - mean over targets of e(s*) / mean over targets of max_s e(s)    of one repetition; then mean over seeds
    rank corr.   Kendall's tau of the ranking with e over the surrogates, mean over targets and seeds
    hits         how often e(s*) = max_s e(s)

A ranking has no parameter that is fitted to these errors, so that its regret is out of sample; ``the same`` surrogate is
chosen on the other seeds. The maximum is over the same repetition's errors: by chance alone it lies above any choice made
before, and regret is not zero where surrogates are equally good. ``regret_on_average`` is against the surrogate that is
best for each target on average over the seeds, where there is less of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from transfer_exp.report import tables, words
from transfer_exp.report.comparisons import strengths
from transfer_exp.report.study import Study
from transfer_exp.report.taxonomy import Learners
from transfer_exp.types import Floats

Knows: TypeAlias = Literal["the attacker", "an insider", "nobody"]
FEWEST = 3  # surrogates among which there is a choice
RANDOM, SAME = "at random", "the same for all"
_DIGITS = 12
_KEY = ["seed", "target"]
_RANKING = ["epsilon", "ranking", "known_to"]
_CELL = [*_KEY, "surrogate", "error", "best", "best_on_average", "kendall", "hits"]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A way to rank surrogates: the mean of their ranks by each of ``columns``, each with 1 (largest first) or -1.

    knows: who knows the columns before an attack. Equal mean ranks are told apart by the first column.
    """

    name: str
    columns: tuple[tuple[str, int], ...]
    knows: Knows = "the attacker"

    def scores(self, measured: dict[str, Floats]) -> Floats | None:
        """Larger is better, ``(cells, surrogates)``; NaN where a column is. None where the study lacks a column."""
        if any(column not in measured for column, _ in self.columns):
            return None
        values = [sign * measured[column] for column, sign in self.columns]
        if len(values) == 1:
            return values[0]
        missing = np.isnan(np.stack(values)).any(axis=0)
        ranks = [pd.DataFrame(np.where(missing, np.nan, one)).rank(axis=1).to_numpy() for one in values]
        return np.asarray(np.mean(ranks, axis=0) + 1e-3 * ranks[0] / values[0].shape[1])


RANKINGS = (
    Ranking(name="centrality", columns=(("centrality", 1),)),
    Ranking(name="V", columns=(("loss_variability", -1),)),
    Ranking(name="V, cross-entropy", columns=(("loss_variability_cross_entropy", -1),)),
    Ranking(name="S of the surrogate", columns=(("surrogate_gradient_size", -1),)),
    Ranking(name="input curvature", columns=(("input_curvature", -1),)),
    Ranking(name="centrality and V", columns=(("centrality", 1), ("loss_variability", -1))),
    Ranking(name="R with the target", columns=(("gradient_alignment", 1),), knows="an insider"),
)
"""By one measure, and by two. Smaller V, S and curvature are better: simple surrogates transfer (Demontis et al. 2019)."""


def summary(cells: pd.DataFrame) -> pd.DataFrame:
    """One row a ranking and chosen epsilon, from ``cells``.

    error: of the targets under the chosen surrogates' attacks; best: under those of the best for each target; regret, with
    ``spread``, half of its 95% interval over the n seeds; worst_target: the largest regret of a target, over the seeds.
    surrogate: chosen most often.
    """
    found = [{**_named(key), **_summed(own)} for key, own in cells.groupby(_RANKING, sort=False)]
    return pd.DataFrame(found) if found else pd.DataFrame(columns=[*_RANKING, "regret"])


def by_strength(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """Regret of each ranking at each chosen epsilon, a column each, and over them ``mean``; the smallest mean first."""
    if summary.empty:
        return summary
    wide = summary.pivot(index=["ranking", "known_to"], columns="epsilon", values="regret")
    names = {epsilon: f"regret at {words.strength(study, float(epsilon))}" for epsilon in wide.columns}
    wide = wide.rename(columns=names).rename_axis(columns=None).assign(mean=wide.mean(axis=1))
    return wide.sort_values("mean", kind="stable").reset_index()


def by_target(cells: pd.DataFrame, learners: Learners) -> pd.DataFrame:
    """One row a chosen epsilon, ranking and target: means over the seeds, and the surrogate that is chosen most often."""
    parts = []
    for key, own in cells.groupby(_RANKING, sort=False):
        over = own.groupby("target")
        part = over[["error", "best", "hits"]].mean()
        part = part.assign(regret=_regret(part["error"], part["best"]), surrogate=over["surrogate"].agg(_most_often))
        parts.append(part.reindex(learners.ordered(part.index)).reset_index().assign(**_named(key)))
    columns = ["epsilon", "ranking", "target", "surrogate", "error", "best", "regret", "hits"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def cells(study: Study, column: str = "") -> pd.DataFrame:
    """One row an epsilon, ranking, seed and target: the surrogate chosen (NaN for several), and ``_CELL``.

    column: the curve that takes the place of ``outcome``. Empty where no target met ``FEWEST`` surrogates.
    """
    parts = [
        own.assign(epsilon=epsilon, ranking=ranking.name, known_to=ranking.knows)
        for epsilon in strengths(study)
        for ranking, own in _chosen(study, epsilon, column or outcome(study))
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*_RANKING, *_CELL])


def _chosen(study: Study, epsilon: float, column: str) -> Iterator[tuple[Ranking, pd.DataFrame]]:
    """Each ranking that the study allows, and what it chooses in each seed for each target."""
    rows = _measured(study, epsilon).dropna(subset=[column])
    errors = _wide(rows, column)
    if errors.empty or errors.notna().sum(axis=1).max() < FEWEST:
        return
    errors = errors[errors.notna().sum(axis=1) >= FEWEST]
    there = rows.columns[rows.notna().any()]
    names = {name for ranking in RANKINGS for name, _ in ranking.columns if name in there}
    measured = {name: _wide(rows, name).reindex_like(errors).to_numpy(dtype=np.float64) for name in sorted(names)}
    for ranking in RANKINGS:
        scores = ranking.scores(measured)
        if scores is not None:
            yield ranking, _choices(errors, scores)
    if errors.index.unique("seed").size > 1:
        yield Ranking(name=SAME, columns=(), knows="an insider"), _choices(errors, _on_other_seeds(errors))
    yield Ranking(name=RANDOM, columns=(), knows="nobody"), _choices(errors, np.zeros(errors.shape))


def most_met(study: Study) -> int:
    """How many surrogates the target that has met most of them has met in a repetition, on all data."""
    met = _measured(study, study.epsilon_reference).groupby(_KEY)["surrogate"].nunique()
    return int(met.max()) if len(met) else 0


def outcome(study: Study) -> str:
    """The curve of what the attacker wants: the targets' error or, with a goal, that points are taken for its class."""
    return "targeted_success" if study.goal != "any" and study.curves["targeted_success"].notna().any() else "error"


def _measured(study: Study, epsilon: float) -> pd.DataFrame:
    """One row a combination on all data: the curves at an epsilon, and the scalars of the runs."""
    key = ["surrogate", "target", "seed"]
    curves = tables.at(study, epsilon).dropna(subset=[outcome(study)])
    runs = study.runs[np.isclose(study.runs["surrogate_fraction"], study.fraction)]
    scalars = runs[[*key, *runs.columns.difference(curves.columns)]]
    return curves.merge(scalars, on=key, how="left", validate="one_to_one")


def _wide(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column as (seed, target) x surrogates."""
    return tables.indexed(rows, [*_KEY, "surrogate"])[column].unstack()


def _on_other_seeds(errors: pd.DataFrame) -> Floats:
    """Of each surrogate the mean error of the targets on all seeds but the row's own."""
    a_seed = errors.groupby(level="seed").mean()
    others = {seed: a_seed.drop(index=seed).mean() for seed in a_seed.index}
    return np.stack([others[seed].to_numpy() for seed in errors.index.get_level_values("seed")])


def _choices(errors: pd.DataFrame, scores: Floats) -> pd.DataFrame:
    """What scores choose in each row, where they are defined for a surrogate at least."""
    found, on_average = [], errors.groupby(level="target").mean().max(axis=1)
    for place, own, score in zip(errors.index, errors.to_numpy(dtype=np.float64), scores, strict=True):
        known = ~np.isnan(own) & ~np.isnan(score)
        if not known.any():
            continue
        first, best = known & (score == score[known].max()), float(np.nanmax(own))
        one = errors.columns[first][0] if first.sum() == 1 else np.nan
        tau, hits = _kendall(score[known], own[known]), float((own[first] == best).mean())
        about = {"surrogate": one, "error": float(own[first].mean()), "best": best, "kendall": tau, "hits": hits}
        about |= {"best_on_average": on_average[place[1]]}
        found.append(dict(zip(_KEY, place, strict=True)) | about)
    return pd.DataFrame(found, columns=_CELL)


def _kendall(first: Floats, second: Floats) -> float:
    """Kendall's tau-b; NaN where one is constant."""
    signs = [np.sign(np.subtract.outer(one, one)) for one in (first, second)]
    total = float(np.sqrt(np.prod([(one**2).sum() for one in signs])))
    return float((signs[0] * signs[1]).sum()) / total if total else np.nan


def _regret(error: pd.Series[float], best: pd.Series[float]) -> pd.Series[float]:
    return _without_dust(1 - error / best.where(best > 0))


def _without_dust(values: pd.Series[float]) -> pd.Series[float]:
    """The mean of equal errors may differ from them in the last digit: no regret of -2e-16."""
    return values.round(_DIGITS) + 0.0  # no -0 either


def _named(key: object) -> dict[str, Any]:
    assert isinstance(key, tuple)
    return dict(zip(_RANKING, key, strict=True))


def _summed(own: pd.DataFrame) -> dict[str, object]:
    a_seed, a_target = (own.groupby(name)[["error", "best"]].mean() for name in _KEY)
    regret = _regret(a_seed["error"], a_seed["best"])
    on_average = _regret(*(pd.Series([own[name].mean()]) for name in ("error", "best_on_average")))
    return {
        "surrogate": _most_often(own["surrogate"]),
        **own[["error", "best"]].mean(),
        "regret": regret.mean(),
        "spread": tables.half_width(regret),
        "regret_on_average": float(on_average.iloc[0]),
        "worst_target": _regret(a_target["error"], a_target["best"]).max(),
        **own[["kendall", "hits"]].mean(),
        "n": len(regret),
    }


def _most_often(names: pd.Series[str]) -> object:
    """The most frequent name, the first in the alphabet of several; NaN where there is none."""
    counts = names.value_counts()
    return sorted(counts[counts == counts.max()].index)[0] if len(counts) else np.nan
