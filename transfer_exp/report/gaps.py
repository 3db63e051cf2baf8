"""What a study lacks, in words: combinations that are missing or failed, settings that changed on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product

import pandas as pd

from transfer_exp.figures.style import COMPLEXITIES, Complexity
from transfer_exp.report.factors import KEY, SIZES, Slice, in_words
from transfer_exp.report.taxonomy import Learners, family_label
from transfer_exp.report.variants import ROLES
from transfer_exp.scenarios.words import Words
from transfer_exp.types import counted

_MOST_LINES = 20
_WHITEBOX_IMPROVED = 0.01
_MUST_AGREE = (
    *(size for size in SIZES if size != "n_surrogate"),
    "git_commit",
    "threads",
)  # no factors, so they may not vary


def missing(tried_runs: Slice, finished: pd.DataFrame) -> list[str]:
    """Name the combinations of the grid without a finished run; finished: the runs that count.

    The grid is the product of all surrogates, targets, fractions and seeds tried, less the seeds of settings that
    ``partial`` names, and less pairs with a variant of a learner that no seed has: sweeps of blocks do not let all meet.
    """
    every, learners = tried_runs.runs, tried_runs.learners
    axes = [sorted(every[column].unique()) for column in KEY]
    own = [set(every[[role, "seed"]].itertuples(index=False, name=None)) for role in ROLES]
    whole = [{name for name in every[role].unique() if not learners.of(name).options} for role in ROLES]
    met = set(every[list(ROLES)].itertuples(index=False, name=None))
    grid = {
        key
        for key in product(*axes)
        if all(key[i] in whole[i] or ((key[i], key[-1]) in own[i] and key[:2] in met) for i in range(len(ROLES)))
    }
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
        at = {key: tuple(key[i] for i in fixed) for key in grid}
        whole, gone = (Counter(at[key] for key in keys) for keys in (grid, lacking))
        slices = {at[key] for key in left if gone[at[key]] == whole[at[key]]}
        left = {key for key in left if at[key] not in slices}
        for values in sorted(slices, key=str):
            named = ", ".join(f"{KEY[i]}={value}" for i, value in zip(fixed, values, strict=True))
            lines.append(named + (f" ({counted(whole[values], 'combination')})" if whole[values] > 1 else ""))
    return lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more"]


def absent_learners(runs: pd.DataFrame, learners: Learners) -> list[str]:
    """Name learners that the others suggest: a target with gradients that never is surrogate, a half of an H/L pair."""
    lines: list[str] = []
    for role in ROLES:
        kinds = [learners.of(name) for name in learners.ordered(runs[role].unique())]
        there = {kind.name for kind in kinds}
        levels = {(kind.family, kind.complexity) for kind in kinds}  # with variants: they are there, and ask for no twin
        if role == "surrogate":
            with_gradients = learners.ordered(runs.loc[runs["gradient_size"].notna(), "target"].unique())
            suggested = [learners.of(name) for name in with_gradients if learners.of(name).name not in there]
            lines += [f"no run has surrogate={name}" for name in dict.fromkeys(kind.name for kind in suggested)]
            levels |= {(kind.family, kind.complexity) for kind in suggested}
        pairs = [(family, level) for family in dict.fromkeys(k.family for k in kinds if k.level) for level in COMPLEXITIES]
        lines += [no_learner(family, level, role) for family, level in pairs if (family, level) not in levels]
    return lines


def no_learner(family: str, level: Complexity, role: str) -> str:
    """That the H or the L of a family is missing in a role, in words."""
    return f"no run has {family_label(family)} {level[0].upper()} as {role}"


def disagreements(runs: pd.DataFrame) -> list[str]:
    """Name the settings that are not the same in all runs, though the study's means need them to be."""
    lines = []
    columns = [str(column) for column in runs]
    for column in (*_MUST_AGREE, *(c for c in columns if c.startswith(("version/", "source/")))):
        values: list[str] = sorted(runs[column].dropna().astype(str).unique()) if column in runs else []
        if len(values) > 1:
            lines.append(f"{column} is not the same in all runs: {', '.join(values[:4])}")
    return lines


def warnings(runs: pd.DataFrame, words: Words) -> list[str]:
    """Name the targets whose own attack was beaten by points made on a surrogate, on more than 1% of points and epsilons."""
    name = "health/whitebox_improved"
    if name not in runs:
        return []
    beaten = runs[runs[name] > _WHITEBOX_IMPROVED]
    return [
        f"white box of {target}: points made on a surrogate harmed it more than its own attack in {len(own)} of "
        f"{(runs['target'] == target).sum()} runs (at most {own.max():.1%} of points and epsilons; they replace it); "
        f"raise {words.effort}"
        for target, own in beaten.groupby("target")[name]
    ]


def partial(slices: Sequence[Slice], command: Callable[[str, Sequence[int]], str]) -> Iterator[str]:
    """Name the slices, and the learners' settings within one, that only some seeds have, and how to complete them."""
    every = sorted({seed for each in slices for seed in each.seeds})
    for each in slices:
        if each.seeds != every:
            yield _partial(in_words(each.settings), each.runs, every, command)
        for role in ROLES:
            for name, own in each.runs.groupby(role):
                done = own[own["status"] == "FINISHED"]
                if each.learners.of(str(name)).options and set(done["seed"]) < set(each.seeds):
                    yield _partial(f"{role} {name}", own, each.seeds, command)


def _partial(what: str, runs: pd.DataFrame, every: Sequence[int], command: Callable[[str, Sequence[int]], str]) -> str:
    done = runs[runs["status"] == "FINISHED"]
    seeds = sorted(done["seed"].unique())
    typed = command(str(done["run_id"].iloc[-1]), every)
    how = f"; to complete it: {typed}" if typed else ""
    few = f"seed{'s'[len(seeds) == 1 :]} {', '.join(map(str, seeds))}"
    return f"{what} was done with {few} alone, of {len(every)} in the study; it is shown apart{how}"
