"""The training sets of V: like the surrogate's own, without the measured points, as different as the data allow."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from transfer_exp.data.digits import load_digits
from transfer_exp.data.drebin215 import load_drebin215
from transfer_exp.data.mnist import load_mnist
from transfer_exp.data.splits import make_split, sample_class
from transfer_exp.data.training_sets import TrainingSet, require_others, share_in_common, training_sets
from transfer_exp.types import Box, Dataset, Ints, Sizes, UserError


def toy(y: Ints, sizes: Sizes, *, group: Ints | None = None, pool: Ints | None = None) -> Dataset:
    """Points of one feature; ``pool``: rows for the test part only."""
    test_pool = np.isin(np.arange(len(y)), [] if pool is None else pool)
    x = np.arange(len(y), dtype=np.float64)[:, None] if group is None else group[:, None].astype(np.float64)
    box = Box.uniform(1, 0.0, float(len(y)))
    return Dataset(name="toy", x=x, y=y, box=box, sizes=sizes, test_pool=test_pool, checksum="0" * 32, group=group)


def repeated(n_groups: int = 500) -> tuple[Ints, Ints]:
    """Groups of equal rows, half of them of one row, some of many, each of one class."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(n_groups), np.minimum(random.zipf(2.0, n_groups), 40))
    label = np.where(random.random(n_groups) < 0.4, 1, 0)
    order = random.permutation(len(group))
    return group[order], label[group[order]]


def digits() -> Dataset:
    return load_digits(name="digits89", classes=[8, 9], split=Sizes(test=100))


def small() -> Dataset:
    """130 rows, of which 100 are attacked: 15 train the target, 15 the surrogate."""
    return toy(np.where(np.arange(130) % 3, 1, 0), Sizes(test=100))


def grouped() -> Dataset:
    group, y = repeated()
    return toy(y, Sizes(target=250, surrogate=250, validation=100, test=200), group=group)


def grouped_with_test_set() -> Dataset:
    group, y = repeated()
    return toy(y, Sizes(test=100), group=group, pool=np.arange(0, len(y), 4))


def drebin215() -> Dataset:
    sizes = Sizes(target=4000, surrogate=4000, validation=2500, test=3000)
    return load_drebin215(name="drebin215", folder=os.environ["TRANSFER_EXP_DATA"], n_features=None, split=sizes)


def mnist89(**sizes: int) -> Dataset:
    folder = os.environ["TRANSFER_EXP_DATA"]
    return load_mnist(name="mnist89", folder=folder, classes=[8, 9], split=Sizes(**{"test": 1000, **sizes}))


def drawn(data: Dataset, measured: Ints, *, seed: int = 0, fraction: float = 1.0, n_sets: int = 10) -> list[TrainingSet]:
    own = make_split(data, seed=seed, surrogate_fraction=fraction).surrogate
    return training_sets(data, own, measured, seed=seed, surrogate_fraction=fraction, n_sets=n_sets)


def in_common(sets: list[TrainingSet]) -> list[int]:
    return [len(np.intersect1d(one.rows, other.rows)) for one, other in itertools.combinations(sets, 2)]


def contents(data: Dataset) -> list[bytes]:
    """Equal for equal rows; of binary CSR points the places of the ones."""
    if isinstance(data.x, sp.csr_array):
        return [data.x.indices[a:b].tobytes() for a, b in itertools.pairwise(data.x.indptr)]
    return [row.tobytes() for row in data.x]


