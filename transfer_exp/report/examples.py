"""Example points of a study on images, from the artifact ``examples.npz`` of one run a surrogate."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from mlflow.entities import Run

from transfer_exp.report import client as store
from transfer_exp.report import earlier
from transfer_exp.report.checked import wrong_checksum
from transfer_exp.report.study import Study
from transfer_exp.system.npz import read_npz
from transfer_exp.tracking.artifacts import logged_checksum
from transfer_exp.types import Floats

_POINTS = 2
_ARRAYS = ("label", "epsilon", "clean", "adversarial")
_FILE = "examples.npz"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A test point, clean ``(h, w)`` or ``(3, h, w)``, and as each surrogate, by (family, complexity), attacked it."""

    label: int
    seed: int
    epsilon: float
    clean: Floats
    attacked: dict[tuple[str, str], Floats]


def load_examples(*, tracking_uri: str, study: Study) -> tuple[list[Example], list[str]]:
    """Up to two points (one a class where there are two) at the epsilon nearest the reference, none without images.

    Also returns notes on files that were left out.
    """
    runs = study.runs[study.runs["surrogate_fraction"] == study.fraction]
    runs = runs[runs["surrogate"].map(lambda name: study.learners.level(str(name)) is not None)]
    if runs.empty:
        return [], []
    seed = runs.groupby("seed")["surrogate"].nunique().idxmax()
    chosen = runs[runs["seed"] == seed].drop_duplicates("surrogate").set_index("run_id")["surrogate"]
    client = store.connect(tracking_uri)
    with store.speaking_of(tracking_uri):
        runs_of = {str(i): client.get_run(str(i)) for i in chosen.index}
        contents = store.read_artifacts(client, list(runs_of.values()), _FILE)
    arrays: dict[str, dict[str, Floats]] = {}
    notes: list[str] = []
    for run_id, run in runs_of.items():
        try:
            if run_id in contents:
                arrays[str(chosen[run_id])] = unpack(run, contents[run_id])
            elif logged_checksum(run.data.tags, _FILE):
                raise FileNotFoundError("expected a file, got none")
        except Exception as error:  # damaged bytes make the readers of zip and npy raise nearly anything
            notes.append(f"left out: {store.place_of(client, run, _FILE)}: {error or type(error).__name__}")
    same = _most_alike(arrays)
    notes += [f"left out: the examples of {name}: other points than of most surrogates" for name in set(arrays) - set(same)]
    return (_points(same, int(str(seed)), study) if same else []), sorted(notes)


def unpack(run: Run, content: bytes) -> dict[str, Floats]:
    """The arrays of an ``examples.npz``. Raises ValueError, or what damaged bytes raise, where they are not the run's."""
    if wrong := wrong_checksum(run, _FILE, content):
        raise ValueError(wrong)
    found = read_npz(io.BytesIO(content), _ARRAYS)
    if set(found) != set(_ARRAYS):
        raise ValueError(f"expected the arrays {', '.join(_ARRAYS)}, got {', '.join(found) or 'none of them'}")
    n, image = len(np.atleast_1d(found["label"])), found["clean"].shape[1:]
    expected = {"label": (n,), "epsilon": found["epsilon"].shape[:1], "clean": (n, *image)}
    expected["adversarial"] = (*expected["epsilon"], n, *image)
    is_image = len(image) == 2 or (len(image) == 3 and image[0] == 3)
    if n == 0 or not is_image or not found["epsilon"].size or expected != {k: a.shape for k, a in found.items()}:
        raise ValueError(
            f"expected labels (n,), images (n, h, w) or (n, 3, h, w) and (epsilons, n, ...), got {_shapes(found)}"
        )
    if not all(array.dtype.kind in "biuf" and np.isfinite(array).all() for array in found.values()):
        raise ValueError("expected finite numbers, got others")
    return {**found, "label": earlier.class_index(found["label"])}


def _shapes(arrays: dict[str, Floats]) -> str:
    return ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())


def _most_alike(arrays: dict[str, dict[str, Floats]]) -> dict[str, dict[str, Floats]]:
    """Those of the surrogates that show the points which most of them show."""
    groups: dict[bytes, list[str]] = {}
    for name, a in arrays.items():
        key = b"".join(a[part].tobytes() + str(a[part].shape).encode() for part in ("label", "epsilon", "clean"))
        groups.setdefault(key, []).append(name)
    return {name: arrays[name] for name in max(groups.values(), key=len, default=[])}


def _points(same: dict[str, dict[str, Floats]], seed: int, study: Study) -> list[Example]:
    first, learners = next(iter(same.values())), study.learners
    labels = first["label"]
    at = int(np.abs(first["epsilon"] - study.epsilon_reference).argmin())
    places = [int(np.flatnonzero(labels == value)[0]) for value in np.unique(labels)[::-1]]
    return [
        Example(
            label=int(labels[i]),
            seed=seed,
            epsilon=float(first["epsilon"][at]),
            clean=first["clean"][i],
            attacked={
                (learners.family(name), learners.level(name) or ""): a["adversarial"][at, i] for name, a in same.items()
            },
        )
        for i in places[:_POINTS]
    ]
