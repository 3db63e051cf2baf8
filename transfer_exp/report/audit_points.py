"""What became of each attacked point, from the artifact ``points.npz`` of the runs of a study (``scenarios.points``)."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow.entities import Run

from transfer_exp.report import checked
from transfer_exp.report import client as store
from transfer_exp.report.study import Study
from transfer_exp.system.npz import read_npz
from transfer_exp.tracking.recording import CLASS_NAMES

_FILE = "points.npz"
_OF_POINTS, _OF_BOTH = ("rows", "classes", "clean"), ("black_box", "noise")
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class OfRun:
    """The points of one run, on all of the surrogate's data; arrays: as ``scenarios.points`` says."""

    surrogate: str
    target: str
    seed: int
    arrays: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Points:
    """Of all runs with whole files; given: targets that were given, not trained. notes: on files that were left out.

    class_names: what the classes are called; empty where the runs do not say it.
    """

    runs: Sequence[OfRun] = ()
    given: frozenset[str] = frozenset()
    notes: Sequence[str] = ()
    class_names: Sequence[str] = ()

    def class_name(self, index: int) -> str:
        """What a class is called, or its number."""
        return self.class_names[index] if index < len(self.class_names) else str(index)

    def of(self, target: str) -> list[OfRun]:
        """Those of one target."""
        return [run for run in self.runs if run.target == target]


def load_points(*, tracking_uri: str, study: Study) -> Points:
    """The points of a study's runs on the largest share of the surrogate's data."""
    about = study.runs[np.isclose(study.runs["surrogate_fraction"], study.fraction)].set_index("run_id")
    client, notes, found, given = store.connect(tracking_uri), list[str](), list[OfRun](), set[str]()
    with store.speaking_of(tracking_uri):
        runs = store.search(client, store.experiment_id(client, study.name), "combination", only=list(about.index))
        contents = store.read_artifacts(client, runs, _FILE)
    for run in runs:
        names = about.loc[run.info.run_id]
        if "target" in run.data.tags.get("given", "").split():
            given.add(str(names["target"]))
        try:
            arrays = unpack(run, contents.get(run.info.run_id))
        except Exception as wrong:  # damaged bytes make the readers of zip and npy raise nearly anything
            notes.append(f"left out: {store.place_of(client, run, _FILE)}: {wrong or type(wrong).__name__}")
        else:
            surrogate, target = str(names["surrogate"]), str(names["target"])
            found.append(OfRun(surrogate=surrogate, target=target, seed=int(names["seed"]), arrays=arrays))
    names = next((json.loads(run.data.tags[CLASS_NAMES]) for run in runs if CLASS_NAMES in run.data.tags), ())
    return Points(runs=found, given=frozenset(given), notes=checked.shortened(notes), class_names=names)


def unpack(run: Run, content: bytes | None) -> Arrays:
    """The arrays of a run. Raises ValueError, or what damaged bytes raise, where they are not the run's."""
    if content is None:
        raise ValueError("expected a file, got none")
    if wrong := checked.wrong_checksum(run, _FILE, content):
        raise ValueError(wrong)
    found = read_npz(io.BytesIO(content))
    n, n_epsilons = len(found["rows"]), len(found["epsilon"])
    expected = dict.fromkeys(_OF_POINTS, (n,)) | dict.fromkeys(_OF_BOTH, (n_epsilons, n))
    shapes = {name: found[name].shape for name in expected}
    if shapes != expected:
        raise ValueError(f"expected arrays of {n} points and {n_epsilons} epsilons, got {shapes}")
    return found
