"""EN1 on a table like that of the shipped study: the settings of its surrogates are those that a run of it records."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pandas as pd
import planted_claims as planted
import pytest
from test_config import composed
from test_network_studies import surrogates

from transfer_exp.cli.building import parts_of
from transfer_exp.report import tables
from transfer_exp.report.claims import CLAIMS, Numbers, Verdict
from transfer_exp.report.claims.yao2025 import ensembles
from transfer_exp.report.study import Study
from transfer_exp.tracking.configuration import plain
from transfer_exp.tracking.settings import leaves

EMPTY = Numbers(sign_tests=pd.DataFrame(), correlations=pd.DataFrame(), data_shares=pd.DataFrame())
CNN, MLP, BOTH = "transfer_exp.learners.cnn.CNN", "transfer_exp.learners.mlp.MLP", ""
SIZES = {
    "cnn": (1, CNN), "cnn_x2": (2, CNN), "cnn_x4": (4, CNN), "cnn_x8": (8, CNN),
    "mlp_high": (1, MLP), "mlp_x2": (2, MLP), "mlp_x4": (4, MLP), "mlp_x8": (8, MLP),
    "mixed_x2": (2, BOTH), "mixed_x4": (4, BOTH), "mixed_x8": (8, BOTH),
}  # fmt: skip


@functools.cache
def recorded() -> pd.DataFrame:
    """The surrogates of the study ``ensembles`` by name, with their settings as a run records them."""
    found = []
    for own in surrogates("ensembles"):
        config = composed("experiment=ensembles", *(f"{k}={v}" for k, v in own.items()))
        one = parts_of(config, ["surrogate"])["surrogate"]
        found.append({"surrogate": one.name, "surrogate.family": one.family, **leaves({"surrogate": plain(one)})})
    return pd.DataFrame(found)


def shipped(gain: dict[str, float]) -> Study:
    """The study with these gains of transfer by the beginning of the name, for each doubling of members half as much."""
    every = itertools.product(recorded()["surrogate"], ["cnn", "svm_low"], range(10))
    rows = pd.DataFrame(every, columns=["surrogate", "target", "seed"]).merge(recorded(), on="surrogate")
    rng = np.random.default_rng(0)
    rows["rate"] = 0.3 + 0.002 * rng.normal(size=len(rows))
    for name, (size, _) in SIZES.items():
        rows.loc[rows["surrogate"] == name, "rate"] += gain[name.partition("_")[0]] * (2 - 2 / size)
    rows["surrogate_error"], rows["noise_error"], rows["perturbation_l2"] = 0.9, 0.1, 1.0
    return planted.assembled(rows)


def verdicts(study: Study) -> dict[str, Verdict]:
    own = next(claim for claim in CLAIMS if claim.id == "EN1")
    return {verdict.learner: verdict for verdict in own.verdicts(study, EMPTY)}


def test_every_surrogate_of_the_shipped_study_has_its_size_and_its_members_class() -> None:
    rows = ensembles(tables.at_reference(shipped({"cnn": 0.0, "mlp": 0.0, "mixed": 0.0})))
    found = rows[["surrogate_name", "size", "kind"]].drop_duplicates().to_numpy().tolist()
    assert sorted(found) == sorted([name, *known] for name, known in SIZES.items())


@pytest.mark.parametrize(
    ("mixed", "answer", "gained"), [(0.05, "fails", -0.07), pytest.param(0.2, "holds", 0.14, marks=pytest.mark.slow)]
)
def test_both_families_are_judged_and_mixed_ones_held_against_the_better(mixed: float, answer: str, gained: float) -> None:
    found = verdicts(shipped({"cnn": 0.1, "mlp": -0.05, "mixed": mixed}))
    assert {name: (one.verdict, round(one.statistic, 1)) for name, one in found.items() if name.endswith("size")} == {
        "CNN: size": ("holds", 1.0),
        "MLP: size": ("fails", -1.0),
    }
    assert {"CNN: returns", "MLP: returns", "families"} <= set(found)
    assert found["CNN: returns"].verdict == "holds"
    # Of sizes 2, 4, 8 the gains beyond CNNs are 1, 1.5 and 1.75 times the difference.
    assert found["families"].verdict == answer
    assert found["families"].statistic == pytest.approx(gained, abs=0.005)
