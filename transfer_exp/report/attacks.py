"""Attacks on training data side by side: what each does at equal numbers of points and in equal CPU time; what defences did.

The attacks are those of a study that has several (``attack=poisoning,flips_greedy,...``); ``attack_groups`` says which are
compared, and where. Damage: error of a target retrained with the points, less its clean error; means over the targets, then
over the seeds, that all attacks compared have met. Time: CPU seconds of the attack alone, without the targets' training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.report.attack_groups import SECONDS, Comparison, Points, comparisons, settings_of, slices, where
from transfer_exp.report.study import Study

DEFENCE = "defence/"
_GROUP, _ATTACK = ["where", "surrogate"], ["attack", "settings", "made_on"]
_COLUMNS = [*_GROUP, *_ATTACK, "epsilon", "damage", "low", "high", "cpu_seconds", "targets", "n"]


def damage(study: Study) -> pd.DataFrame:
    """One row a surrogate, attack and share of points: mean damage, its 95% interval over the seeds, mean CPU seconds.

    made_on: the surrogate whose points these are, another one where the attack was made on others alone.
    """
    rows = [row for one in comparisons(study) if one.cells for points in one.points for row in _rows(one, points)]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _rows(of: Comparison, points: Points) -> Iterator[tuple[object, ...]]:
    curves, runs = points.on(of.cells)
    n_targets = len({target for target, _ in of.cells})
    for epsilon, at in curves.groupby("epsilon"):
        by_seed = at.groupby("seed")["damage"].mean()
        low, high = stats.mean_interval(by_seed.to_numpy())
        seconds = runs.get(f"{SECONDS}{epsilon:g}", pd.Series(dtype=float)).mean()
        yield (of.where, of.surrogate, points.attack, points.settings, points.made_on,
               epsilon, float(by_seed.mean()), low, high, seconds, n_targets, len(by_seed))  # fmt: skip


def in_equal_time(rows: pd.DataFrame) -> pd.DataFrame:
    """Of ``damage``: by surrogate, what every attack had done when one of them was through with its largest share.

    reached: share of points; an attack that had not made any by then has done nothing.
    """
    found = []
    for group, own in rows.dropna(subset=["cpu_seconds"]).groupby(_GROUP):
        attacks = list(own.groupby(_ATTACK, sort=False))
        for budget in sorted({float(of["cpu_seconds"].max()) for _, of in attacks} if len(attacks) > 1 else ()):
            for attack, of in attacks:
                done = of[of["cpu_seconds"] <= budget].sort_values("epsilon")
                last = done.iloc[-1] if len(done) else None
                reached, harm = (0.0, 0.0) if last is None else (last["epsilon"], last["damage"])
                found.append((*group, budget, *attack, reached, harm))
    return pd.DataFrame(found, columns=[*_GROUP, "cpu_seconds", *_ATTACK, "reached", "damage"])


def defences(study: Study) -> pd.DataFrame:
    """One row an attack, target and share: means over surrogates and seeds of what the target's defence says it did."""
    parts, every = [], slices(study)
    for one in every:
        columns = [str(c) for c in one.runs if str(c).startswith(DEFENCE)]
        long = one.runs.melt(id_vars=["target"], value_vars=columns).dropna(subset=["value"])
        if not len(long):
            continue
        said = long["variable"].str.removeprefix(DEFENCE).str.rpartition("_at_")
        long = long.assign(what=said[0], epsilon=said[2].astype(float), value=long["value"].astype(float))
        wide = long.pivot_table(index=["target", "epsilon"], columns="what", values="value", aggfunc="mean")
        about = {"where": where(one, every), "attack": one.attack, "settings": settings_of(one)}
        parts.append(wide.reset_index().assign(**about))
    first = ["where", "attack", "settings", "target", "epsilon"]
    if not parts:
        return pd.DataFrame(columns=first)
    joined = pd.concat(parts, ignore_index=True)
    return joined[[*first, *sorted(set(map(str, joined)) - set(first))]].astype({"epsilon": np.float64})