DATA = [digits, small, grouped, grouped_with_test_set, pytest.param(drebin215, marks=pytest.mark.data)]


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.parametrize("fraction", [1.0, 0.2])
@pytest.mark.parametrize("load", DATA)
def test_sets_have_the_size_and_class_shares_of_the_surrogates_own_and_none_of_the_measured_points(
    load: Callable[[], Dataset], fraction: float, seed: int
) -> None:
    data = load()
    split = make_split(data, seed=seed, surrogate_fraction=fraction)
    x = contents(data)
    for measured in (
        split.test,
        sample_class(data, split.test, label=1, size=int((data.y[split.test] == 1).sum() // 2), seed=0),
    ):
        sets = drawn(data, measured, seed=seed, fraction=fraction)
        forbidden = {x[row] for row in measured}
        for one in sets:
            assert sorted(data.y[one.rows]) == sorted(data.y[split.surrogate])
            assert len(set(one.rows.tolist())) == len(one.rows)
            assert not data.test_pool[one.rows].any()
            assert not forbidden & {x[row] for row in one.rows}
        assert np.array_equal(sets[0].rows, split.surrogate)  # trained anyway, for the attack
        assert [one.seed for one in sets] == list(range(seed, seed + 10))
        again = drawn(data, measured, seed=seed, fraction=fraction)
        assert all(np.array_equal(one.rows, other.rows) for one, other in zip(sets, again, strict=True))


def test_sets_of_ten_classes_have_the_surrogates_counts_of_each() -> None:
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(10), np.arange(20, 70, 5)))
    data = toy(y, Sizes(target=120, surrogate=120, test=60))
    split = make_split(data, seed=1)
    sets = drawn(data, split.test, seed=1)
    for one in sets:
        assert np.array_equal(np.bincount(y[one.rows]), np.bincount(y[split.surrogate]))
        assert not np.isin(one.rows, split.test).any()
        assert len(set(one.rows.tolist())) == 120
    assert np.array_equal(sets[0].rows, split.surrogate)
    uses = np.bincount(np.concatenate([one.rows for one in sets]), minlength=len(y))
    for k in range(10):  # dealt out: of one class, no row is in many more sets than another
        own = np.setdiff1d(np.flatnonzero(y == k), split.test)
        assert np.ptp(uses[own]) <= 1


def test_too_few_points_of_one_class_are_refused_by_its_name() -> None:
    y = np.array([0] * 50 + [1] * 50 + [2] * 5)
    data = replace(toy(y, Sizes(test=20)), class_names=("cat", "dog", "yak"))
    own = np.array([*range(5), *range(50, 55), 100, 101, 102])
    require_others(data, own, np.array([103, 104]), n_sets=3)
    with pytest.raises(UserError, match=r"expected at least 3 points of class yak of toy besides .* got 2; lower"):
        require_others(data, own, np.array([102, 103, 104]), n_sets=3)


def test_sets_are_disjoint_where_there_are_points_enough() -> None:
    data = digits()
    test = make_split(data, seed=3).test
    assert set(in_common(drawn(data, test, seed=3, fraction=0.2, n_sets=9))) == {0}  # 13 of 129 and 12 of 125 each


def test_equal_rows_are_kept_together_where_there_are_points_enough() -> None:
    """Sets cut a group where one ends and the next begins, one of each class at most, and the own part its two."""
    data = grouped()
    split = make_split(data, seed=0, surrogate_fraction=0.05)
    assert data.group is not None
    groups = [set(data.group[one.rows].tolist()) for one in drawn(data, split.test, fraction=0.05)]
    assert sum(len(one & other) for one, other in itertools.combinations(groups, 2)) <= 2 * 10
    rows = np.concatenate([one.rows for one in drawn(data, split.test, fraction=0.05)])
    assert len(set(rows.tolist())) == len(rows)


@pytest.mark.parametrize(("n_sets", "size"), [(2, 2), (2, 3), (3, 2), (3, 3), (4, 2), (4, 3)])
def test_no_other_sets_have_fewer_points_in_common(n_sets: int, size: int) -> None:
    """Against all choices of sets of so many of 5 points; the other class has one point in each set."""
    choices = list(itertools.combinations(range(5), size))
    least = min(
        sum(len(set(one) & set(other)) for one, other in itertools.combinations(sets, 2))
        for sets in itertools.combinations_with_replacement(choices, n_sets)
    )
    data = toy(np.array([1] * 5 + [0] * 5), Sizes(test=2))
    own = np.array([*range(size), 5])
    for seed in range(20):
        sets = training_sets(data, own, np.array([9]), seed=seed, surrogate_fraction=1.0, n_sets=n_sets)
        positive = [TrainingSet(rows=one.rows[data.y[one.rows] == 1], seed=0) for one in sets]
        assert sum(in_common(positive)) == least


def test_no_two_sets_are_nearly_the_same() -> None:
    """Half of the points each: dealt again in the old order, every second set would be the first again."""
    for seed in range(5):
        data = digits()
        shared = in_common(drawn(data, make_split(data, seed=seed).test, seed=seed))
        assert min(shared) <= 1  # the own part and the next: 65 of 129 and 62 of 125 each
        assert max(shared) < 0.7 * 127  # hypergeometric: 63.5 expected, standard deviation 4.0


