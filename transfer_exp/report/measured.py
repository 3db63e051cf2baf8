"""Measures that the runs of a study have recorded beside those of the suite, from the runs' own descriptions of them.

Values of one name are only compared where they mean the same: of several meanings the newest counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
from mlflow.entities import Run

from transfer_exp.measures import Measure, registry
from transfer_exp.measures.own import explainable
from transfer_exp.tracking.measured import Recorded, recorded_measures
from transfer_exp.types import counted


@dataclass(frozen=True, kw_only=True)
class Own:
    """The measures, by name the runs whose values count, and notes on those of other meanings."""

    measures: tuple[Measure, ...] = ()
    having: dict[str, set[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def only_of_one_meaning(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows, by ``run_id``, without the values that do not count."""
        present = [name for name in self.having if name in rows]
        return rows.assign(**{name: rows[name].where(rows["run_id"].isin(self.having[name])) for name in present})

    def lacking(self, counting: Sequence[str]) -> list[str]:
        """A line on each measure that some of the runs that count have not recorded."""
        total = len(counting)
        having = {name: sum(run_id in runs for run_id in counting) for name, runs in self.having.items()}
        return [
            f"measure {name}: recorded by {n:,} of {counted(total, 'combination')}, and its means are over these; type the "
            f"study's command with +measures.{name}..."
            for name, n in having.items()
            if n < total
        ]


def recorded(runs: Iterable[Run]) -> Own:
    """What finished runs, oldest first, have recorded."""
    found: dict[str, dict[str, Recorded | None]] = {}
    for run in runs:
        if run.info.status == "FINISHED":
            for name, one in recorded_measures(run.data.tags):
                found.setdefault(name, {})[run.info.run_id] = one
    measures, having, notes = [], {}, []
    for name, by_run in sorted(found.items()):
        known = [one for one in by_run.values() if one is not None]
        if name in registry.MEASURES:  # of a later state of the suite
            continue
        if not known:
            notes.append(f"measure {name}: left out: expected its description in a tag of the runs, got something else")
            continue
        newest = known[-1]
        having[name] = {run_id for run_id, one in by_run.items() if one is not None and one.values == newest.values}
        measures.append(newest.measure)
        others = len(by_run) - len(having[name])
        if others:
            notes.append(
                f"measure {name}: has several meanings in this study; the newest counts, values of "
                f"{counted(others, 'other run')} are left out"
            )
    known_only = (
        replace(one, explains=tuple(column for column in one.explains if column in explainable(one.of, measures)))
        for one in measures
    )
    return Own(measures=tuple(known_only), having=having, notes=tuple(notes))
