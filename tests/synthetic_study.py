"""An invented study with planted relations: as frames, and as runs in a tracking store of the suite's layout."""

from __future__ import annotations

import functools
import io
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunData, RunInfo, RunTag
from mlflow.utils.file_utils import local_file_uri_to_path

from transfer_exp import confusions
from transfer_exp.figures.style import COMPLEXITIES, Look
from transfer_exp.report.curves import curve_columns, curves_frame
from transfer_exp.report.records import runs_frame
from transfer_exp.report.study import Study, assemble
from transfer_exp.report.taxonomy import Kind, Learners
from transfer_exp.tracking.artifacts import CHECKSUMS, checksums
from transfer_exp.tracking.settings import as_text

EPSILONS = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
FAMILIES = ["svm", "rbf", "logistic", "ridge", "mlp"]
SURROGATES = [f"{name}_{level}" for name in FAMILIES for level in ("high", "low")]
TARGETS = [*SURROGATES, "forest_high", "forest_low"]
SMALL = {
    "surrogates": ["svm_high", "svm_low", "mlp_high", "mlp_low"],
    "targets": ["svm_high", "svm_low", "mlp_low", "forest_low"],
}


def kind(name: str, options: dict[str, str] | None = None) -> Kind:
    """The learner that a name of these studies means: family and complexity, with ``options`` a variant of it."""
    family, _, level = name.rpartition("_")
    if level not in COMPLEXITIES:
        return Kind(name=name, family=name, options=options or {})
    return Kind(name=name, family=family, complexity=level, options=options or {})


def looks(names: Iterable[str]) -> dict[str, Look]:
    """How learners of these names are drawn."""
    return Learners(map(kind, names)).looks(names)


def traits(name: str) -> tuple[float, float]:
    """Sensitivity and direction (an angle) of a learner; H is more sensitive and points farther away."""
    place = zlib.crc32(name.rsplit("_", 1)[0].encode()) % 7 / 7
    high = name.endswith("high")
    return (2.0 if high else 1.0) * (1 + 0.3 * place), (0.9 if high else 0.4) + 0.5 * place


def combination(surrogate: str, target: str, fraction: float, seed: int, *, attack: str = "evasion") -> dict:
    """Parameters, metrics and curve of one run, for the caller to change."""
    return {part: content.copy() for part, content in _combination(surrogate, target, fraction, seed, attack).items()}


@functools.cache
def _combination(surrogate: str, target: str, fraction: float, seed: int, attack: str) -> dict:
    """Error = saturating function of epsilon x sensitivity x alignment."""
    rng = np.random.default_rng([seed, *surrogate.encode(), *target.encode(), int(100 * fraction)])
    own = np.random.default_rng([seed, *target.encode()])
    s_size, s_angle = traits(surrogate)
    t_size, t_angle = traits(target)
    forest = target.startswith("forest")
    size = t_size * (1 + 0.03 * own.normal())
    align = float(
        np.clip(np.cos(s_angle - t_angle) * np.cos(0.6 * s_angle) + 0.02 * rng.normal() - 0.02 * (1 - fraction), 0, 1)
    )
    clean = 0.02 + 0.005 * own.random()
    eps = np.array(EPSILONS)
    white = clean + (1 - clean) * (1 - np.exp(-0.3 * eps * size))
    error = clean + (1 - clean) * (1 - np.exp(-0.3 * eps * size * align * (0.3 if forest else 1.0)))
    curve = pd.DataFrame({"epsilon": eps, "error": error}).assign(
        study="", dataset="mnist89", attack=attack, surrogate=surrogate, target=target, surrogate_fraction=fraction,
        seed=seed, clean_error=clean, whitebox_error=np.nan if forest else white,
        success=error, whitebox_success=np.nan if forest else white,
        surrogate_error=0.02 + 0.98 * (1 - np.exp(-0.3 * eps * s_size)), loss=error * 3, loss_cross_entropy=error * 2,
        perturbation_correlation=np.nan if forest else align * 0.9, perturbation_l1=eps * (8 + 4 / s_size),
        perturbation_l2=eps, perturbation_linf=eps * 0.1 * s_size, noise_error=clean + (0.05 if forest else 0.001) * eps,
    )  # fmt: skip
    metrics = {
        "clean_error": clean, "surrogate_clean_error": 0.02, "loss_variability": 0.1 * s_size + 0.005 * rng.random(),
        "loss_variability_cross_entropy": 0.05 * s_size + 0.005 * rng.random(),
        "seconds": 2.5, "store/hits": 3, "health/violation": 0,
    }  # fmt: skip
    if not forest:
        metrics |= {"gradient_size": size, "gradient_size_cross_entropy": size / 2, "gradient_alignment": align}
        metrics |= {"perturbation_correlation": float(np.clip(align * 0.9 + 0.02 * rng.normal(), -1, 1))}
    params = {
        "dataset": "mnist89", "attack": attack, "surrogate": surrogate, "target": target, "surrogate_fraction": fraction,
        "seed": seed, "attack.norm": "l2", "attack.n_iter": 30, "n_variability": 10, "dataset.classes": "[8, 9]",
        "epsilon.grid": as_text(EPSILONS), "epsilon.reference": 1, "epsilon.shown": "[1, 2, 5]",
        "n_target": 5900, "n_surrogate": int(5900 * fraction), "n_validation": 0, "n_test": 1000, "n_features": 784,
        "surrogate.C": s_size, "target.depth": "None" if forest else t_size, "attack.goal": "any",
    }  # fmt: skip
    tags = {"scenario": {"evasion_add": "detection", "poisoning": "poisoning"}.get(attack, "classification")}
    for role, name in (("surrogate", surrogate), ("target", target)):
        params[f"{role}.complexity"] = str(kind(name).complexity)
        tags[f"{role}.family"] = kind(name).family
    return {"params": params, "metrics": metrics, "curve": curve.reindex(columns=curve_columns()), "tags": tags}