def test_every_allowed_row_is_as_likely_to_be_drawn() -> None:
    """Sets but the own one of 400 repetitions of the same part: a share of 0.2 each, standard deviation 0.007 a row."""
    data = toy(np.where(np.arange(120) < 40, 1, 0), Sizes(test=20))
    own, measured = np.array([*range(5), *range(40, 55)]), np.array([*range(5, 15), *range(100, 110)])
    counts = np.zeros(120)
    for seed in range(400):
        sets = training_sets(data, own, measured, seed=seed, surrogate_fraction=1.0, n_sets=9)
        counts += np.bincount(np.concatenate([one.rows for one in sets[1:]]), minlength=120)
    assert not counts[measured].any()
    for rows in (np.r_[15:40], np.r_[55:100, 110:120]):  # what is in neither
        assert np.ptp(counts[rows] / 400 / 8) < 0.07
    assert counts[own].min() > 0


@pytest.mark.parametrize("load", [pytest.param(mnist89, marks=pytest.mark.data), lambda: with_test_set()])
@pytest.mark.parametrize("fraction", [1.0, 0.2])
def test_where_the_test_set_is_the_datas_own_the_sets_are_the_surrogate_parts_of_the_repetitions(
    load: Callable[[], Dataset], fraction: float
) -> None:
    data = load()
    split = make_split(data, seed=13, surrogate_fraction=fraction)
    sets = drawn(data, split.test, seed=13, fraction=fraction)
    for repetition, one in enumerate(sets):
        assert one.seed == repetition
        assert np.array_equal(one.rows, make_split(data, seed=repetition, surrogate_fraction=fraction).surrogate)
        assert sorted(data.y[one.rows]) == sorted(data.y[split.surrogate])
        assert not set(one.rows.tolist()) & set(split.test.tolist())


def with_test_set() -> Dataset:
    return toy(np.where(np.arange(301) % 7 < 3, 1, 0), Sizes(test=30, validation=31), pool=np.arange(60))


def test_points_to_validate_on_come_from_the_training_rows_so_that_sets_are_drawn() -> None:
    data = with_test_set()
    split = make_split(data, seed=0)
    for one in drawn(data, split.validation):
        assert not set(one.rows.tolist()) & {*split.validation.tolist(), *range(60)}
        assert sorted(data.y[one.rows]) == sorted(data.y[split.surrogate])


@pytest.mark.parametrize(
    ("n_sets", "message"),
    [
        (
            97,
            "n_variability: expected at least 116 points of toy besides those that V is measured on and their equals, ",
        ),
        (400, "got 115; lower n_variability, surrogate_fraction or dataset.split.surrogate, validation or test"),
    ],
)
def test_too_few_points_are_refused(n_sets: int, message: str) -> None:
    data = toy(np.where(np.arange(120) < 40, 1, 0), Sizes(test=20))
    own, measured = np.array([*range(5), *range(40, 55)]), np.arange(5, 10)
    training_sets(data, own, measured, seed=0, surrogate_fraction=1.0, n_sets=96)
    with pytest.raises(UserError) as refused:
        training_sets(data, own, measured, seed=0, surrogate_fraction=1.0, n_sets=n_sets)
    assert message in str(refused.value)


def test_points_that_will_be_measured_on_later_count_by_their_worst_choice() -> None:
    """Against every choice of one or two of the own rows, with their equals."""
    group = np.array([0, 0, 1, 2, 3, 3, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10])
    y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0])
    own = np.array([0, 3, 4, 7])

    def refused(data: Dataset, measured: Ints, n_more: int, n_sets: int) -> bool:
        try:
            require_others(data, own, measured, n_sets=n_sets, n_more=n_more)
        except UserError:
            return True
        return False

    seen = set()
    for identity, n_more, n_sets, held in itertools.product((group, None), (0, 1, 2), range(2, 14), ([], [10], [10, 8, 2])):
        data, measured = toy(y, Sizes(test=2), group=identity), np.array(held, dtype=np.int64)
        choices = itertools.combinations(own, n_more)
        expected = any(refused(data, np.array([*held, *rows], dtype=np.int64), 0, n_sets) for rows in choices)
        assert refused(data, measured, n_more, n_sets) == expected
        seen.add(expected)
    assert seen == {True, False}


def test_the_share_in_common_is_the_mean_over_pairs_and_a_large_one_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    data = digits()
    sets = drawn(data, make_split(data, seed=0).test)
    assert share_in_common(sets) == pytest.approx(np.mean(in_common(sets)) / 127)
    assert not caplog.messages
    large = replace(data, sizes=Sizes(target=30, surrogate=220, test=100))
    with caplog.at_level(logging.WARNING):
        shared = share_in_common(drawn(large, make_split(large, seed=0).test))
    assert shared == pytest.approx(220 / 254 - (1 - 220 / 254) / 9, abs=0.01)  # (n_sets m / N - 1) / (n_sets - 1)
    assert "have 85% of their points in common (expected below 60%)" in caplog.text
