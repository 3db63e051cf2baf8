"""What a sweep is about to do is said before it begins: how many are done, how long the others take, how much disk."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, Cli, runs

from transfer_exp.cli.plan import plan_of, size, workers_of
from transfer_exp.signature import Key, signature
from transfer_exp.tracking import jobs
from transfer_exp.tracking.connecting import sqlite_uri
from transfer_exp.tracking.estimate import estimate
from transfer_exp.tracking.jobs import Done, Words, words_of

BASE = 0.5
SURROGATES = {"svm_high": 9.0, "svm_low": 2.0, "mlp_high": 5.0}
TARGETS = {"svm_high": 4.0, "forest_low": 1.0}


def grid(seeds: Sequence[int], shares: Sequence[float] = (1.0, 0.2)) -> list[Words]:
    axes = itertools.product(seeds, shares, SURROGATES, TARGETS)
    return [words_of([f"seed={n}", f"surrogate_fraction={f}", f"surrogate={s}", f"target={t}"]) for n, f, s, t in axes]


def true_cost(order: Sequence[Words]) -> list[float]:
    """What each job takes when every surrogate (seed, share) and target (seed) is made by the first that needs it."""
    made: set[tuple[str, ...]] = set()
    costs = []
    for words in order:
        word = dict(one.split("=") for one in words)
        cost = BASE
        for key, table in (("surrogate", SURROGATES), ("target", TARGETS)):
            place = (key, word[key], word["seed"], word["surrogate_fraction"] if key == "surrogate" else "")
            if place not in made:
                made.add(place)
                cost += table[word[key]] * (float(word["surrogate_fraction"]) if key == "surrogate" else 1)
        costs.append(cost)
    return costs


def done(order: Sequence[Words], costs: Sequence[float]) -> list[Done]:
    return [
        Done(code="c", words=words, is_here=True, numbers={"seconds": cost})
        for words, cost in zip(order, costs, strict=True)
    ]


@pytest.mark.parametrize("shuffled", [False, True])
def test_costs_of_first_uses_are_told_from_those_of_every_job(shuffled: bool) -> None:
    every = grid(range(6))
    if shuffled:
        head, tail = every[:24], every[24:]
        np.random.default_rng(0).shuffle(head)  # type: ignore[arg-type]
        every = [*head, *tail]
    costs = true_cost(every)
    found, n_runs = estimate(done(every[:24], costs[:24]), every[24:], "seconds")
    assert n_runs == 24
    assert found == pytest.approx(sum(costs[24:]))


def test_pieces_that_are_there_cost_nothing_again() -> None:
    every = grid([0, 1, 2])
    costs = true_cost(every)
    rest = [words for words in every[24:] if "target=svm_high" in words]  # of a seed whose surrogates are there
    assert estimate(done(every[:30], costs[:30]), every[30:], "seconds")[0] == pytest.approx(sum(costs[30:]))
    again, _ = estimate(done(every, costs), rest, "seconds")
    assert again == pytest.approx(BASE * len(rest))


def test_a_learner_of_which_nothing_is_known_costs_as_much_as_the_others() -> None:
    every = grid(range(4))
    np.random.default_rng(1).shuffle(every)  # type: ignore[arg-type]  # in order, a target's cost is always a surrogate's, too
    costs = true_cost(every)
    fresh = words_of(["seed=9", "surrogate_fraction=1.0", "surrogate=new", "target=svm_high"])
    mean = np.mean([cost * share for cost in SURROGATES.values() for share in (1, 0.2)])
    assert estimate(done(every, costs), [fresh], "seconds")[0] == pytest.approx(BASE + mean + TARGETS["svm_high"])


def test_runs_of_another_kind_and_too_few_runs_tell_nothing() -> None:
    every = grid(range(2))
    costs = true_cost(every)
    l1 = [(*words, "attack.norm=l1") for words in every]
    assert estimate(done(every, costs), l1, "seconds") == (None, 0)
    assert estimate(done(every[:19], costs[:19]), every, "seconds") == (None, 19)
    assert estimate(done(every, costs), every, "store/bytes") == (None, 0)
    assert estimate(done(every, costs), [], "seconds") == (None, 0)


def test_words_that_change_nothing_do_not_tell_jobs_apart() -> None:
    meant = ["seed=1", "target=svm_low", "+attack.more=2"]
    aside = ["paths.root=/a", "threads=2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "study=x", "dry_run=true"]
    assert words_of([*aside, *meant]) == words_of(meant[::-1]) == tuple(sorted(meant))


def test_code_that_is_not_known_gives_no_tag() -> None:
    known, other = signature(a=1), signature(a=2)
    assert jobs.tag_of(["seed=1"], known)[jobs.TAG].splitlines() == [jobs.code_of(known), "seed=1"]
    assert jobs.code_of(known) == jobs.code_of(other)  # the same code, whatever else is another
    later = Key(str(known))
    later.made_with, later.storable = {"code work": "changed"}, True
    assert jobs.code_of(later) != jobs.code_of(known)
    later.storable = False
    assert jobs.tag_of(["seed=1"], later) == {}
    assert jobs.tag_of(["seed=1"], "plain text") == {}


@pytest.mark.slow
def test_a_plan_counts_what_is_done_and_runs_nothing(cli: Cli, root: Path) -> None:
    sweep = ("-m", *SMALL, "seed=0,1,2", "study=planned")
    assert cli("-m", *SMALL, "seed=1", "study=planned", "threads=1").rc == 0
    before = len(runs(root, "planned"))
    planned = cli(*sweep, "dry_run=true")
    assert planned.rc == 0
    assert "study planned: 1 of 3 combinations done already; how long" in planned.stdout
    assert "dry run: nothing was started" in planned.stdout
    assert len(runs(root, "planned")) == before
    assert "0 of 3 combinations" in cli(*sweep, "dry_run=true", "study=other").stdout
    assert "0 of 3 combinations" in cli(*sweep, "dry_run=true", "resume=false").stdout
    assert "0 of 1 combination done" in cli(*SMALL, "seed=5", "study=planned", "dry_run=true").stdout
    assert "1 of 1 combination done" in cli(*SMALL, "seed=1", "study=planned", "dry_run=true").stdout
    assert cli(*sweep, "dry_run=true", "target=none").rc != 0
    assert cli(*SMALL, "dry_run=true", "dataset.split.test=9999").rc != 0
    (run,) = runs(root, "planned", kind="combination")
    assert "dry_run" not in run.data.params
    assert run.data.metrics["store/bytes"] == sum(f.stat().st_size for f in (root / "store").rglob("*.npz"))


@pytest.fixture
def record(root: Path) -> Path:
    """A record of 144 finished runs, whose costs are known, written straight into MLflow's tables."""
    every = grid(range(12))
    costs = true_cost(every)
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        add = "INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (?, ?, 'active')"
        database.executemany(add, [(7, "here"), (8, "elsewhere")])
        for k, (words, cost) in enumerate(zip(every, costs, strict=True)):
            run_id = f"{k:032x}"
            database.execute(
                "INSERT INTO runs (run_uuid, experiment_id, status, start_time, lifecycle_stage) "
                "VALUES (?, ?, ?, ?, 'active')",
                (run_id, 7 if k < 96 else 8, "FAILED" if k == 50 else "FINISHED", k),
            )
            text = "\n".join(["c", *words])
            database.execute("INSERT INTO tags (run_uuid, key, value) VALUES (?, ?, ?)", (run_id, jobs.TAG, text))
            numbers = [("seconds", cost), ("store/bytes", 1e6 * cost)]
            database.executemany(
                "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, 0, 0, 0)",
                [(run_id, name, value) for name, value in numbers],
            )
    return root


