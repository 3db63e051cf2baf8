"""Runs of the record as combinations again: their configuration, built by today's code, held against what was recorded."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mlflow.entities import Run
from omegaconf import OmegaConf

from transfer_exp.cli.building import build
from transfer_exp.combination import Combination
from transfer_exp.data.target_rows import target_rows
from transfer_exp.report import checked, factors
from transfer_exp.report import client as record
from transfer_exp.report.curves import curves_frame
from transfer_exp.report.records import runs_frame
from transfer_exp.signature import signature
from transfer_exp.tracking.settings import canonical
from transfer_exp.types import Floats, UserError

_log = logging.getLogger(__name__)
_ASIDE = ("paths", "tracking", "hydra", "measures", "claims")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A finished run: its combination, its ``curves`` by name ``(E,)``, what was typed, its resolved configuration."""

    run: Run
    combination: Combination
    curves: Mapping[str, Floats]
    overrides: tuple[str, ...]
    configuration: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """In MLflow."""
        return str(self.run.info.run_id)

    @property
    def is_same_code(self) -> bool:
        """Whether today's code makes the combination that was recorded: code, libraries and options."""
        return bool(self.combination.signature() == self.run.data.tags.get("signature"))

    def made(self) -> str:
        """What the points depend on: all of the combination but its target."""
        one = self.combination
        parts = {"surrogate": one.surrogate, "attack": one.attack, "epsilon": one.epsilon, "seed": one.seed}
        others = {"fraction": one.surrogate_fraction, "data": one.dataset.checksum, "device": one.device}
        return signature(**parts, **others, sizes=one.dataset.sizes, known=target_rows(one.dataset))


def runs_of_study(client: record.Client, study: str, where: Mapping[str, str]) -> list[Run]:
    """The newest finished run of each combination of a study, or of those with some settings, learners or seeds.

    Raises UserError where there is no such study, setting or run.
    """
    found = record.search(client, record.experiment_id(client, study), "combination")
    good = [run for run in checked.readable(found)[0] if run.info.status == "FINISHED"]
    if not good:
        raise UserError(f"study: expected finished runs of {study}, got none of {len(found)}; run it (again) first")
    for name in factors.KEY:
        if name in where:
            values = sorted({run.data.params[name] for run in good})
            good = [run for run in good if canonical(run.data.params[name]) == canonical(where[name])]
            if not good:
                raise UserError(f"where: expected {name}={f' or {name}='.join(values)}, got {name}={where[name]}")
    others = {name: value for name, value in where.items() if name not in factors.KEY}
    kept = set(factors.chosen(runs_frame(good), others)["run_id"])
    newest = {run.data.tags.get("signature") or run.info.run_id: run for run in good if run.info.run_id in kept}
    return list(newest.values())


def one_run(client: record.Client, run_id: str) -> Run:
    """The finished run with this id. Raises UserError where there is none."""
    try:
        run = client.get_run(run_id)
    except Exception as error:
        raise UserError(f"run: expected the id of a run, got {run_id}, which the record has not") from error
    if run.data.tags.get("kind") != "combination" or run.info.status != "FINISHED":
        raise UserError(f"run: expected a finished run of a combination, got {run_id}, {run.info.status}; see study=NAME")
    return run


def combinations(client: record.Client, runs: Sequence[Run], *, data: str | None) -> Iterator[Recorded]:
    """The runs with their combinations. Raises UserError on files that are not those that were logged, and on other data.

    data: the folder of the data sets, where the recorded one is no more.
    """
    files = {name: checked.files(client, runs, name) for name in ("config.yaml", "overrides.yaml")}
    texts, damage = checked.curves(client, runs)
    for run in runs:
        run_id = run.info.run_id
        if run_id in damage or run_id not in files["config.yaml"]:
            lost = damage.get(run_id, "config.yaml: expected the file that was logged, got none, or another")
            raise UserError(f"run {run_id}: {lost}")
        configuration = yaml.load(files["config.yaml"][run_id], Loader=SafeLoader)  # noqa: S506  (safe, in C)
        combination = _built(run, configuration, data)
        table = curves_frame({run_id: texts[run_id]})
        yield Recorded(
            run=run,
            combination=combination,
            curves={str(c): np.asarray(table[c], dtype=np.float64) for c in ("error", "surrogate_error") if c in table},
            overrides=tuple(yaml.safe_load(files["overrides.yaml"].get(run_id, b"[]"))),
            configuration={key: value for key, value in configuration.items() if key not in _ASIDE},
        )


SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _built(run: Run, configuration: Mapping[str, Any], data: str | None) -> Combination:
    """The combination of a run, on the data that it had."""
    known = {key: value for key, value in configuration.items() if key not in _ASIDE}
    old = str((configuration.get("paths") or {}).get("data") or "")
    new = data or (os.environ.get("TRANSFER_EXP_DATA") if old and not Path(old).is_dir() else None)
    if old and new:
        known["dataset"] = json.loads(json.dumps(known["dataset"]).replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))
    combination = build(OmegaConf.create(known))
    if combination.dataset.checksum != run.data.tags.get("data_checksum"):
        raise UserError(
            f"run {run.info.run_id}: expected the data of the run, got others of this name; name their folder: data=..."
        )
    return combination