CLASSES = ("cat", "=dog", "horse, white", "snake", "ship", "car")  # names that a csv file must quote, or make harmless


def of_many_classes(items: list, *, n: int = 40) -> list:
    """The combinations as of a study with ``CLASSES``: ``n`` points a class, mistakes that grow from one class to the next.

    Of class i, the target takes i + 1 + seed points for the class after it under attack (the surrogate twice as many), and 1
    before; the ship is taken for the car and for nothing else.
    """
    for item in items:
        item["params"] |= {"dataset": "beasts", "dataset.classes": "None"}
        counts = {}
        for role, factor in (("target", 1), ("surrogate", 2), ("target_clean", 0), ("surrogate_clean", 0)):
            wrong = [factor * (i + 1 + item["params"]["seed"]) or 1 for i in range(len(CLASSES))]
            counts[role] = np.diag(np.array([n - w for w in wrong], dtype=np.int64))
            for i, w in enumerate(wrong):
                counts[role][i, (i + 1) % len(CLASSES)] += w
        item["confusion"] = counts
    return items


def grid(
    surrogates: Iterable[str], targets: Iterable[str], fractions: Iterable[float], seeds: Iterable[int], **options: str
) -> list:
    """All combinations."""
    return [combination(s, t, f, k, **options) for s in surrogates for t in targets for f in fractions for k in seeds]


def frames(items: list, *, name: str = "made_up", status: dict | None = None) -> Study:
    """The study of the combinations, without a store. status: by index, for those that are not FINISHED."""
    every = runs_frame([_run(i, x, (status or {}).get(i, "FINISHED")) for i, x in enumerate(items)])
    counted = {f"r{i}": text(x["curve"]) for i, x in enumerate(items)}
    return assemble(name=name, every=every, curves=curves_frame(counted))


def _run(place: int, item: dict, status: str) -> Run:
    about = RunInfo(f"r{place}", "0", "u", status, place, place + 1, "active")
    metrics = [Metric(name, value, 0, 0) for name, value in item["metrics"].items()]
    tags = [RunTag(name, str(value)) for name, value in item.get("tags", {}).items()]
    return Run(about, RunData(metrics, [Param(name, as_text(value)) for name, value in item["params"].items()], tags))


def text(curve: pd.DataFrame) -> bytes:
    """A curve as its csv."""
    return curve.to_csv(index=False).encode()


def examples(surrogate: str, seed: int) -> dict[str, np.ndarray]:
    """Example points of a surrogate: the same clean points for all surrogates of a seed."""
    clean = np.random.default_rng(seed).random((4, 28, 28), dtype=np.float32) * np.linspace(0, 1, 28, dtype=np.float32)
    eps = np.array([1.0, 2.0, 5.0])
    push = np.random.default_rng(zlib.crc32(surrogate.encode())).normal(size=(4, 28, 28)) * 0.04 * traits(surrogate)[0]
    attacked = np.clip(clean + eps[:, None, None, None] * push, 0, 1).astype(np.float32)
    return {
        "index": np.arange(4),
        "label": np.array([1, -1, 1, -1]),
        "epsilon": eps,
        "clean": clean,
        "adversarial": attacked,
    }


def write_store(folder: Path, study: str, items: list, *, images: bool = True, status: dict | None = None) -> str:
    """Log the combinations as the suite does; returns the tracking uri."""
    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(study)
    experiment = found.experiment_id if found else client.create_experiment(study, (folder / "mlartifacts" / study).as_uri())
    parent = client.create_run(experiment, tags={"kind": "study", "command": f"python -m transfer_exp experiment={study}"})
    for i, item in enumerate(items):
        _log(client, experiment, parent.info.run_id, study, item, images=images, status=(status or {}).get(i, "FINISHED"))
    client.set_terminated(parent.info.run_id)
    return uri


def _log(client: MlflowClient, experiment: str, parent: str, study: str, item: dict, *, images: bool, status: str) -> None:
    tags = {"kind": "combination", "mlflow.parentRunId": parent, "git_commit": "a" * 40, "data_checksum": "b" * 32,
            "version/transfer_exp": "0.1.0", "version/python": "3.11.9", "version/torch": "2.13.0",
            **{name: value for name, value in item["tags"].items() if name != "mlflow.parentRunId"}}  # fmt: skip
    run = client.create_run(experiment, tags=tags)
    run_id, now = run.info.run_id, int(time.time() * 1000)
    params = [Param(k, as_text(v)) for k, v in {"study": study, **item["params"]}.items()]
    metrics = [Metric(k, float(v), now, 0) for k, v in item["metrics"].items()]
    metrics += [Metric("curve/error", e, now, i) for i, e in enumerate(item["curve"]["error"])]
    client.log_batch(run_id, metrics=metrics, params=params, tags=[RunTag("signature", f"{hash(str(params)):x}")])
    place = Path(local_file_uri_to_path(run.info.artifact_uri))
    place.mkdir(parents=True, exist_ok=True)
    (place / "curves.csv").write_bytes(text(item["curve"].assign(study=study)))
    if "confusion" in item:
        files = {confusions.FILE: confusions.to_csv(item["confusion"], CLASSES)}
        (place / confusions.FILE).write_bytes(files[confusions.FILE])
        client.set_tag(run_id, CHECKSUMS, checksums(files))
    if images:
        content = io.BytesIO()
        np.savez(content, **examples(item["params"]["surrogate"], item["params"]["seed"]))
        (place / "examples.npz").write_bytes(content.getvalue())
    client.set_terminated(run_id, status)
