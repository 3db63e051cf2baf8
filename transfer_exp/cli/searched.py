"""What a search shows and records when its last trial has ended: a table of its trials, the best one, how to type it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from transfer_exp.cli.objective import Objective
from transfer_exp.cli.search import FILE, Trial
from transfer_exp.system.commands import ui_command
from transfer_exp.tracking import connecting, notes
from transfer_exp.tracking.logged import Record
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import counted


def summarise_search(tracker: Tracker, parent: str, folder: Path, note: Callable[..., str]) -> str:
    """Log and print what the search of this sweep's ``folder`` found; returns what went wrong.

    The parent gets ``search/best`` and ``search/as_it_is``, the value of each trial as the curve ``search/value``, the files
    ``search/trials.csv`` and ``search/best.txt`` (the overrides to type), and a description.
    """
    content = json.loads((folder / FILE).read_text())
    objective = Objective(metric=content["metric"], direction=content["direction"])
    trials = [Trial(**one) for one in content["trials"]]
    best = best_of(trials, objective)
    if best is None:
        limited = " (without the clean error of the configuration as it is there is no limit)" if len(trials) == 1 else ""
        return f"search: expected a trial that ended well, got none{limited}"
    text = told(trials, best, objective)
    values = [math.nan if one.value is None else one.value for one in trials]
    known = {"best": best.value, "as_it_is": trials[0].value}
    metrics = {f"search/{name}": value for name, value in known.items() if value is not None}
    tracker.log(parent, Record(metrics=metrics, curves={"search": values}))
    files = {"search/trials.csv": as_csv(trials), "search/best.txt": "\n".join(best.overrides).encode()}
    tracker.log_files(parent, files)
    notes.describe_run(tracker.client, parent, note(matrices=text))
    print(f"\n{text}\n")
    start = "" if connecting.is_server(tracker.uri) else f"{ui_command()}, then "
    print(f"All trials: search/trials.csv of the search's run in MLflow's page, {start}{_page(tracker)}")
    return ""


def _page(tracker: Tracker) -> str:
    return notes.page(tracker.uri, tracker.experiment_id)


def best_of(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The best allowed trial, the first of equal ones; the configuration as it is counts, too. None where all failed."""
    best: Trial | None = None
    for one in trials:
        if one.value is None or not one.allowed:
            continue
        if best is None or best.value is None or objective.is_better(one.value, best.value):
            best = one
    return best


def told(trials: Sequence[Trial], best: Trial, objective: Objective) -> str:
    """The outcome of a search in a few lines."""
    value, before = _number(best.value), _number(trials[0].value)
    beaten = "; no trial was better" if best.number == 0 else ""
    of = counted(len(trials) - 1, "trial")
    lines = [
        f"{objective.metric}, to {objective.direction}: best of {of} {value}, the configuration as it is {before}{beaten}"
    ]
    refused = sum(not one.allowed for one in trials)
    failed = sum(one.value is None for one in trials)
    if refused:
        lines.append(f"{counted(refused, 'trial')} lost more clean accuracy than allowed")
    if failed:
        lines.append(f"{counted(failed, 'trial')} failed")
    if best.overrides:
        lines.append("the best of several looks better than it is on what chose it: judge it with other seeds")
        lines.append("to type: " + " ".join(f"'{one}'" if set(one) & set(" ()[],") else one for one in best.overrides))
    return "\n".join(lines)


def as_csv(trials: Sequence[Trial]) -> bytes:
    """One row a trial: number, value, clean error, whether it is allowed, overrides."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["trial", "value", "clean_error", "allowed", "overrides"])
    writer.writerows([one.number, one.value, one.clean_error, one.allowed, " ".join(one.overrides)] for one in trials)
    return text.getvalue().encode()


def _number(value: float | None) -> str:
    return "unknown (it failed)" if value is None else f"{value:.4g}"