def test_a_plan_reads_the_record(record: Path) -> None:
    every = grid(range(14))
    costs = true_cost(every)
    plan = plan_of([list(words) for words in every], ["c"], uri=sqlite_uri(record), study="here", resume=True, n_workers=2)
    # Runs of another study are no runs of this one, but they tell how long its runs take; a failed one is done again.
    assert (plan.total, plan.n_done, plan.n_runs) == (168, 95, 143)
    expected = sum(costs[144:]) + BASE * (168 - 95 - 24)  # pieces of the 48 of the other study are in the store
    assert plan.work == pytest.approx(expected, rel=0.01)
    assert plan.disk == pytest.approx(1e6 * expected, rel=0.2)  # and what MLflow takes
    assert "95 of 168 combinations done already; the other 73 take about" in plan.sentence()
    assert "with 2 workers and" in plan.sentence()
    changed = plan_of([list(w) for w in every], ["d"], uri=sqlite_uri(record), study="here", resume=True, n_workers=1)
    assert changed.n_done == 0
    served = plan_of([list(w) for w in every], ["c"], uri="http://127.0.0.1:9", study="here", resume=True, n_workers=1)
    assert "is not looked up on a server" in served.sentence()
    nowhere = plan_of([list(w) for w in every], ["c"], uri=sqlite_uri(record / "no"), study="here", resume=True, n_workers=1)
    assert nowhere.n_done == 0


def test_a_record_without_tables_is_empty(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    assert jobs.done_in(sqlite_uri(tmp_path), "here") == []


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "1000 B"), (38_200_000, "38 MB"), (9.04e9, "9 GB"), (1.26e12, "1.3 TB")]
)
def test_sizes_have_two_digits(number: float, text: str) -> None:
    assert size(number) == text


def test_workers_are_those_that_the_launcher_names() -> None:
    assert workers_of(None) == 1
    for node, n in (({}, 1), ({"n_jobs": 3}, 3), ({"array_parallelism": 64}, 64), ({"n_jobs": None}, 1)):
        assert workers_of(node) == n  # type: ignore[arg-type]
    assert workers_of({"n_jobs": -1}) >= 1  # type: ignore[arg-type]
