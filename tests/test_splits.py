"""Splits of every shipped data set that is split by rows (groups: test_groups.py): disjoint, stratified, repeatable."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer_exp.data import splits
from transfer_exp.data.arrays import load_arrays
from transfer_exp.data.digits import load_digits
from transfer_exp.data.mnist import load_mnist
from transfer_exp.data.splits import class_counts, make_split
from transfer_exp.data.synthetic import load_synthetic
from transfer_exp.types import Box, Dataset, Ints, Sizes, Split, UserError

FRACTIONS = (0.05, 0.2, 0.5, 1.0)


def digits89() -> Dataset:
    return load_digits(name="digits89", classes=[8, 9], split=Sizes(test=100))


def arrays(folder: Path) -> Dataset:
    random = np.random.default_rng(0)
    np.savez(folder / "own.npz", X=random.random((150, 3)), y=random.random(150) < 0.3)
    return load_arrays(name="arrays", file=str(folder / "own.npz"), split=Sizes(validation=20, test=40))


def synthetic() -> Dataset:
    sizes = Sizes(target=200, surrogate=150, validation=60, test=90)
    return load_synthetic(name="synthetic", split=sizes, n_points=600, n_features=50, malware_share=0.1)


@cache
def mnist89() -> Dataset:
    return load_mnist(name="mnist89", folder=os.environ["TRANSFER_EXP_DATA"], classes=[8, 9], split=Sizes(test=1000))


LOADERS: dict[str, Callable[..., Dataset]] = {
    "digits89": digits89,
    "arrays": arrays,
    "synthetic": synthetic,
    "mnist89": mnist89,
}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.data) if name == "mnist89" else name for name in LOADERS])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    words = [tmp_path] if request.param == "arrays" else []
    return LOADERS[request.param](*words)


def parts(split: Split) -> dict[str, Any]:
    return {name: rows for name, rows in vars(split).items() if len(rows)}


def test_no_row_stands_in_two_parts(data: Dataset) -> None:
    for seed, fraction in itertools.product(range(5), (0.2, 1.0)):
        found = parts(make_split(data, seed=seed, surrogate_fraction=fraction))
        assert {"target", "surrogate", "test"} <= set(found)
        rows = np.concatenate(list(found.values()))
        assert len(np.unique(rows)) == len(rows)
        assert rows.min() >= 0
        assert rows.max() < len(data.y)


def test_every_part_has_the_shares_of_its_classes(data: Dataset) -> None:
    pool = data.test_pool
    for name, rows in parts(make_split(data, seed=3)).items():
        source = data.y[pool] if pool.any() and name == "test" else data.y[~pool]
        share = (source == 1).mean()
        assert abs((data.y[rows] == 1).sum() - share * len(rows)) <= 2  # one by rounding, one passed on by earlier parts


def test_sizes_are_those_asked_for(data: Dataset) -> None:
    split, sizes = make_split(data, seed=0), data.sizes
    assert (len(split.test), len(split.validation)) == (sizes.test, sizes.validation)
    left = int((~data.test_pool).sum()) - sizes.validation - (0 if data.test_pool.any() else sizes.test)
    half = left // 2
    assert len(split.target) == (half if sizes.target is None else sizes.target)
    assert len(split.surrogate) == (half if sizes.surrogate is None else sizes.surrogate)


def test_a_split_is_a_function_of_its_seed(data: Dataset) -> None:
    first = make_split(data, seed=0)
    splits._recent.clear()  # another process
    again = make_split(data, seed=0)
    for one, other in zip(vars(first).values(), vars(again).values(), strict=True):
        assert np.array_equal(one, other)
    for name in ("target", "surrogate", "test"):
        drawn = {tuple(sorted(getattr(make_split(data, seed=seed), name))) for seed in range(4)}
        assert len(drawn) == 4


def test_a_split_that_is_asked_for_again_is_nobody_elses() -> None:
    whole = digits89()
    first = make_split(whole, seed=0)
    expected = first.target.copy()
    first.target[:] = 0
    assert np.array_equal(make_split(whole, seed=0).target, expected)
    for change in ({"y": 1 - whole.y}, {"test_pool": np.arange(len(whole.y)) < 150}, {"sizes": Sizes(test=101)}):
        other = replace(whole, **change)
        after_the_first = make_split(other, seed=0)
        splits._recent.clear()
        alone = make_split(other, seed=0)
        assert all(np.array_equal(rows, getattr(alone, part)) for part, rows in vars(after_the_first).items())
        make_split(whole, seed=0)


def test_smaller_fractions_of_the_surrogate_are_subsets_and_change_nothing_else(data: Dataset) -> None:
    whole = make_split(data, seed=1)
    smaller: set[int] = set()
    for fraction in FRACTIONS:
        split = make_split(data, seed=1, surrogate_fraction=fraction)
        assert len(split.surrogate) == round(fraction * len(whole.surrogate))
        assert smaller < set(split.surrogate)
        assert abs((data.y[split.surrogate] == 1).mean() - (data.y[whole.surrogate] == 1).mean()) <= 1 / len(split.surrogate)
        for name in ("target", "validation", "test"):
            assert np.array_equal(getattr(split, name), getattr(whole, name))
        smaller = set(split.surrogate)


def test_one_open_size_takes_what_the_other_leaves() -> None:
    whole = digits89()
    left = len(whole.y) - 100
    for sizes in (Sizes(target=50, test=100), Sizes(surrogate=left - 50, test=100)):
        split = make_split(replace(whole, sizes=sizes), seed=0)
        assert (len(split.target), len(split.surrogate)) == (50, left - 50)


def test_every_row_is_as_likely_in_every_part() -> None:
    """200 splits: a share of 0.28 for the test part, standard deviation 0.032 a row."""
    whole = digits89()
    counts = np.zeros(len(whole.y))
    for seed in range(200):
        counts[make_split(whole, seed=seed).test] += 1
    assert np.abs(counts / 200 - 100 / len(whole.y)).max() < 5 * 0.032


@pytest.mark.parametrize("rare", [1, 0])
@pytest.mark.parametrize(("n_rare", "fraction"), [(6, 1.0), (4, 1.0), (4, 0.2)])
def test_rare_classes_are_in_every_part(rare: int, n_rare: int, fraction: float) -> None:
    """4 of 200 are 0.2 of a part of 10: by rounding alone, no part would have any."""
    y = np.where(np.arange(200) < n_rare, rare, 1 - rare)
    whole = toy(y, Sizes(target=10, surrogate=10, validation=10, test=10))
    for seed in range(3):
        found = parts(make_split(whole, seed=seed, surrogate_fraction=fraction))
        assert {name: len(rows) for name, rows in found.items()} == {**dict.fromkeys(found, 10), "surrogate": 10 * fraction}
        assert len(found) == 4
        for rows in found.values():
            assert 1 <= (y[rows] == rare).sum() < len(rows)


def toy(y: Ints, sizes: Sizes) -> Dataset:
    pool = np.zeros(len(y), dtype=bool)
    return Dataset(
        name="toy", x=np.zeros((len(y), 1)), y=y, box=Box.uniform(1), sizes=sizes, test_pool=pool, checksum="0" * 32
    )


def test_no_other_counts_of_classes_are_nearer_to_the_exact_shares() -> None:
    """Against all counts that have a point of each class, where so many are asked for: in sum, in squares, at most."""
    for n_classes, most in ((2, 6), (3, 4), (4, 2)):
        for available in itertools.product(range(most + 1), repeat=n_classes):
            for size in range(sum(available) + 1):
                share = [Fraction(size * n, max(sum(available), 1)) for n in available]
                least = [min(n, 1) if size >= sum(map(bool, available)) else 0 for n in available]
                choices = [range(low, high + 1) for low, high in zip(least, available, strict=True)]
                others = [one for one in itertools.product(*choices) if sum(one) == size]
                counts = tuple(class_counts(np.array(available), size).tolist())
                assert counts in others
                for norm in (sum, lambda gaps: sum(gap**2 for gap in gaps), max):
                    away = [norm([abs(n - s) for n, s in zip(one, share, strict=True)]) for one in (counts, *others)]
                    assert away[0] == min(away)


def test_of_two_classes_the_last_has_its_share_rounded_half_to_even() -> None:
    for n_zero, n_one in itertools.product(range(1, 12), repeat=2):
        for size in range(2, n_zero + n_one + 1):
            expected = min(max(round(Fraction(size * n_one, n_zero + n_one)), 1), size - 1)
            assert class_counts(np.array([n_zero, n_one]), size)[1] == expected


def test_ten_classes_are_in_every_part_and_fraction() -> None:
    """Classes from 8 to 80 points; the parts are large enough for one of each."""
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(10), np.arange(8, 88, 8)))
    data = toy(y, Sizes(target=100, surrogate=100, validation=10, test=30))
    share = np.bincount(y) / len(y)
    for seed in range(5):
        whole = make_split(data, seed=seed)
        for part, rows in vars(whole).items():
            counts = np.bincount(y[rows], minlength=10)
            assert counts.min() >= 1
            if part != "validation":  # of so few, each class has one
                assert np.abs(counts - share * len(rows)).max() < 2
        smaller: set[int] = set()
        for fraction in (0.1, 0.3, 1.0):
            rows = make_split(data, seed=seed, surrogate_fraction=fraction).surrogate
            assert smaller < set(rows)
            assert set(y[rows]) == set(range(10))
            smaller = set(rows)


def test_parts_that_cannot_hold_each_class_are_refused() -> None:
    y = np.arange(90) % 3
    for sizes, part in (
        (Sizes(test=2), "test"),
        (Sizes(validation=1, test=10), "validation"),
        (Sizes(target=2, surrogate=10, test=10), "target"),
        (Sizes(target=10, surrogate=2, test=10), "surrogate"),
    ):
        with pytest.raises(UserError, match=rf"dataset\.split\.{part}: expected at least 3 points \(one of each class\)"):
            make_split(toy(y, sizes), seed=0)
    with pytest.raises(UserError, match=r"expected at least 3 of the 40 surrogate points, got 0\.05 of them"):
        make_split(toy(y, Sizes(test=10)), seed=0, surrogate_fraction=0.05)


def test_a_class_with_fewer_points_than_parts_is_refused_by_name() -> None:
    y = np.append(np.arange(90) % 2, [2, 2])
    data = replace(toy(y, Sizes(test=10)), class_names=("cat", "dog", "yak"))
    with pytest.raises(UserError) as refused:
        make_split(data, seed=0)
    assert str(refused.value) == (
        "dataset.split.surrogate: expected points of each of the 3 classes of toy, got none of class yak (2 points in all); "
        "ask for smaller parts, or leave that class out"
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (Sizes(test=355), r"dataset\.split\.test: expected at most 354 points of digits89 .*got 355"),
        (Sizes(validation=300, test=100), r"dataset\.split\.validation: expected at most 254 .*got 300"),
        (Sizes(target=200, surrogate=100, test=100), r"target \+ surrogate: expected at most 254 .*got 300"),
        (Sizes(target=254, test=100), r"target \+ surrogate: expected at most 254 "),
        (Sizes(surrogate=300, test=100), r"target \+ surrogate: expected at most 254 "),
        (Sizes(test=352), r"target \+ surrogate: expected at most 2 "),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: Sizes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_split(replace(digits89(), sizes=sizes), seed=0)


@pytest.mark.parametrize("options", [{"test": 1}, {"test": 0}, {"target": 1, "test": 5}, {"validation": -1, "test": 5}])
def test_sizes_that_are_none_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"dataset\.split\.\w+: expected at least [02] points, got"):
        Sizes(**options)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_fractions_out_of_range_are_refused(fraction: float) -> None:
    with pytest.raises(UserError, match=r"surrogate_fraction: expected a number in \(0, 1\], got"):
        make_split(digits89(), seed=0, surrogate_fraction=fraction)


def test_a_fraction_of_less_than_two_points_is_refused() -> None:
    with pytest.raises(UserError, match=r"expected at least 2 of the 127 surrogate points, got 0\.01 of them"):
        make_split(digits89(), seed=0, surrogate_fraction=0.01)
