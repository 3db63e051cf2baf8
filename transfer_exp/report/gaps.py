"""What a study lacks, in words: combinations that are missing or failed, settings that changed on the way."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import pandas as pd

from transfer_exp.figures.learner_style import LEVELS, family, level, ordered
from transfer_exp.types import counted

KEY = ["surrogate", "target", "surrogate_fraction", "seed"]
_MOST_LINES = 20
_WHITEBOX_IMPROVED = 0.01
_MUST_AGREE = (
    "norm",
    "epsilon_grid",
    "epsilon_reference",
    "epsilon_shown",
    "n_target",
    "n_validation",
    "n_test",
    "n_features",
    "git_commit",
    "data_checksum",
)


def missing(every: pd.DataFrame, finished: pd.DataFrame) -> list[str]:
    """Name the combinations of the grid without a finished run.

    every: the tried runs, finished: those that count, both with the columns of ``KEY`` and ``status``. The grid is the
    product of all surrogates, targets, fractions and seeds tried.
    """
    axes = [sorted(every[column].unique()) for column in KEY]
    grid = set(product(*axes))
    lacking = grid - _keys(finished)
    tried = every[[key in lacking for key in every[KEY].itertuples(index=False, name=None)]]
    failed = set(tried[KEY].itertuples(index=False, name=None))
    never = [f"missing: {text}" for text in _slices(lacking - failed, grid)]
    return never + [f"{_words(tried)}: {text}" for text in _slices(failed, grid)]


def _keys(runs: pd.DataFrame) -> set[tuple[object, ...]]:
    return set(runs[KEY].itertuples(index=False, name=None))


def _words(tried: pd.DataFrame) -> str:
    return "not finished (" + ", ".join(sorted(tried["status"].str.lower().unique())) + ")"


def _slices(lacking: set[tuple[object, ...]], grid: set[tuple[object, ...]]) -> list[str]:
    """Whole slices of the grid first (one surrogate, one seed, ...), then what is left, one by one."""
    lines: list[str] = []
    left = set(lacking)
    fixings = (fixed for width in range(1, len(KEY) + 1) for fixed in combinations(range(len(KEY)), width))
    for fixed in fixings:
        whole, gone = (Counter(tuple(key[i] for i in fixed) for key in keys) for keys in (grid, lacking))
        for values in sorted({tuple(key[i] for i in fixed) for key in left}, key=str):
            if gone[values] == whole[values]:
                left = {key for key in left if tuple(key[i] for i in fixed) != values}
                named = ", ".join(f"{KEY[i]}={value}" for i, value in zip(fixed, values, strict=True))
                lines.append(named + (f" ({counted(whole[values], 'combination')})" if whole[values] > 1 else ""))
    return lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more"]


def absent_learners(runs: pd.DataFrame) -> list[str]:
    """Name learners that the others suggest: a target with gradients that never is surrogate, a half of an H/L pair."""
    surrogates, targets = set(runs["surrogate"]), set(runs["target"])
    with_gradients = set(runs.loc[runs["gradient_size"].notna(), "target"])
    expected = {"surrogate": (with_gradients - surrogates) | _twinless(surrogates), "target": _twinless(targets)}
    return [f"no run has {role}={name}" for role, names in expected.items() for name in ordered(names)]


def _twinless(names: set[str]) -> set[str]:
    levelled = {name for name in names if level(name)}
    return {f"{family(name)}_{lvl}" for name in levelled for lvl in LEVELS} - names


def disagreements(runs: pd.DataFrame) -> list[str]:
    """Name the settings that are not the same in all runs, though the study's means need them to be."""
    lines = []
    columns = [str(column) for column in runs]
    for column in (*_MUST_AGREE, *(c for c in columns if c.startswith("version/"))):
        values: list[str] = sorted(runs[column].dropna().astype(str).unique()) if column in runs else []
        if len(values) > 1:
            lines.append(f"{column} is not the same in all runs: {', '.join(values[:4])}")
    for role in ("surrogate", "target"):
        for column in (c for c in columns if c.startswith(f"{role}.")):
            counts = runs.groupby(role)[column].nunique()
            lines += [f"{column} is not the same in all runs of {name}" for name in counts.index[counts > 1]]
    return lines


def warnings(runs: pd.DataFrame) -> list[str]:
    """Name the targets whose own attack was beaten by points made on a surrogate, on more than 1% of points and epsilons."""
    name = "health/whitebox_improved"
    if name not in runs:
        return []
    beaten = runs[runs[name] > _WHITEBOX_IMPROVED]
    options = "attack.n_tries" if (runs["attack"] == "evasion_add").all() else "attack.n_restarts, attack.n_walk"
    return [
        f"white box of {target}: points made on a surrogate harmed it more than its own attack in {len(own)} of "
        f"{(runs['target'] == target).sum()} runs (at most {own.max():.1%} of points and epsilons; they replace it); "
        f"raise {options}"
        for target, own in beaten.groupby("target")[name]
    ]
