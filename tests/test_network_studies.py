"""The studies of networks: what each combination is, so that the claims they are for can be judged, and that they run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import SOURCE, Cli, runs
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from test_config import composed

from hydra_plugins.transfer_exp_sweeper import split

STUDIES = (
    "training_radius", "attacks", "optimum", "early_stopping", "ensembles", "batch_norm", "sam_radius", "regularisers",
    "width_depth", "targeted", "robust_targets",
)  # fmt: skip
SMOOTHNESS = {"input_curvature", "gradient_lipschitz", "flatness_at_attack", "interaction", "cka"}
NEEDED = {
    **dict.fromkeys(("training_radius", "early_stopping", "batch_norm", "sam_radius", "regularisers"), SMOOTHNESS),
    "robust_targets": {*SMOOTHNESS, "input_curvature_target", "gradient_lipschitz_target"},
    "attacks": {"share_of_optimum"},
}
N_SEEDS = 10
"""A two-sided sign test over ten repetitions gives 1/512 at least: below 0.05 after Holm over 20 comparisons."""

Overrides = Mapping[str, str]


@cache
def combinations(study: str) -> tuple[Overrides, ...]:
    """The overrides of every combination, by key."""
    sweeper: Any = composed(f"experiment={study}", hydra=True).hydra.sweeper
    jobs = split(OverridesParser.create(), sweeper.params, sweeper.blocks, [])
    return tuple(dict(word.split("=", 1) for word in job) for job in jobs)


def attacks(study: str) -> list[Any]:
    """The attacks of a study."""
    own = [one for one in surrogates(study) if one["surrogate"] == "cnn"]
    return [instantiate(composed(f"experiment={study}", *(f"{k}={v}" for k, v in one.items())).attack) for one in own]


def without(one: Overrides, *roles: str) -> tuple[tuple[str, str], ...]:
    """The overrides but for those of these roles."""
    return tuple(sorted((k, v) for k, v in one.items() if k.lstrip("+").split("@")[-1].split(".")[0] not in roles))


def surrogates(study: str) -> Iterator[dict[str, str]]:
    """The overrides of each surrogate and attack, once."""
    for own in dict.fromkeys(without(one, "seed", "target") for one in combinations(study)):
        yield dict(own)


def levels(study: str, key: str, **fixed: str) -> list[float]:
    """The values of a key over surrogates that have these settings and no other; absent: 0."""
    found = []
    for own in surrogates(study):
        rest = {k.removeprefix("surrogate."): v for k, v in own.items()}
        value = rest.pop(key, "0")
        if rest == fixed:
            found.append(float(value))
    return found


@pytest.mark.parametrize("study", STUDIES)
def test_every_surrogate_meets_every_target_in_every_repetition(study: str) -> None:
    met: dict[Any, set[Any]] = defaultdict(set)
    every = combinations(study)
    for one in every:
        met[without(one, "seed", "target")].add(without(one, "surrogate", "attack"))
    (panel,) = {frozenset(own) for own in met.values()}
    assert len(every) == len(met) * len(panel)
    n_seeds = 11 if study == "attacks" else N_SEEDS  # so that 28 comparisons can pass Holm's correction
    assert {dict(own)["seed"] for own in panel} == {str(seed) for seed in range(n_seeds)}
    assert f"{len(every):,} combinations" in (SOURCE / "conf/experiment" / f"{study}.yaml").read_text()


@pytest.mark.parametrize("study", STUDIES)
def test_what_a_study_records_and_how_large_it_is(study: str) -> None:
    config = composed(f"experiment={study}")
    assert set(config.get("measures") or ()) == NEEDED.get(study, set())
    assert config.n_variability == N_SEEDS  # the surrogates of all repetitions, none more
    assert dict(config.dataset.split).items() >= {"target": 2000, "surrogate": 2000, "test": 200}.items()
    assert config.attack.norm == "linf"


def test_adversarial_training_goes_from_none_to_far_and_nothing_else_differs() -> None:
    settings = {"surrogate": "cnn", "adversarial_norm": "l2", "adversarial_steps": "3"}
    assert levels("training_radius", "adversarial_radius", **settings) == [0, 0.1, 0.25, 0.5, 1, 2]


@pytest.mark.parametrize(("network", "last"), [("cnn", "16"), ("mlp_high", "32")])
def test_checkpoints_are_of_one_training_and_end_with_it(network: str, last: str) -> None:
    found = levels("early_stopping", "checkpoint", surrogate=network, n_epochs=last)
    assert found == sorted(found)
    assert len(found) >= 5
    assert found[-1] == float(last)


def test_sam_stands_beside_the_checkpoints_of_the_training_without_it() -> None:
    settings = {"surrogate": "cnn", "n_epochs": "16"}
    assert levels("sam_radius", "sam_radius", **settings) == [0.05, 0.1, 0.2, 0.3, 0.5]
    assert levels("sam_radius", "checkpoint", **settings)[:6] == levels("early_stopping", "checkpoint", **settings)


def test_regularisers_have_three_strengths_beside_plain_training_and_two_are_crossed() -> None:
    plain = {"surrogate": "cnn", "gradient_penalty": "0", "sam_radius": "0"}
    assert plain in [{k.removeprefix("surrogate."): v for k, v in own.items()} for own in surrogates("regularisers")]
    for key in ("label_smoothing", "mixup"):
        strengths = [value for value in levels("regularisers", key, surrogate="cnn") if value > 0]
        assert len(strengths) == 3
    crossed = [own for own in surrogates("regularisers") if "surrogate.sam_radius" in own]
    on = {(float(own["surrogate.gradient_penalty"]) > 0, float(own["surrogate.sam_radius"]) > 0) for own in crossed}
    assert len(on) == len(crossed) == 4


@pytest.mark.parametrize("network", ["cnn", "mlp_high"])
def test_batch_norm_is_on_and_off_at_the_same_checkpoints(network: str) -> None:
    own = [one for one in surrogates("batch_norm") if one["surrogate"] == network]
    by_norm = {
        on: [one["surrogate.checkpoint"] for one in own if one["surrogate.batch_norm"] == on] for on in ("True", "False")
    }
    assert by_norm["True"] == by_norm["False"]
    assert len(by_norm["True"]) == 4
    assert len({one["surrogate.n_epochs"] for one in own}) == 1


def test_one_factor_at_a_time_with_three_ordered_levels_or_more() -> None:
    paths: dict[tuple[str, str], list[float]] = defaultdict(list)
    for own in surrogates("width_depth"):
        ((key, value),) = ((k, v) for k, v in own.items() if k != "surrogate")
        paths[own["surrogate"], key.removeprefix("surrogate.")].append(float(value))
    assert {name for name, _ in paths} == {"cnn", "mlp_high", "svm_low", "logistic_low", "ridge_low", "rbf_low"}
    assert {key for name, key in paths if name in ("cnn", "mlp_high")} == {"width", "depth", "weight_decay"}
    assert all(len(values) >= 3 and values == sorted(set(values)) for values in paths.values())


def test_ensembles_have_1_2_4_and_8_members_of_one_family_and_of_two() -> None:
    found: dict[int, set[frozenset[tuple[str, int]]]] = defaultdict(set)
    for own in surrogates("ensembles"):
        made = composed("experiment=ensembles", *(f"{k}={v}" for k, v in own.items())).surrogate
        members = [one.name for one in made.members.values()] if "members" in made else [made.name]
        found[len(members)].add(frozenset((name, members.count(name)) for name in members))
        family = "mixed" if len(set(members)) > 1 else members[0].removesuffix("_high")
        assert made.name == (f"{family}_x{len(members)}" if len(members) > 1 else members[0])
    assert found[1] == {frozenset({("cnn", 1)}), frozenset({("mlp_high", 1)})}
    for n in (2, 4, 8):
        same = {frozenset({("cnn", n)}), frozenset({("mlp_high", n)})}
        assert found[n] == {*same, frozenset({("cnn", n // 2), ("mlp_high", n // 2)})}
    assert set(found) == {1, 2, 4, 8}


def test_transfer_attacks_have_equal_budgets_and_spend_them() -> None:
    made = attacks("attacks")
    assert {one.name for one in made} == {
        "iterative", "pgd", "mifgsm", "nifgsm", "difgsm", "tifgsm", "sinifgsm", "vmifgsm", "admix",
    }  # fmt: skip
    assert {one.n_steps * one.gradients_per_step for one in made} == {60}
    assert {(one.norm, one.objective, one.goal) for one in made} == {("linf", "cross_entropy", "any")}


def test_shares_of_the_optimum_are_of_high_and_low_complexity_and_end_with_all_of_it() -> None:
    own = list(surrogates("optimum"))
    names = {one["surrogate"] for one in own}
    assert names >= {"svm_high", "svm_low", "mlp_high", "mlp_low"}
    for name in names:
        assert [one["attack.stop_at"] for one in own if one["surrogate"] == name] == ["0.25", "0.5", "0.75", "1"]
    assert composed("experiment=optimum").attack.name == "evasion"


def test_targeted_attacks_cross_objectives_with_lengths() -> None:
    made = attacks("targeted")
    crossed = {(one.objective, one.n_steps) for one in made}
    assert crossed == {(name, n) for name in ("cross_entropy", "margin", "logit") for n in (10, 50, 300)}
    assert {(one.goal, one.momentum) for one in made} == {("next", 1)}


def test_robust_and_plain_networks_are_both_surrogates_and_targets() -> None:
    for role in ("surrogate", "target"):
        found = {(one[role], one[f"{role}.adversarial_radius"]) for one in combinations("robust_targets")}
        assert found == {(name, radius) for name in ("cnn", "mlp_high") for radius in ("0", "0.1")}
    config = composed("experiment=robust_targets")
    assert min(config.epsilon.shown) <= 0.1 < config.epsilon.reference


DIGITS = (SOURCE / "Makefile").read_text().partition("DIGITS := ")[2].partition("\n")[0].split()
FASTER = ("dataset.split.test=20", "epsilon.grid=[0,0.1]", "epsilon.reference=0.1", "epsilon.shown=[0.1]")


ALONE = ("hydra.sweeper.params={}", "hydra.sweeper.blocks=[]")


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_on_digits_with_the_makefiles_words(cli: Cli, root: Path, study: str) -> None:
    words = [f"{k}={v}" for k, v in combinations(study)[-1].items()]
    ended = cli(f"experiment={study}", *ALONE, *words, *DIGITS, *FASTER)
    assert ended.rc == 0, ended.stderr
    (made,) = runs(root, study, kind="combination")
    assert made.info.status == "FINISHED"
    curves = NEEDED.get(study, set()) & {"share_of_optimum", "flatness_at_attack"}
    recorded = {f"curve/{name}" if name in curves else name for name in NEEDED.get(study, set())}
    assert recorded <= set(made.data.metrics)
    assert "gradient_alignment" in made.data.metrics
    assert "curve/transfer_rate" in made.data.metrics
    assert (root / "reports" / study / "report.html").is_file()
