"""The study that a command would leave: its combinations as they are composed, nothing run, numbers invented.

Whether a claim can be tested by a command's study is then what the claim itself says of this one: it has the command's
learners, settings, classes, measures and repetitions. What depends on these alone is as it would be recorded:

    nothing of a target that has no gradients            no other mistake of two classes, and no way to tell them by gaps
    no targeted success without a goal                   of measures that are asked for, those that are
    sizes of evasion's points that are those of the ball, for all surrogates

All else differs from learner to learner and from setting to setting, with a little noise between repetitions.
"""

from __future__ import annotations

import json
import math
import shlex
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from transfer_exp.cli.building import parts_of
from transfer_exp.cli.composing import SweepLoader
from transfer_exp.cli.configuration import identity, settings_of
from transfer_exp.cli.naming import CONFIG
from transfer_exp.cli.preflight import jobs_of
from transfer_exp.measures import registry
from transfer_exp.report import comparisons, correlations
from transfer_exp.report.claims import CLAIMS, Claim, Numbers
from transfer_exp.report.curves import numbers
from transfer_exp.report.records import recorded_numbers
from transfer_exp.report.study import Study, assemble
from transfer_exp.tracking.settings import as_text, leaves

CLEAN = 0.02
TWINS, CORRELATED = ("1a", "1b", "1c", "2a", "3a", "7a", "7b"), ("3b", "3c", "4a", "4b")
_TARGET = ("target", "learner@target", "+learner@target")
_OTHERS = ("learner@surrogate", "+learner@surrogate", "attack", "epsilon", "dataset", "measures", "n_variability")
ROLES = ("surrogate", "target")
_OF_GRADIENTS = ("whitebox_", "gradient_", "perturbation_correlation")
_OF_MANY = ("same_mistake", "other_mistake", "unfooled", "posterior_gap_tells", "logit_gap_tells")


def words_of(command: str) -> list[str]:
    """The words of a command without its program, and without ``-m``."""
    return [word for word in shlex.split(command)[3:] if word != "-m"]


def study_of(words: Sequence[str]) -> Study:
    """The study of a command with these words."""
    every = _runs(tuple(words))
    of_runs = every.drop(columns=["curves", "measures", "n_classes", "target.differentiable"])
    return assemble(name="composed", every=of_runs, curves=_curves(every))


def claims_tested(study: Study, *claims: str) -> set[str]:
    """The claims (default: all) on which the study has a verdict that is not "not tested"."""
    own = [claim for claim in CLAIMS if claim.id in claims or not claims]
    made = Numbers(
        sign_tests=_if_any(own, TWINS, comparisons.sign_tests, study),
        correlations=_if_any(own, CORRELATED, correlations.correlations, study),
        data_shares=_if_any(own, ("2b",), comparisons.data_shares, study),
    )
    return {one.claim for claim in own for one in claim.verdicts(study, made) if one.verdict != "not tested"}


def _if_any(
    claims: Sequence[Claim], ids: Sequence[str], make: Callable[[Study], pd.DataFrame], study: Study
) -> pd.DataFrame:
    return make(study) if any(claim.id in ids for claim in claims) else pd.DataFrame(columns=["test", "x", "y", "surrogate"])


@cache
def _runs(words: tuple[str, ...]) -> pd.DataFrame:
    """One row a combination, each composed once for all seeds."""
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", list(words), RunMode.MULTIRUN)
        axes = {name: OmegaConf.to_container(master.hydra.sweeper[name]) for name in ("params", "blocks")}
        jobs = jobs_of(list(master.hydra.overrides.task), axes)
        quick, made = SweepLoader.of(loader), dict[tuple[str, ...], dict[str, Any]]()

        def composed(job: list[str], left_out: tuple[str, ...]) -> dict[str, Any]:
            place = tuple(word for word in job if not word.startswith(left_out))
            if place not in made:
                made[place] = _recorded(quick.load_sweep_config(master, job))
            return made[place]

        rows = []
        for job in jobs:
            of_target = composed(job, ("seed=", "surrogate", *_OTHERS))
            run = {k: v for k, v in composed(job, ("seed=", *_TARGET)).items() if not k.startswith("target")}
            run |= {k: v for k, v in of_target.items() if k.startswith("target")}
            seed = next((word for word in job if word.startswith("seed=")), "seed=0")
            rows.append({**run, "seed": int(seed.partition("=")[2])})
    known: dict[str, dict[str, Any]] = {}
    every = [row | _measured_once(row, known) for row in rows]
    frame = pd.DataFrame(every).assign(run_id=[f"r{i}" for i in range(len(rows))])
    missing = [name for name in recorded_numbers() if name not in frame]
    return frame.assign(**dict.fromkeys(missing, np.nan))


