"""A search: what is searched, what a trial is worth, what limits it, and that it goes on where it was left."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Cli, runs
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from transfer_exp.cli.objective import Objective
from transfer_exp.cli.search import Search, Trial
from transfer_exp.cli.searched import as_csv, best_of, told
from transfer_exp.cli.space import Space
from transfer_exp.data.attackers import attackers_part
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.types import Sizes, UserError


def space_of(*words: str) -> tuple[Space, list[str]]:
    return Space.of(OverridesParser.create().parse_overrides(list(words)))


def test_intervals_choices_and_ranges_are_searched_and_plain_lists_are_not() -> None:
    words = ["a=interval(0,1)", "b=choice(x,y)", "c=range(1,9,2)", "d=tag(log,interval(1e-3,10))", "e=1,2", "f=3", "g=[1,2]"]
    space, others = space_of(*words)
    assert list(space.searched) == ["a", "b", "c", "d"]
    assert others == ["e=1,2", "f=3", "g=[1,2]"]
    assert space.first() == ["a=0.0", "b=x", "c=1", "d=0.001"]
    assert space.overrides({"a": 0.25, "b": "y", "c": 3, "d": 1e-3}) == ["a=0.25", "b=y", "c=3", "d=0.001"]


def test_the_last_of_a_key_counts() -> None:
    space, others = space_of("target=a,b", "x=interval(0,1)", "target=c", "x=interval(2,3)")
    assert (space.first(), others) == (["x=2.0"], ["target=c"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("a=interval(1,0)", "a: expected an interval from a smaller to a larger number, got 1.0, 0.0"),
        ("a=tag(log,interval(0,1))", "a: expected an interval above 0 for a logarithmic scale, got one from 0.0"),
        ("a=tag(int,interval(0.2,0.8))", "a: expected an interval with a whole number in it, got 0.2, 0.8"),
        ("a=tag(log,choice(1,10))", "a: expected tags of an interval, got log of other values; leave them out"),
        ("a=tag(cube,interval(0,1))", "a: expected tags of float, int, log, got cube"),
    ],
)
def test_what_cannot_be_searched_is_refused(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        space_of(word)


def test_distributions_are_those_of_the_overrides() -> None:
    optuna = pytest.importorskip("optuna")
    found = space_of(
        "a=interval(0,1)",
        "b=choice(x,y)",
        "c=range(1,9,3)",
        "d=tag(log,interval(0.1,10))",
        "e=tag(int,interval(2,5))",
        "f=tag(float,interval(1,10))",
        "g=tag(int,log,interval(0.5,3.5))",
    )[0].distributions()
    of = optuna.distributions
    assert found == {
        "a": of.FloatDistribution(0, 1),
        "b": of.CategoricalDistribution(["x", "y"]),
        "c": of.IntDistribution(1, 7, step=3),
        "d": of.FloatDistribution(0.1, 10, log=True),
        "e": of.IntDistribution(2, 5),
        "f": of.FloatDistribution(1, 10),
        "g": of.IntDistribution(1, 3, log=True),
    }


def test_a_value_is_the_mean_over_runs_at_the_reference_epsilon_and_accuracy_has_a_limit() -> None:
    runs_ = [{"error_at_0.5": 0.2, "clean_error": 0.01}, {"error_at_0.5": 0.4, "clean_error": 0.03}]
    objective = Objective(metric="error", direction="minimize", max_accuracy_loss=0.05)
    assert objective.value(runs_, [0.5, 0.5]) == pytest.approx(0.3)
    of_scale = [{"error_at_0.5": 0.2}, {"error_at_3.1": 0.4}]  # strengths from the data's scale, of two data sets
    assert objective.value(of_scale, [0.5, 3.1]) == pytest.approx(0.3)
    assert objective.clean_error(runs_) == pytest.approx(0.02)
    assert objective.excess(0.09, 0.02) == pytest.approx(0.02)
    assert objective.excess(0.06, 0.02) < 0
    with pytest.raises(
        UserError, match=r"objective.metric: expected a metric .*, got size; choose of clean_error, error_at_0.5"
    ):
        Objective(metric="size", direction="minimize").value(runs_, [0.5, 0.5])
    with pytest.raises(UserError, match=r"objective.max_accuracy_loss: expected a share >= 0 or null, got -1"):
        Objective(metric="error", direction="minimize", max_accuracy_loss=-1)


def trial(number: int, value: float | None, *, allowed: bool = True) -> Trial:
    return Trial(number=number, overrides=[f"x={number}"] if number else [], value=value, allowed=allowed)


def test_the_best_trial_is_allowed_and_did_not_fail() -> None:
    trials = [trial(0, 0.5), trial(1, 0.9, allowed=False), trial(2, None), trial(3, 0.7), trial(4, 0.7)]
    most = Objective(metric="error", direction="maximize")
    best = best_of(trials, most)
    assert best is trials[3]
    assert told(trials, best, most).splitlines() == [
        "error, to maximize: best of 4 trials 0.7, the configuration as it is 0.5",
        "1 trial lost more clean accuracy than allowed",
        "1 trial failed",
        "the best of several looks better than it is on what chose it: judge it with other seeds",
        "to type: x=3",
    ]
    assert best_of(trials, Objective(metric="error", direction="minimize")) is trials[0]
    assert best_of([trial(0, None)], most) is None
    assert as_csv(trials).decode().splitlines()[1:3] == ["0,0.5,,True,", "1,0.9,,False,x=1"]


class Planted(Search):
    """Combinations whose metrics are known: error is (x - 0.7)^2, the clean error x / 10."""

    def _measured(self, run_id: str) -> tuple[dict[str, float], float]:
        x = float(run_id)
        return {"error_at_1": (x - 0.7) ** 2, "clean_error": x / 10}, 1.0

    def jobs(self, chosen: Any) -> list[list[str]]:
        return [list(chosen)]


def planted(folder: Path, *, n_trials: int, limit: float | None, seed: int = 0) -> list[Trial]:
    pytest.importorskip("optuna")
    sweeper = {"n_trials": n_trials, "trials_at_once": 2, "seed": seed}
    config = OmegaConf.create({"hydra": {"sweeper": sweeper}})
    objective = Objective(metric="error", direction="minimize", max_accuracy_loss=limit)
    search = Planted(config=config, objective=objective, space=space_of("x=interval(0,1)")[0], listed=[])
    number = 0
    while not search.is_done:
        for job in search.next_jobs():
            x = job[0].removeprefix("x=") if job else "0.0"
            (folder / f"job-{number}.json").write_text(json.dumps({"run_id": x, "status": "finished"}))
            number += 1
        search.collect(folder)
    return search.trials


def test_a_search_comes_near_a_planted_optimum(tmp_path: Path) -> None:
    trials = planted(tmp_path, n_trials=40, limit=None)
    assert len(trials) == 41
    best = best_of(trials, Objective(metric="error", direction="minimize"))
    assert best is not None
    assert best.value is not None
    # 40 values at random are this near with probability 0.98; the sampler looks where it has found good ones.
    assert best.value < 0.05**2
    late, early = ([one.value or 0 for one in trials[a:b]] for a, b in ((31, 41), (1, 11)))
    assert sum(late) < sum(early)


def test_a_search_keeps_to_its_limit_and_says_which_trials_do_not(tmp_path: Path) -> None:
    trials = planted(tmp_path, n_trials=40, limit=0.04)  # x <= 0.4
    assert [one.allowed for one in trials[1:]] == [(one.clean_error or 0) <= 0.04 for one in trials[1:]]
    best = best_of(trials, Objective(metric="error", direction="minimize"))
    assert best is not None
    assert 0.3 < float(best.overrides[0].removeprefix("x=")) <= 0.4


def test_more_trials_begin_with_the_same_ones(tmp_path: Path) -> None:
    short, long = (planted(tmp_path, n_trials=n, limit=None) for n in (12, 16))
    assert [one.overrides for one in long[:13]] == [one.overrides for one in short]


def test_a_combination_that_failed_fails_its_trial_alone(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    config = OmegaConf.create({"hydra": {"sweeper": {"n_trials": 1, "trials_at_once": 1, "seed": 0}}})
    objective = Objective(metric="error", direction="minimize", max_accuracy_loss=0.1)
    search = Planted(config=config, objective=objective, space=space_of("x=interval(0,1)")[0], listed=[])
    for number, status in enumerate(("finished", "failed")):
        search.next_jobs()
        (tmp_path / f"job-{number}.json").write_text(json.dumps({"run_id": "0.5", "status": status}))
        search.collect(tmp_path)
    assert [one.value for one in search.trials] == [pytest.approx(0.04), None]
    assert search.is_done


def test_where_the_configuration_as_it_is_failed_there_is_no_limit_and_no_search(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    config = OmegaConf.create({"hydra": {"sweeper": {"n_trials": 3, "trials_at_once": 1, "seed": 0}}})
    objective = Objective(metric="error", direction="minimize", max_accuracy_loss=0.1)
    search = Planted(config=config, objective=objective, space=space_of("x=interval(0,1)")[0], listed=[])
    search.next_jobs()
    (tmp_path / "job-0.json").write_text(json.dumps({"run_id": "0.5", "status": "failed"}))
    search.collect(tmp_path)
    assert search.is_done
    assert len(search.trials) == 1


SEARCH = (
    "-m",
    *SMALL,
    "study=tiny",
    "hydra/sweeper=optuna",
    "objective=transfer",
    "objective.panel.target=[ridge_low,svm_low]",
)
SEARCHED = ("surrogate.alpha=tag(log,interval(0.1,100))",)


def test_a_search_is_one_tree_and_the_same_command_goes_on_with_it(cli: Cli, root: Path) -> None:
    pytest.importorskip("optuna")
    ended = cli(*(word for word in SEARCH if not word.startswith("target=")), *SEARCHED, "hydra.sweeper.n_trials=1")
    assert ended.rc == 0, ended.stderr
    (parent,) = runs(root, "tiny", kind="study")
    made = runs(root, "tiny", kind="combination")
    assert [run.data.tags["mlflow.parentRunId"] for run in made] == [parent.info.run_id] * 4
    chosen = [run for run in made if run.data.params["surrogate.alpha"] != made[0].data.params["surrogate.alpha"]]
    assert {run.data.params["target"] for run in chosen} == {"ridge_low", "svm_low"}
    value = sum(run.data.metrics["error_at_0.5"] for run in chosen) / 2
    before = sum(run.data.metrics["error_at_0.5"] for run in made if run not in chosen) / 2
    assert parent.data.metrics["search/best"] == pytest.approx(max(value, before))
    assert parent.data.metrics["search/as_it_is"] == pytest.approx(before)
    assert f"error, to maximize: best of 1 trial {max(value, before):.4g}" in ended.stdout
    again = cli(*(word for word in SEARCH if not word.startswith("target=")), *SEARCHED, "hydra.sweeper.n_trials=2")
    assert again.rc == 0, again.stderr
    assert "skipped 4 of 6 combinations" in again.stderr
    assert len(runs(root, "tiny", kind="combination")) == 6
    assert [run.info.run_id for run in runs(root, "tiny", kind="study")] == [parent.info.run_id]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective=transfer"], "search: expected values to search"),
        ([*SEARCHED], "objective: expected what to search for; add objective=transfer, robustness or metric"),
        (["objective=metric", *SEARCHED], "objective.metric: expected text, got None"),
        (
            ["objective=transfer", *SEARCHED, "hydra.sweeper.n_trials=0"],
            "hydra.sweeper.n_trials: expected a whole number >= 1",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_is_trained(
    words: list[str], message: str, cli: Cli, root: Path
) -> None:
    pytest.importorskip("optuna")
    ended = cli("-m", *SMALL, "study=tiny", "hydra/sweeper=optuna", *words)
    assert (ended.rc, ended.stderr.splitlines()[0][: len(message) + 7]) == (1, f"error: {message}")
    assert not runs(root, "tiny")


def test_without_optuna_a_search_says_what_to_install(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    ended = cli(*SEARCH, *SEARCHED)
    assert ended.rc == 1
    message = "hydra/sweeper: expected the package optuna for a search; run: pip install -c constraints.txt -e '.[optuna]'"
    assert ended.stderr == f"error: {message}\n"


def test_an_objective_without_a_search_is_refused(cli: Cli, root: Path) -> None:
    ended = cli(*SMALL, "objective=transfer")
    assert ended.rc == 1
    assert "objective: expected a search, got one combination; add -m hydra/sweeper=optuna" in ended.stderr
    ended = cli("-m", *SMALL, "objective=transfer", "seed=0,1")
    assert ended.rc == 1
    assert "objective: expected a search, got a sweep over lists; add hydra/sweeper=optuna" in ended.stderr


def test_the_attackers_part_has_the_surrogates_points_and_nothing_of_the_target() -> None:
    digits = load_digits(name="d", classes=[8, 9], split=Sizes(test=100))
    split = make_split(digits, seed=3)
    own = attackers_part(of=digits, seed=3)
    rows = {point.tobytes(): row for row, point in enumerate(digits.x)}
    found = [rows[point.tobytes()] for point in own.x]
    assert set(found) == {*split.surrogate, *split.test}
    for seed in (0, 1):
        part = make_split(own, seed=seed)
        assert {found[row] for row in part.test} == set(split.test)
        assert {found[row] for row in (*part.target, *part.surrogate)} <= set(split.surrogate)
        assert not set(part.target) & set(part.surrogate)
        assert len(part.target) == len(split.surrogate) // 2
