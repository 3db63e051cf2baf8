"""More than two classes: the error of each, and who is mistaken for whom, from the ``confusion.csv`` of a study's runs.

At the reference epsilon, on the largest share of the surrogate data. A run's share of a cell is its count over the attacked
points of the true class; shares are averaged over runs, so that each combination counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mlflow.entities import Run

from transfer_exp import stats
from transfer_exp.confusions import FILE, ROLES, Confusions, from_csv
from transfer_exp.report import checked
from transfer_exp.report import client as store
from transfer_exp.report.study import Study
from transfer_exp.tracking import artifacts
from transfer_exp.types import Floats, Ints

MOST_DRAWN = 30
"""Classes that a figure has room for; of more, the tables alone."""
_AT_ONCE = 1000  # files whose text is held in memory
_MOST_MISTAKES = 20


@dataclass(frozen=True, kw_only=True)
class Classes:
    """What became of each class.

    errors: columns ``run_id, class, clean_error, error, surrogate, target, seed``, errors of the target. shares, counts:
    ``(K, K)`` by role, the mean share of the points of a class (rows) that are taken for a class (columns), NaN for a class
    without points, and how many in all.
    """

    names: tuple[str, ...]
    errors: pd.DataFrame
    shares: Mapping[str, Floats]
    counts: Mapping[str, Ints]


def load_classes(*, tracking_uri: str, study: Study) -> tuple[Classes | None, list[str]]:
    """The classes of a study with more than two of them, None of another; notes on files that were left out."""
    run_ids = list(study.runs.loc[np.isclose(study.runs["surrogate_fraction"], study.fraction), "run_id"])
    client, notes = store.connect(tracking_uri), list[str]()
    with store.speaking_of(tracking_uri):
        if artifacts.logged_checksum(client.get_run(run_ids[0]).data.tags, FILE) is None:
            return None, []  # runs of one study have one data set
        runs = store.search(client, store.experiment_id(client, study.name), "combination", only=run_ids)
        classes = gathered(study.runs, _read(client, runs, notes))
    return classes, checked.shortened(notes)


def _read(client: store.Client, runs: Sequence[Run], notes: list[str]) -> Iterable[tuple[str, Confusions]]:
    """The confusions of each run whose file is what was logged, of the first one's classes; adds a note on each other."""
    names: tuple[str, ...] = ()
    for i in range(0, len(runs), _AT_ONCE):
        part = runs[i : i + _AT_ONCE]
        contents = store.read_artifacts(client, part, FILE)
        for run in part:
            try:
                own = unpack(run, contents.get(run.info.run_id))
                names = names or own.class_names
                if own.class_names != names:
                    raise ValueError(f"expected the classes {', '.join(names)}, got {', '.join(own.class_names)}")
                yield run.info.run_id, own
            except ValueError as wrong:
                notes.append(f"left out: {store.place_of(client, run, FILE)}: {wrong}")


def unpack(run: Run, content: bytes | None) -> Confusions:
    """The confusions of a run. Raises ValueError, with what was expected, where they are not what was logged."""
    if content is None:
        raise ValueError("expected a file, got none")
    if wrong := checked.wrong_checksum(run, FILE, content):
        raise ValueError(wrong)
    confusions = from_csv(content)
    if missing := set(ROLES) - set(confusions.counts):
        raise ValueError(f"expected the roles {', '.join(ROLES)}, got none of {', '.join(sorted(missing))}")
    return confusions


def gathered(runs: pd.DataFrame, confusions: Iterable[tuple[str, Confusions]]) -> Classes | None:
    """The classes of all runs together, the same in all; None where there are two of them, or no run."""
    names: tuple[str, ...] = ()
    errors: list[pd.DataFrame] = []
    sums: dict[str, Floats] = {}
    defined: dict[str, Ints] = {}
    counts: dict[str, Ints] = {}
    for run_id, own in confusions:
        names = names or own.class_names
        if len(names) <= 2:
            return None
        for role, table in own.counts.items():
            share = _shares(table)
            sums[role] = sums.get(role, 0.0) + np.nan_to_num(share)
            defined[role] = defined.get(role, 0) + np.isfinite(share)
            counts[role] = counts.get(role, 0) + table
        wrong = {name: 1 - _shares(own.counts[role]).diagonal() for name, role in _ERRORS.items()}
        errors.append(pd.DataFrame({"run_id": run_id, "class": names, **wrong}))
    if not errors:
        return None
    shares = {
        role: np.divide(s, defined[role], out=np.full(s.shape, np.nan), where=defined[role] > 0) for role, s in sums.items()
    }
    frame = pd.concat(errors, ignore_index=True)
    about = runs[["run_id", "surrogate", "target", "seed"]]
    return Classes(names=names, errors=frame.merge(about, on="run_id", validate="many_to_one"), shares=shares, counts=counts)


_ERRORS = {"clean_error": "target_clean", "error": "target"}


def _shares(counts: Ints) -> Floats:
    """Counts ``(K, K)`` over the sum of their row; NaN for a class without points."""
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0))


def class_errors(classes: Classes, study: Study) -> pd.DataFrame:
    """One row a target and class: clean error and error, means over surrogates and seeds, 95% interval over the n seeds."""
    a_seed = classes.errors.groupby(["target", "class", "seed"], sort=False)[["clean_error", "error"]].mean()
    rows = []
    for target in study.learners.ordered(classes.errors["target"]):
        for name in classes.names:
            own = a_seed.xs((target, name), level=("target", "class")).dropna()
            low, high = stats.mean_interval(own["error"].to_numpy())
            means = {column: float(own[column].mean()) for column in _ERRORS}
            rows.append({"target": target, "class": name, **means, "low": low, "high": high, "n": len(own)})
    return pd.DataFrame(rows)


def confusion_table(classes: Classes) -> pd.DataFrame:
    """One row a role, true and predicted class: mean share of the points of the class, and their number in all runs."""
    parts = []
    for role in ROLES:
        index = pd.MultiIndex.from_product([[role], classes.names, classes.names], names=["role", "true", "predicted"])
        values = {"share": classes.shares[role].ravel(), "count": classes.counts[role].ravel()}
        parts.append(pd.DataFrame(values, index=index).reset_index())
    return pd.concat(parts, ignore_index=True)


def mistakes(classes: Classes) -> pd.DataFrame:
    """The most frequent mistakes of the targets under attack, with the share that the surrogates make of them."""
    places = [(i, j) for i, j in np.ndindex(*classes.shares["target"].shape) if i != j]
    shares = {role: [classes.shares[role][place] for place in places] for role in ROLES}
    names = {"true": [classes.names[i] for i, _ in places], "predicted": [classes.names[j] for _, j in places]}
    table = pd.DataFrame({**names, **shares}).dropna(subset=["target"])
    return table.sort_values("target", ascending=False, kind="stable").head(_MOST_MISTAKES).reset_index(drop=True)
