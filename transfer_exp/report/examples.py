"""Example points of a study on images, from the artifact ``examples.npz`` of one run a surrogate."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass

import numpy as np

from transfer_exp.figures.learner_style import family, level
from transfer_exp.report import client as store
from transfer_exp.report.records import Study
from transfer_exp.types import Floats

_POINTS = 2
_ARRAYS = ("label", "epsilon", "clean", "adversarial")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One test point, clean ``(h, w)`` and as each surrogate, by (family, level), attacked it at ``epsilon``."""

    label: int
    seed: int
    epsilon: float
    clean: Floats
    attacked: dict[tuple[str, str], Floats]


def load_examples(*, tracking_uri: str, study: Study) -> list[Example]:
    """Up to two points (one a class where there are two) at the epsilon nearest the reference; empty without images."""
    runs = study.runs[study.runs["surrogate_fraction"] == study.fraction]
    runs = runs[runs["surrogate"].map(lambda name: level(str(name)) is not None)]
    if runs.empty:
        return []
    seed = runs.groupby("seed")["surrogate"].nunique().idxmax()
    chosen = runs[runs["seed"] == seed].drop_duplicates("surrogate").set_index("run_id")["surrogate"]
    client = store.connect(tracking_uri)
    with store.speaking_of(tracking_uri):
        contents = store.read_artifacts(client, [client.get_run(str(i)) for i in chosen.index], "examples.npz")
    unpacked = {str(chosen[run_id]): _unpack(content) for run_id, content in contents.items()}
    arrays = {name: content for name, content in unpacked.items() if content}
    return _points(arrays, int(str(seed)), study.epsilon_reference) if arrays else []


def _unpack(content: bytes) -> dict[str, Floats]:
    """The arrays of an ``examples.npz``; none of a file that is damaged or that holds anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in _ARRAYS}
    except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
        _log.warning("an examples.npz cannot be read (%s) and is left out", error)
        return {}


def _points(arrays: dict[str, dict[str, Floats]], seed: int, reference: float) -> list[Example]:
    first = next(iter(arrays.values()))
    same = {name: a for name, a in arrays.items() if np.array_equal(a["clean"], first["clean"])}
    labels = first["label"]
    at = int(np.abs(first["epsilon"] - reference).argmin())
    places = [int(np.flatnonzero(labels == value)[0]) for value in np.unique(labels)[::-1]]
    return [
        Example(
            label=int(labels[i]),
            seed=seed,
            epsilon=float(first["epsilon"][at]),
            clean=first["clean"][i],
            attacked={(family(name), level(name) or ""): a["adversarial"][at, i] for name, a in same.items()},
        )
        for i in places[:_POINTS]
    ]