def _measured_once(row: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The scalars of a combination, the same in all repetitions."""
    settings = {k: v for k, v in row.items() if isinstance(v, str | float)}
    place = json.dumps(settings, sort_keys=True)
    if place not in known:
        left_out = () if row["n_classes"] > 2 else _OF_MANY
        left_out += () if row["target.differentiable"] else _OF_GRADIENTS
        left_out += () if row.get("attack.goal", "any") != "any" else ("targeted_success",)
        names = [*registry.scalars(), *row["measures"]]
        values = {name: math.nan if name.startswith(left_out or "-") else _number(row, name) for name in names}
        curves = {name: math.nan if name.startswith(left_out or "-") else _number(row, name) for name in registry.curves()}
        known[place] = {**values, "curves": curves, "surrogate_clean_error": CLEAN}
    return known[place]


def _recorded(config: Any) -> dict[str, Any]:
    """What is recorded of a combination, but for its seed and what is measured."""
    parts = parts_of(config, ("surrogate", "target", "attack", "epsilon"))
    run: dict[str, Any] = {**leaves(settings_of(config)), **{k: str(v) for k, v in identity(config).items()}}
    run |= {f"{role}.family": getattr(parts[role], "family", "") for role in ROLES}
    run |= {f"{role}.complexity": getattr(parts[role], "complexity", None) for role in ROLES}
    run |= {"scenario": parts["attack"].scenario, "attack.norm": parts["attack"].norm, "status": "FINISHED"}
    run |= {"surrogate_fraction": float(config.surrogate_fraction), "start_time": 0, "end_time": 1}
    run |= {f"epsilon.{name}": as_text(getattr(parts["epsilon"], name)) for name in ("reference", "shown", "grid")}
    classes = config.dataset.get("classes")
    n_classes = len(classes) if classes else 2 if "drebin" in str(config.dataset["_target_"]) else 10
    run |= {"n_classes": n_classes, "target.differentiable": parts["target"].differentiable}
    return run | {"measures": tuple(map(str, config.get("measures") or ()))}


def _number(run: dict[str, Any], name: str) -> float:
    """Of a learner, or a pair, and of all other settings a number between 0.2 and 0.8."""
    of = registry.MEASURES[name].of if name in registry.MEASURES else "pair"
    own = {k: v for k, v in run.items() if isinstance(v, str)}
    settings = own if of == "pair" else {k: v for k, v in own.items() if k.partition(".")[0] in (of, "attack")}
    return 0.2 + 0.6 * (zlib.crc32(json.dumps([name, settings], sort_keys=True).encode()) % 997) / 997


def _curves(every: pd.DataFrame) -> pd.DataFrame:
    """Curves that rise from the clean error to the value at the reference and beyond, with noise between repetitions."""
    rng, found = np.random.default_rng(0), []
    for run in every.to_dict("records"):
        values = {name: value + 0.002 * rng.normal() for name, value in run["curves"].items()}
        values |= {"transfer_rate": values["error"], "noise_error": 0.0}
        values["surrogate_error"] += 0.5  # half of the points at some strength
        if run["scenario"] != "poisoning":
            sizes = {f"perturbation_{norm}": norm for norm in ("l1", "l2", "linf")}
            values |= {k: 1.0 if norm == run["attack.norm"] else 1 + 0.1 * values[k] for k, norm in sizes.items()}
        for epsilon in json.loads(run["epsilon.grid"]):
            at = min(epsilon / float(run["epsilon.reference"]), 1.5) / 1.6
            row = {name: at * value + (CLEAN if "error" in name else 0) for name, value in values.items()}
            found.append({**row, "run_id": run["run_id"], "epsilon": epsilon, "clean_error": CLEAN})
    return pd.DataFrame(found).reindex(columns=["run_id", *numbers()])
