"""What fills the columns of MLflow's runs table besides parameters and metrics: user, source, version, data sets."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from transfer_exp.combination import Combination
from transfer_exp.data.splits import make_split
from transfer_exp.signature import checksum, signature
from transfer_exp.tracking import notes
from transfer_exp.tracking.data_parts import DataPart
from transfer_exp.tracking.logged import Record
from transfer_exp.tracking.tracker import Tracker

if TYPE_CHECKING:
    from transfer_exp.report.summary import Summary

_SOURCE = {"mlflow.source.name": "transfer_exp", "mlflow.source.type": "LOCAL"}
_DIGEST = 12  # characters: enough to tell parts apart, few enough for a column; MLflow takes 36


def origin(versions: Mapping[str, str]) -> dict[str, str]:
    """Tags for the columns user, source and version; ``versions``: tags of a run's code, with ``git_commit``."""
    commit = versions["git_commit"]
    known = {"mlflow.source.git.commit": commit} if commit != "unknown" else {}
    return {"mlflow.user": _user(), **_SOURCE, **known}


@lru_cache(maxsize=1)
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, in a container
        return "unknown"


def sentence(identity: Mapping[str, Any]) -> str:
    """What is done in a combination, as far as its identity is known."""
    known = {name: identity.get(name, "?") for name in ("attack", "surrogate", "target", "dataset", "seed")}
    return (
        "the attack {attack} is made on the surrogate {surrogate} and shown to the target {target}, trained on other points "
        "of {dataset}; random split {seed}."
    ).format(**known)


def data_parts(combination: Combination) -> list[DataPart]:
    """The parts of the split: context surrogate, target, test and, where there is one, validation.

    A digest is that of the data's content and the part's rows: runs on the same points have the same.
    """
    dataset, seed = combination.dataset, combination.seed
    split = make_split(dataset, seed=seed, surrogate_fraction=combination.surrogate_fraction)
    parts = {name: getattr(split, name) for name in ("surrogate", "target", "validation", "test")}
    about = {**_SOURCE, "data_checksum": dataset.checksum, "seed": str(seed)}
    return [
        DataPart(
            name=dataset.name,
            digest=signature(data=dataset.checksum, rows=checksum(rows))[:_DIGEST],
            context=part,
            about={**about, "part": part},
            counts={"num_rows": len(rows), "num_features": dataset.n_features},
        )
        for part, rows in parts.items()
        if len(rows)
    ]


def show_summary(tracker: Tracker, run_id: str, summary: Summary, note: Callable[..., str], *, is_study: bool) -> None:
    """Log a sweep's cells as metrics of its run, and describe it.

    Its experiment, too, where no report has described that by all of the study. ``note``: ``notes.of_sweep``, but for the
    matrices and the report.
    """
    tracker.log(run_id, Record(metrics=summary.metrics))
    report = notes.address(tracker.experiment_id, run_id, "report/report.html") if is_study else ""
    text = note(matrices=summary.markdown, report=report)
    notes.describe_run(tracker.client, run_id, text)
    if not is_study:
        notes.describe_experiment(tracker.client, tracker.experiment_id, text)
