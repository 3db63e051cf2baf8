"""Before the first job: every word of a sweep is composed once, and what cannot work is not tried again and again."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Cli, runs
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.transfer_exp_sweeper import by_diagonals, split
from transfer_exp.cli import building
from transfer_exp.cli.preflight import covering
from transfer_exp.cli.progress import FirstOfASweep, announce


def test_every_word_is_there_and_no_job_without_need() -> None:
    jobs = list(product(["a=1", "a=2"], ["b=1", "b=2", "b=3"], ["c=1"], [f"d={k}" for k in range(10)]))
    chosen = list(covering(jobs))
    assert {word for words in chosen for word in words} == {word for words in jobs for word in words}
    assert len(chosen) == 1 + 1 + 2 + 0 + 9
    assert [words for words in jobs if words in chosen] == chosen


def test_neighbours_share_neither_surrogate_nor_target_and_no_combination_is_lost() -> None:
    lengths = {"seed": 3, "target": 4, "surrogate": 6}
    seeds, targets, surrogates = ([f"{name}={k}" for k in range(n)] for name, n in lengths.items())
    for axes in ((seeds, targets, surrogates), (surrogates, targets, seeds)):
        jobs = [list(words) for words in product(*axes)]
        ordered = by_diagonals(jobs)
        assert sorted(ordered) == sorted(jobs)
        assert [next(word for word in words if word in seeds) for words in ordered] == [s for s in seeds for _ in range(24)]
        shared = [set(first) & set(second) - set(seeds) for first, second in pairwise(ordered)]
        assert sum(map(bool, shared)) <= 2 * len(seeds) * len(targets)  # where a diagonal ends
    assert by_diagonals([["seed=1"], ["seed=0"]]) == [["seed=1"], ["seed=0"]]


def makespan(jobs: Sequence[Sequence[str]], costs: Mapping[str, float], workers: int) -> tuple[float, float]:
    """When the last of some workers is done, and the share of that in which they work; who needs a piece that another
    one makes waits for it. The pieces are points of the surrogate, and of the target (its white box), by one attack."""
    free, ready, spent = [0.0] * workers, dict[tuple[str, ...], float](), 0.0
    for job in jobs:
        now = heapq.heappop(free)
        seed, attack = (next(word for word in job if word.startswith(key)) for key in ("seed=", "attack"))
        for piece in ((word, seed, attack) for word in job if word in costs):
            spent += 0.0 if piece in ready else costs[piece[0]]
            ready.setdefault(piece, now + costs[piece[0]])
            now = max(now, ready[piece])
        heapq.heappush(free, now)
    return max(free), spent / workers / max(free)


@pytest.mark.parametrize(("workers", "fewest"), [(2, 0.95), (4, 0.9)])
def test_workers_of_a_study_of_attacks_seldom_wait(workers: int, fewest: float) -> None:
    """Two surrogates and three targets of unequal cost, nine attacks: a matrix an attack would leave workers idle for a
    third of the time."""
    costs = {"surrogate=cnn": 16.0, "surrogate=mlp": 5.0, "target=cnn": 16.0, "target=mlp": 5.0, "target=svm": 2.0}
    surrogates, targets = ([word for word in costs if word.startswith(role)] for role in ("surrogate", "target"))
    for attacks in ([f"attack={k}" for k in range(9)], [f"attack.n_gradients={k}" for k in range(9)]):
        jobs = [list(words) for words in product(["seed=0", "seed=1", "seed=2"], attacks, surrogates, targets)]
        ordered = by_diagonals(jobs)
        assert sorted(ordered) == sorted(jobs)
        assert [words[0] for words in ordered] == [words[0] for words in jobs]  # one seed after another
        assert makespan(ordered, costs, workers)[1] > fewest
        assert makespan(jobs, costs, workers)[1] < 0.8


def test_ensembles_of_other_members_are_other_surrogates_of_one_matrix() -> None:
    pairs = [
        ["learner@surrogate.members.a=svm_low"],
        ["learner@surrogate.members.a=rbf_low", "+learner@surrogate.members.c=cnn"],
    ]
    jobs = [[*members, target] for members in pairs for target in ("target=mlp_low", "target=svm_low")]
    assert by_diagonals(jobs) == [jobs[0], jobs[3], jobs[1], jobs[2]]


@pytest.mark.slow
def test_a_sweep_composes_its_words_once_and_each_choice_of_groups_when_it_starts(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = []
    whole = ConfigLoaderImpl.load_sweep_config

    def count(self: Any, master_config: Any, sweep_overrides: list[str]) -> Any:
        composed.append(sweep_overrides)
        return whole(self, master_config, sweep_overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", count)
    ended = cli("-m", *SMALL, "study=tiny", "seed=0,1,2", "surrogate=ridge_high,ridge_low", "target=ridge_high,ridge_low")
    assert ended.rc == 0, ended.stderr
    assert len(composed) == (1 + 2 + 1 + 1) + 2 * 2
    assert len(runs(root, "tiny", kind="combination")) == 3 * 2 * 2


def test_a_word_in_the_middle_that_cannot_be_composed_stops_the_sweep_before_its_first_job(cli: Cli, root: Path) -> None:
    ended = cli("-m", *SMALL, "study=tiny", "seed=0,1", "surrogate=ridge_high,nothing,ridge_low")
    assert ended.rc == 1
    assert "tuned, got nothing" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not runs(root, "tiny")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset=drebin", "paths.data={empty}"], "error: DREBIN: expected"),
        (["dataset=digits89,drebin215", "paths.data={empty}"], "error: Drebin-215: expected drebin-215"),
        (["attack.norm=l3"], "error: attack.norm: expected one of l0, l1, l2, linf, got l3"),
        (["dataset.split.test=100000,200000"], "error: dataset.split.test: expected at most 354"),
        (["~surrogate"], "error: surrogate"),
    ],
    ids=["no data", "no data for one of two", "option of all", "every value", "part left out"],
)
def test_what_cannot_work_is_said_once_before_the_first_job(
    words: list[str], message: str, cli: Cli, root: Path, tmp_path: Path
) -> None:
    ended = cli("-m", *SMALL, "study=tiny", "seed=0,1,2", *(word.format(empty=tmp_path) for word in words))
    assert ended.rc == 1
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1
    assert not runs(root, "tiny")


def test_what_is_odd_about_a_learner_is_said_once_a_sweep(cli: Cli, root: Path, tmp_path: Path) -> None:
    ended = cli("-m", *SMALL, "study=tiny", "surrogate.alpha=1e9", "seed=0,1")
    assert "[2/2] finished" in ended.stderr, ended.stderr
    assert ended.stderr.count("surrogate ridge_high takes all 20 test points for class") == 1

    def passes(about: str) -> bool:  # each in a process of its own
        record = logging.makeLogRecord({"about": about} if about else {})
        return FirstOfASweep(tmp_path).filter(record)

    about = ["constant target a", "constant target b", "constant target a", "", ""]
    assert [passes(one) for one in about] == [True, True, False, True, True]
    announce(tmp_path, run_id="r", total=1, varied=None)  # the next sweep in this folder
    assert passes("constant target a")


@pytest.mark.slow
def test_one_value_that_does_not_fit_fails_alone(cli: Cli, root: Path) -> None:
    ended = cli("-m", *SMALL, "study=tiny", "surrogate.alpha=-1,1", "seed=0,1")
    assert ended.rc == 1
    assert "error: 2 of 4 combinations failed" in ended.stderr
    statuses = [run.info.status for run in runs(root, "tiny", kind="combination")]
    assert sorted(statuses) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]


def test_an_unexpected_error_is_left_to_the_jobs_which_record_it(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> Any:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(building, "_load", broken)
    ended = cli("-m", *SMALL, "study=tiny", "seed=0,1")
    assert ended.rc == 1
    assert "error: 2 of 2 combinations failed" in ended.stderr
    assert "ZeroDivisionError: a defect" in ended.stderr


def words_of(blocks: list[dict[str, str]], *overrides: str) -> list[list[str]]:
    config_loader = ConfigLoaderImpl(ConfigSearchPathImpl())
    return split(
        OverridesParser.create(config_loader=config_loader), {"seed": "0,1", "epsilon": "evasion"}, blocks, overrides
    )


def test_combinations_of_blocks_are_those_of_each_block_once() -> None:
    blocks = [
        {"surrogate": "svm_low", "surrogate.C": "1,10", "target": "ridge_low,mlp_low"},
        {"surrogate": "ridge_low", "target": "ridge_low"},
        {"surrogate": "ridge_low", "target": "ridge_low,svm_low"},  # one of the two is there already
    ]
    jobs = words_of(blocks)
    cells = [["surrogate=svm_low", f"surrogate.C={c}", f"target={t}"] for c in (1, 10) for t in ("ridge_low", "mlp_low")]
    cells += [["surrogate=ridge_low", "target=ridge_low"], ["surrogate=ridge_low", "target=svm_low"]]
    expected = [[f"seed={seed}", "epsilon=evasion", *cell] for seed in (0, 1) for cell in cells]
    assert sorted(jobs) == sorted(expected)
    (swept,) = {len(words_of(blocks, "seed=5", "target=svm_low"))}  # the command line counts in every block
    assert swept == 3
    assert all("seed=5" in job and "target=svm_low" in job for job in words_of(blocks, "seed=5", "target=svm_low"))
    assert words_of([]) == [["seed=0", "epsilon=evasion"], ["seed=1", "epsilon=evasion"]]


def test_a_learner_with_its_swept_values_is_one_axis() -> None:
    rows = [["surrogate=svm_low", f"surrogate.C={c}"] for c in (1, 2, 3)]
    jobs = [["seed=0", *row, f"target={t}"] for row in rows for t in ("a", "b", "c")]
    ordered = by_diagonals(jobs)
    assert sorted(ordered) == sorted(jobs)
    assert sum(len(set(first) & set(second)) > 2 for first, second in pairwise(ordered)) <= 2  # where a diagonal ends


@pytest.mark.slow
def test_a_sweep_of_blocks_runs_them_all(cli: Cli, root: Path) -> None:
    blocks = "hydra.sweeper.blocks=[{surrogate.alpha: '3,4'}, {target.alpha: '5'}]"
    ended = cli("-m", *SMALL, "study=tiny", "seed=0", blocks)
    assert ended.rc == 0, ended.stderr
    params = [run.data.params for run in runs(root, "tiny") if "seed" in run.data.params]
    found = [(own["surrogate.alpha"], own["target.alpha"]) for own in params]
    assert sorted(found) == [("1", "5"), ("3", "10"), ("4", "10")]
