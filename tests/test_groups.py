"""Splits of data with groups: equal rows stay together, sizes are exact, data without groups is split as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from transfer_exp.data.splits import apart, make_split, sample_class
from transfer_exp.types import Box, Dataset, Ints, Sizes, Split, UserError


def _data(group: Ints | None, y: Ints, sizes: Sizes, pool: npt.NDArray[np.bool_] | None = None) -> Dataset:
    pool = np.zeros(len(y), dtype=bool) if pool is None else pool
    x = np.zeros((len(y), 1))
    return Dataset(name="toy", x=x, y=y, box=Box.uniform(1), sizes=sizes, test_pool=pool, checksum="0" * 32, group=group)


def _heavy(n_groups: int, seed: int = 0) -> tuple[Ints, Ints]:
    """Groups of one class each, a few of them large."""
    random = np.random.default_rng(seed)
    sizes = np.minimum(random.zipf(1.8, n_groups), 60)
    group = np.repeat(np.arange(n_groups), sizes)
    label = np.where(random.random(n_groups) < 0.4, 1, 0)
    order = random.permutation(len(group))
    return group[order], label[group[order]]


def _parts(split: Split) -> dict[str, Ints]:
    return vars(split)


@pytest.mark.parametrize("seed", range(20))
def test_no_group_stands_in_two_parts_and_sizes_are_exact(seed: int) -> None:
    group, y = _heavy(400)
    sizes = Sizes(target=250, surrogate=250, validation=100, test=200)
    parts = _parts(make_split(_data(group, y, sizes), seed=seed))
    assert {name: len(rows) for name, rows in parts.items()} == {
        "target": 250,
        "surrogate": 250,
        "validation": 100,
        "test": 200,
    }
    seen: list[set[int]] = [set(group[rows].tolist()) for rows in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    for rows in parts.values():
        assert abs((y[rows] == 1).mean() - (y == 1).mean()) < 0.12  # what was cut from large groups shifts shares a little


def test_groups_of_ten_classes_stay_in_one_part() -> None:
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(600), random.integers(1, 4, 600))
    y = (group * 7) % 10
    parts = _parts(make_split(_data(group, y, Sizes(target=200, surrogate=200, validation=50, test=150)), seed=2))
    assert [len(rows) for rows in parts.values()] == [200, 200, 50, 150]
    seen = [set(group[rows].tolist()) for rows in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    for rows in parts.values():
        assert np.bincount(y[rows], minlength=10).min() >= 1


def test_every_group_is_as_likely_to_come_first() -> None:
    # One group of 50 rows among 50 single rows: by rows it would hold 50% of the first places, by groups about 2%.
    group = np.concatenate([np.zeros(50, dtype=np.int64), np.arange(1, 51)])
    y = np.where(np.arange(100) % 2, 1, 0)
    data = _data(group, y, Sizes(target=10, surrogate=10, test=10))
    held = [np.any(group[make_split(data, seed=s).test] == 0) for s in range(100)]
    assert sum(held) < 40  # 10 of 51 groups: 20 expected, standard deviation 4


def test_all_rows_their_own_group_gives_stratified_disjoint_parts() -> None:
    y = np.where(np.arange(100) < 30, 1, 0)
    data = _data(np.arange(100), y, Sizes(validation=20, test=20))
    parts = _parts(make_split(data, seed=1))
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(100))
    assert [(y[rows] == 1).sum() for rows in parts.values()] == [9, 9, 6, 6]


def test_test_pool_and_training_share_no_group() -> None:
    group = np.repeat(np.arange(40), 3)
    y = np.where(group % 2, 1, 0)
    pool = np.arange(120) % 3 == 0  # every group straddles the pool
    data = _data(group, y, Sizes(target=20, surrogate=20, test=15), pool)
    parts = _parts(make_split(data, seed=0))
    assert pool[parts["test"]].all()
    assert not pool[parts["target"]].any()
    assert not set(group[parts["test"]]) & set(group[np.concatenate([parts["target"], parts["surrogate"]])])


def test_parts_that_do_not_fit_are_refused_with_the_reason() -> None:
    group = np.array([0] * 9 + [1] * 9)
    y = np.array([1] * 9 + [0] * 9)
    # 4 test points cut both groups: nothing is left, although 14 rows are.
    with pytest.raises(UserError, match=r"split\.target.*at most 0 .*equal rows stay in one part"):
        make_split(_data(group, y, Sizes(target=5, surrogate=5, test=4)), seed=0)


def test_open_sizes_share_what_groups_leave() -> None:
    group, y = _heavy(300, seed=1)
    split = make_split(_data(group, y, Sizes(test=50)), seed=3)
    assert len(split.target) >= len(split.surrogate) > 0.7 * len(split.target)
    assert not set(group[split.target]) & set(group[split.surrogate])


@pytest.mark.parametrize("grouped", [True, False])
def test_apart_drops_rows_and_their_groups(grouped: bool) -> None:
    data = _data(np.array([0, 0, 1, 1, 2, 3]) if grouped else None, np.array([1, 1, 0, 0, 1, 0]), Sizes(test=2))
    expected = [5, 4] if grouped else [5, 4, 2]
    assert apart(data, np.array([5, 4, 2, 0]), np.array([0, 3])).tolist() == expected


def test_sample_of_one_class() -> None:
    y = np.where(np.arange(50) % 5 == 0, 1, 0)
    data = _data(None, y, Sizes(test=2))
    rows = np.arange(5, 50)
    drawn = sample_class(data, rows, label=1, size=4, seed=0)
    assert len(set(drawn.tolist())) == 4
    assert (y[drawn] == 1).all()
    assert np.isin(drawn, rows).all()
    assert drawn.tolist() == sample_class(data, rows, label=1, size=4, seed=0).tolist()
    assert len({tuple(sample_class(data, rows, label=1, size=4, seed=s)) for s in range(10)}) > 1
    for seed in range(10):  # all there are, each once: drawn without replacement, in ascending order
        assert sample_class(data, rows, label=1, size=9, seed=seed).tolist() == np.flatnonzero(y == 1)[1:].tolist()
    with pytest.raises(UserError, match=r"from 1 to 9 .*got 10"):
        sample_class(data, rows, label=1, size=10, seed=0)
    with pytest.raises(UserError, match=r"those of class yes\), got 10"):
        sample_class(replace(data, class_names=("no", "yes")), rows, label=1, size=10, seed=0)
