"""Attacks on training data side by side: what each does at equal numbers of points and in equal CPU time; what defences did.

The attacks are those of a study that has several (``attack=poisoning,flips_greedy,...``). Damage: error of a target
retrained with the points, less its clean error; means over the targets that all attacks and surrogates have met, then over
the seeds.
Time: CPU seconds of the attack alone, without the targets' training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.report.factors import in_words
from transfer_exp.report.study import Study

SECONDS, DEFENCE = "effort/cpu_seconds_at_", "defence/"
_KEY = ["attack", "settings", "surrogate", "epsilon"]
_COLUMNS = [*_KEY, "damage", "low", "high", "cpu_seconds", "targets", "n"]


def slices(study: Study) -> tuple[Study, ...]:
    """The study and what stands beside it, those that attack training data and say how long it took."""
    every = (study, *study.others)
    return tuple(one for one in every if one.scenario == "poisoning" and any(str(c).startswith(SECONDS) for c in one.runs))


def damage(study: Study) -> pd.DataFrame:
    """One row an attack, surrogate and share of points: mean damage, its 95% interval over the seeds, mean CPU seconds."""
    rows = [row for one in slices(study) for row in _rows(one, _targets(study))]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _targets(study: Study) -> set[str]:
    """Targets that every attack has met from every surrogate."""
    met = [set(own["target"]) for one in slices(study) for _, own in one.curves.groupby("surrogate")]
    return set.intersection(*met) if met else set()


def _rows(study: Study, targets: set[str]) -> Iterator[tuple[object, ...]]:
    settings = _settings(study)
    own = study.curves[study.curves["target"].isin(targets) & (study.curves["surrogate_fraction"] == study.fraction)]
    own = own.assign(damage=own["error"] - own["clean_error"])
    for (surrogate, epsilon), at in own[own["epsilon"] > 0].groupby(["surrogate", "epsilon"]):
        by_seed = at.groupby("seed")["damage"].mean()
        low, high = stats.mean_interval(by_seed.to_numpy())
        seconds = study.runs.loc[study.runs["surrogate"] == surrogate].get(f"{SECONDS}{epsilon:g}", pd.Series(dtype=float))
        mean = float(by_seed.mean())
        yield (study.attack, settings, surrogate, epsilon, mean, low, high, seconds.mean(),
               len(targets), len(by_seed))  # fmt: skip


def _settings(study: Study) -> str:
    """What tells it from the others beside its attack."""
    return in_words({name: value for name, value in study.settings.items() if name != "attack"})


def in_equal_time(rows: pd.DataFrame) -> pd.DataFrame:
    """Of ``damage``: by surrogate, what every attack had done when one of them was through with its largest share.

    reached: share of points; an attack that had not made any by then has done nothing.
    """
    found = []
    for surrogate, own in rows.dropna(subset=["cpu_seconds"]).groupby("surrogate"):
        attacks = list(own.groupby(["attack", "settings"], sort=False))
        for budget in sorted({float(of["cpu_seconds"].max()) for _, of in attacks}):
            for (attack, settings), of in attacks:
                done = of[of["cpu_seconds"] <= budget].sort_values("epsilon")
                last = done.iloc[-1] if len(done) else None
                reached, harm = (0.0, 0.0) if last is None else (last["epsilon"], last["damage"])
                found.append((surrogate, budget, attack, settings, reached, harm))
    return pd.DataFrame(found, columns=["surrogate", "cpu_seconds", "attack", "settings", "reached", "damage"])


def defences(study: Study) -> pd.DataFrame:
    """One row an attack, target and share: means over surrogates and seeds of what the target's defence says it did."""
    parts = []
    for one in slices(study):
        columns = [str(c) for c in one.runs if str(c).startswith(DEFENCE)]
        long = one.runs.melt(id_vars=["target"], value_vars=columns).dropna(subset=["value"])
        if not len(long):
            continue
        said = long["variable"].str.removeprefix(DEFENCE).str.rpartition("_at_")
        long = long.assign(what=said[0], epsilon=said[2].astype(float), value=long["value"].astype(float))
        wide = long.pivot_table(index=["target", "epsilon"], columns="what", values="value", aggfunc="mean")
        parts.append(wide.reset_index().assign(attack=one.attack, settings=_settings(one)))
    if not parts:
        return pd.DataFrame(columns=["attack", "settings", "target", "epsilon"])
    joined = pd.concat(parts, ignore_index=True)
    first = ["attack", "settings", "target", "epsilon"]
    return joined[[*first, *sorted(set(map(str, joined)) - set(first))]].astype({"epsilon": np.float64})
