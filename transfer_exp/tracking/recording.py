"""An outcome as what MLflow keeps of it: parameters, numbers, ``curves.csv``, examples, the data that were used."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from transfer_exp import confusions
from transfer_exp.combination import Combination, Outcome
from transfer_exp.data.splits import make_split
from transfer_exp.measures import Measure, registry
from transfer_exp.signature import checksum, code_version, signature, sources
from transfer_exp.store import Store
from transfer_exp.system.cells import harmless
from transfer_exp.tracking.configuration import as_configuration
from transfer_exp.tracking.data_parts import DataPart
from transfer_exp.tracking.logged import Record
from transfer_exp.tracking.measured import functions_of, tags_of_measures
from transfer_exp.tracking.settings import as_text, leaves, shortened
from transfer_exp.tracking.versions import SOURCE
from transfer_exp.types import Examples

CLASS_NAMES = "class_names"
_LONGEST_TAG = 5000  # as MLflow takes them
_DIGEST = 12  # characters: enough to tell parts apart, few enough for a column; MLflow takes 36


def parameters(
    config: Mapping[str, Any], names: Mapping[str, Any], combination: Combination | None = None
) -> dict[str, str]:
    """All that is known of a combination when it starts: its names and every setting (``settings.leaves``).

    config: resolved. Of a ``combination`` that could not be built, what the configuration has.
    """
    found = leaves(config)
    if combination is not None:
        found |= leaves(as_configuration(combination))
        for place in [place.removesuffix("checksum") for place in found if place.endswith(".checksum")]:
            for file in ("weights", "file"):  # of a model: its checksum stands for it, wherever it lies
                found.pop(f"{place}{file}", None)
        found["attack.norm"] = combination.attack.norm  # of some attacks the norm is no option
    found |= {name: as_text(value) for name, value in names.items()}
    return {name: shortened(value) for name, value in found.items()}


def tags_of(combination: Combination, named: Sequence[Any] = ()) -> dict[str, str]:
    """Tags that say what a combination is: its identity, its data, its kinds of learners and attack, code of others.

    named: classes and functions that made its parts, where these are not the parts' own classes.
    """
    parts = {part: getattr(combination, part) for part in ("dataset", "surrogate", "target", "attack", "epsilon")}
    kinds = {f"{role}.family": getattr(parts[role], "family", "") for role in ("surrogate", "target")}
    kinds["scenario"] = getattr(combination.attack, "scenario", "")
    kinds["given"] = " ".join(role for role in ("surrogate", "target") if getattr(parts[role], "given", False))
    if combination.unknown:
        kinds["not_known"] = "; ".join(combination.unknown)
    return {
        "signature": combination.signature(),
        "data_checksum": combination.dataset.checksum,
        **_class_names(combination.dataset.class_names),
        **{name: value for name, value in kinds.items() if value},
        **sources([*named, *map(type, parts.values()), *functions_of(combination)]),
        **_called(combination.attack),
        **tags_of_measures(combination),
    }


def _class_names(names: Sequence[str]) -> dict[str, str]:
    """The tag of what the classes are called, for whoever speaks of single points; none where it would be too long."""
    text = json.dumps([str(name) for name in names])
    return {CLASS_NAMES: text} if len(text) <= _LONGEST_TAG else {}


def _called(attack: Any) -> dict[str, str]:
    """The tag of what an attack of others calls: its library's version, or its source."""
    code = getattr(attack, "code", None)
    if isinstance(code, str):
        library, _, version = code.partition(" ")
        return {f"version/{library}": version}
    return {} if code is None else sources([code])


def record(
    combination: Combination, outcome: Outcome, store: Store, names: Mapping[str, Any], *, pictures: bool = True
) -> Record:
    """All that is logged of one combination when it ends; ``names``: the first columns of its tables.

    pictures: whether examples are drawn; their numbers are there without.
    """
    grid = combination.epsilon
    files = _files(
        combination, outcome, store, names, pictures=pictures
    )  # before the counts: a picture is a piece of the store, too
    counts: dict[str, float] = {"store/hits": store.hits.total(), "store/misses": store.misses.total()}
    counts["store/bytes"] = store.written
    return Record(
        params=outcome.sizes,
        metrics={**outcome.metrics, **counts},
        curves={**outcome.curves, "epsilon": list(grid.grid)},
        files=files,
        data=data_parts(combination),
    )


def _files(
    combination: Combination, outcome: Outcome, store: Store, names: Mapping[str, Any], *, pictures: bool
) -> dict[str, bytes]:
    """Artifacts by name: tables first, then pictures."""
    files = {"curves.csv": _curves_csv(names, combination.epsilon.grid, outcome, combination.measures)}
    if outcome.confusion:
        files[confusions.FILE] = confusions.to_csv(outcome.confusion, combination.dataset.class_names)
    if outcome.points:
        files["points.npz"] = _npz(outcome.points)
    if outcome.examples is not None:
        files["examples.npz"] = _npz(vars(outcome.examples))
        if pictures:
            files["examples.png"] = _picture(outcome.examples, store)
    return files


def _curves_csv(columns: Mapping[str, Any], grid: Sequence[float], outcome: Outcome, own: Sequence[Measure]) -> bytes:
    """One row per epsilon; empty where a value is undefined. ``own``: measures beside those of the registry."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    curves = [*registry.curves(), *(measure.name for measure in own if measure.is_curve)]
    writer.writerow([*columns, "epsilon", "clean_error", *curves])
    names = [harmless(as_text(value)) for value in columns.values()]
    for k, epsilon in enumerate(grid):
        values = [outcome.curves[name][k] if name in outcome.curves else math.nan for name in curves]
        cells: list[Any] = ["" if math.isnan(v) else v for v in values]
        writer.writerow([*names, epsilon, outcome.metrics["clean_error"], *cells])
    return text.getvalue().encode()


def _picture(examples: Examples, store: Store) -> bytes:
    """PNG of examples; drawn once for all targets that are shown the same ones."""

    def draw() -> dict[str, Any]:
        from transfer_exp.figures.examples import examples_png  # here: importing matplotlib takes longer than all else

        return {"png": np.frombuffer(examples_png(examples), dtype=np.uint8)}

    code = code_version("figures/examples.py"), version("matplotlib")
    return store.get("picture", signature(examples=examples, code=code), draw)["png"].tobytes()


def _npz(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def data_parts(combination: Combination) -> list[DataPart]:
    """The parts of the split: context surrogate, target, test and, where there is one, validation.

    A digest is that of the data's content and the part's rows: runs on the same points have the same.
    """
    dataset, seed = combination.dataset, combination.seed
    split = make_split(dataset, seed=seed, surrogate_fraction=combination.surrogate_fraction)
    parts = {name: getattr(split, name) for name in ("surrogate", "target", "validation", "test")}
    about = {**SOURCE, "data_checksum": dataset.checksum, "seed": str(seed)}
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
