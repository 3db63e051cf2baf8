"""Properties that hold for whatever one draws: projections, splits, signatures, the grid of epsilons."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from transfer_exp.data.splits import make_split
from transfer_exp.optim.balls import BALLS, ball
from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Sizes, Split, UserError, check_grid

ORDER = {"l1": 1, "l2": 2, "linf": np.inf}


# Projections: sets are drawn as (norm, epsilon, low, high), points as offsets from the centre.


def project(point: torch.Tensor, *, norm: str, **where: Any) -> torch.Tensor:
    return ball(norm).project(point, **where)


def farthest(direction: torch.Tensor, *, norm: str, **where: Any) -> torch.Tensor:
    return ball(norm).farthest(direction, **where)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.one_of(st.floats(low, high, allow_subnormal=False), st.sampled_from([low, high, 0.0]))


@st.composite
def sets(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int]]:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5)))
    low, high = (torch.tensor(draw(hnp.arrays(float, shape, elements=floats(*ends)))) for ends in ((-2, 0), (0, 2)))
    epsilon = draw(hnp.arrays(float, shape[0], elements=floats(0, 5)))
    return {"norm": draw(st.sampled_from(list(ORDER))), "epsilon": torch.tensor(epsilon), "low": low, "high": high}, shape


def points(draw: st.DrawFn, shape: tuple[int, int], reach: float = 100) -> torch.Tensor:
    return torch.tensor(draw(hnp.arrays(float, shape, elements=floats(-reach, reach))))


def feasible(draw: st.DrawFn, where: dict[str, Any], shape: tuple[int, int]) -> torch.Tensor:
    """A point of the box, drawn in towards the centre as far as the ball asks."""
    share = torch.tensor(draw(hnp.arrays(float, shape, elements=st.floats(0, 1, allow_subnormal=False))))
    inside = where["low"] + share * (where["high"] - where["low"])
    length = torch.linalg.vector_norm(inside, ORDER[where["norm"]], dim=1)
    return inside * torch.where(length > where["epsilon"], where["epsilon"] / length.clamp(min=1e-300), 1.0)[:, None]


def assert_feasible(point: torch.Tensor, where: dict[str, Any]) -> None:
    assert (point >= where["low"]).all()
    assert (point <= where["high"]).all()
    assert (torch.linalg.vector_norm(point, ORDER[where["norm"]], dim=1) <= where["epsilon"] * (1 + 1e-12) + 1e-150).all()


@given(data=st.data(), drawn=sets())
def test_a_projection_is_feasible_and_stays(data: st.DataObject, drawn: Any) -> None:
    where, shape = drawn
    once = project(points(data.draw, shape), **where)
    assert_feasible(once, where)
    assert torch.allclose(project(once, **where), once, rtol=1e-12, atol=1e-14)


@given(data=st.data(), drawn=sets())
def test_a_projection_is_nearest_and_brings_points_no_farther_apart(data: st.DataObject, drawn: Any) -> None:
    where, shape = drawn
    one, other = points(data.draw, shape), points(data.draw, shape)
    near, near_other = project(one, **where), project(other, **where)
    slack = 1e-9 * (1 + one.abs().amax() + other.abs().amax())
    assert ((near - near_other).norm(dim=1) <= (one - other).norm(dim=1) + slack).all()
    third = feasible(data.draw, where, shape)
    assert ((near - one).norm(dim=1) <= (third - one).norm(dim=1) + slack).all()


@given(data=st.data(), drawn=sets())
def test_the_farthest_point_supports_the_set(data: st.DataObject, drawn: Any) -> None:
    where, shape = drawn
    direction, other = points(data.draw, shape), feasible(data.draw, where, shape)
    best = farthest(direction, **where)
    assert_feasible(best, where)
    slack = 1e-9 * (1 + direction.abs().amax())
    assert ((direction * best).sum(1) >= (direction * other).sum(1) - slack).all()
    assert ((direction * best).sum(1) >= (direction * project(direction, **where)).sum(1) - slack).all()


# Splits


@st.composite
def datasets(draw: st.DrawFn, *, grouped: bool) -> Dataset:
    n = draw(st.integers(40, 80))  # with parts that mostly fit: what is refused is drawn again
    y = np.isin(np.arange(n), draw(st.permutations(range(n)))[: draw(st.integers(1, n - 1))])
    part = st.integers(4, n // 8)
    # A target that takes what a surrogate's size leaves is refused where groups are torn off it.
    target, surrogate = draw(st.tuples(part, part) | st.tuples(part, st.none()) | st.just((None, None)))
    sizes = Sizes(target=target, surrogate=surrogate, validation=draw(st.just(0) | part), test=draw(part))
    n_pool = draw(st.sampled_from([0, n // 3]))
    pool = np.isin(np.arange(n), draw(st.permutations(range(n)))[:n_pool])
    group = np.array(draw(st.permutations(range(n)))) // draw(st.integers(1, 4)) if grouped else None
    return Dataset(
        name="drawn", x=np.zeros((n, 1)), y=y.astype(np.int64), box=Box.uniform(1), sizes=sizes, test_pool=pool,
        checksum="", group=group,
    )  # fmt: skip


def split_or_refused(data: Dataset, **options: Any) -> Split:
    try:
        return make_split(data, **options)
    except UserError:
        assume(False)
        raise


FRACTION = st.floats(0.5, 1)


@settings(max_examples=30)
@given(data=datasets(grouped=False) | datasets(grouped=True), seed=st.integers(0, 2**31), fraction=FRACTION)
def test_parts_of_a_split_share_neither_rows_nor_groups(data: Dataset, seed: int, fraction: float) -> None:
    parts = vars(split_or_refused(data, seed=seed, surrogate_fraction=fraction))
    owners = np.arange(len(data.y)) if data.group is None else data.group
    rows = np.concatenate(list(parts.values()))
    assert len(np.unique(rows)) == len(rows)
    owned = [np.unique(owners[own]) for own in parts.values()]
    assert len(np.unique(np.concatenate(owned))) == sum(map(len, owned))
    if data.test_pool.any():
        assert data.test_pool[parts["test"]].all()
        assert not data.test_pool[np.concatenate([parts[name] for name in ("target", "surrogate", "validation")])].any()


@settings(max_examples=30)
@given(data=datasets(grouped=False) | datasets(grouped=True), seed=st.integers(0, 2**31), fraction=FRACTION)
def test_a_split_repeats_and_its_fraction_takes_from_the_surrogate_alone(data: Dataset, seed: int, fraction: float) -> None:
    split, again = (split_or_refused(data, seed=seed, surrogate_fraction=fraction) for _ in range(2))
    whole = split_or_refused(data, seed=seed)
    for name, rows in vars(split).items():
        assert np.array_equal(rows, getattr(again, name))
        if name != "surrogate":
            assert np.array_equal(rows, getattr(whole, name))
    assert set(split.surrogate) <= set(whole.surrogate)


@settings(max_examples=30)
@given(data=datasets(grouped=False), seed=st.integers(0, 2**31))
def test_a_part_has_the_size_asked_for_and_the_shares_of_what_it_is_drawn_from(data: Dataset, seed: int) -> None:
    split = split_or_refused(data, seed=seed)
    for name, rows in vars(split).items():
        asked = getattr(data.sizes, name)
        assert asked is None or len(rows) == asked
    source = data.y[data.test_pool] if data.test_pool.any() else data.y
    n_positive = int((data.y[split.test] == 1).sum())
    fair = (source == 1).mean() * data.sizes.test
    both = 0 < (source == 1).sum() < len(source)
    # Rounded; one of each class where there are two, even if its fair share rounds to none.
    assert abs(n_positive - fair) <= 0.5 + 1e-9 or (
        both and n_positive in (1, data.sizes.test - 1) and abs(n_positive - fair) < 1
    )


# Signatures

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8
)
PARTS = st.dictionaries(st.sampled_from("abcdef"), TREE, min_size=1, max_size=4)


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value with the keys of all its dictionaries in another order, and tuples for lists."""
    if isinstance(value, dict):
        items = [(key, shuffled(inner, order)) for key, inner in value.items()]
        order.shuffle(items)
        return dict(items)
    return tuple(shuffled(inner, order) for inner in value) if isinstance(value, list) else value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything that holds nothing else."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, inner in items for place in leaves(inner, (*path, key))]
    return found or [path]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    items = value.items() if isinstance(value, dict) else enumerate(value)
    changed = {key: replaced(inner, path[1:], new) if key == path[0] else inner for key, inner in items}
    return changed if isinstance(value, dict) else list(changed.values())


def at(value: Any, path: tuple[Any, ...]) -> Any:
    return at(value[path[0]], path[1:]) if path else value


@given(parts=PARTS, order=st.randoms(use_true_random=False))
def test_the_order_of_keys_never_counts(parts: dict[str, Any], order: random.Random) -> None:
    assert signature(**shuffled(parts, order)) == signature(**parts)


@given(parts=PARTS, new=LEAF, draw=st.data())
def test_every_leaf_counts(parts: dict[str, Any], new: Any, draw: st.DataObject) -> None:
    path = draw.draw(st.sampled_from(leaves(parts)))
    assume(repr(at(parts, path)) != repr(new))
    assert signature(**replaced(parts, path, new)) != signature(**parts)


# The grid of epsilons

NUMBER = st.floats() | st.integers(-5, 5) | st.integers()


@given(values=st.lists(NUMBER, max_size=5) | st.lists(NUMBER, max_size=5, unique=True).map(lambda v: sorted(v, key=float)))
@example(values=[10**400])
@example(values=[0, 0.0])
@example(values=[-0.0, 1])
def test_a_grid_is_taken_exactly_when_it_rises_from_zero_on(values: list[float]) -> None:
    good = bool(values)
    last = -1.0
    for value in values:
        as_float = math.inf if abs(value) >= 2**1024 else float(value)
        good = good and math.isfinite(as_float) and as_float >= 0 and value > last
        last = value
    if good:
        check_grid(values)
    else:
        with pytest.raises(
            UserError, match=r"epsilon\.grid: expected a strictly ascending list of finite numbers >= 0, got"
        ):
            check_grid(values)


@settings(max_examples=20)
@given(wrong=st.none() | st.text(max_size=3) | st.lists(st.integers(), max_size=1), place=st.integers(0, 2))
def test_a_grid_of_something_else_is_refused(wrong: Any, place: int) -> None:
    values: list[Any] = [0, 1, 2]
    values[place] = wrong
    with pytest.raises(UserError, match=r"epsilon\.grid: expected"):
        check_grid(values)


def test_convex_norms_are_all_drawn() -> None:
    assert {*ORDER, "l0"} == set(BALLS)
