"""What is probably not meant is said, in one line a run, and nothing is said of what is meant."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.splits import make_split
from transfer_exp.learners import RBFSVM, Ridge
from transfer_exp.optim.balls import ball
from transfer_exp.scenarios import Combination, remarks, run
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Floats, Grid, Sizes


def dataset(x: Any, **changes: Any) -> Dataset:
    """Points of two classes, taking turns."""
    n, d = x.shape
    given = {"box": Box(lower=np.full(d, -50.0), upper=np.full(d, 50.0)), "sizes": Sizes(test=20, validation=20), **changes}
    y = np.tile([0, 1], n // 2)
    return Dataset(
        name="own",
        x=x,
        y=y,
        test_pool=np.zeros(n, dtype=bool),
        checksum=str(float(x.sum())),
        class_names=("a", "b"),
        **given,
    )


def apart(distance: float, width: float = 0.1) -> Floats:
    """Classes at this distance along the first of three axes."""
    x = np.random.default_rng(0).random((100, 3)) * width
    x[1::2, 0] += distance
    return x


def said(caplog: pytest.LogCaptureFixture, folder: Path, data: Dataset, **changes: Any) -> list[str]:
    """Warnings of a run."""
    grid = Grid(grid=(0, 1, 8), reference=8, shown=(8,))
    usual = {"surrogate": Ridge(alpha=1e-3, name="near"), "target": Ridge(alpha=1e-2, name="far"), "attack": Evasion()}
    combination = Combination(dataset=data, epsilon=changes.pop("epsilon", grid), n_variability=2, **{**usual, **changes})
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="transfer_exp.scenarios.remarks"):
        run(combination, Store(folder))
    return [record.getMessage() for record in caplog.records if record.name == "transfer_exp.scenarios.remarks"]


def test_nothing_is_said_of_a_usual_run(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    assert said(caplog, tmp_path, dataset(apart(4))) == []


def test_a_grid_that_moves_no_point_is_told_with_one_that_does(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    data = dataset(apart(40), sizes=Sizes(test=20))
    lines = said(caplog, tmp_path, data)
    assert [line.partition(";")[0] for line in lines] == [
        f"no point changes sides on {role} up to epsilon 8" for role in ("surrogate near", "target far")
    ]
    assert (
        "the median distance to the other class is 40 in l2; choose larger epsilons, epsilon.grid=[0,10,20,40]" in lines[0]
    )
    assert said(caplog, tmp_path, data, epsilon=Grid(grid=(0, 10, 20, 40), reference=20, shown=(20,))) == []


@pytest.mark.parametrize(
    ("largest", "clean", "after", "message"),
    [
        (
            5,
            [0, 0, 1, 1],
            0,
            "up to epsilon 5; the median distance to the other class is 3.5 in l1; choose a smoother model",
        ),
        (
            2,
            [0, 0, 1, 1],
            0,
            "up to epsilon 2; the median distance to the other class is 3.5 in l1; choose larger epsilons, ",
        ),
        (5, [0, 1, 1, 1], 0.25, "up to epsilon 5; "),  # one is wrong before
        (5, [0, 1, 1, 1], 0.5, None),
        (5, [1, 1, 1, 1], 0.5, None),  # constant
        (5, [1, 1, 0, 0], 1, None),  # there is nothing left to move
        (0, [0, 0, 1, 1], 0, None),
    ],
)
def test_a_model_on_which_nothing_moves(largest: float, clean: list[int], after: float, message: str | None) -> None:
    y = np.array([0, 0, 1, 1])
    points = np.array([[0.0, 0], [0, 1], [2, 2], [5, 3]])  # to the other class in l1: 4, 3, 3 and 7
    remark = remarks.nothing_moved(
        "target",
        RBFSVM(C=1, gamma=9, name="rbf"),
        before=np.array(clean),
        classes=y,
        largest_error=after,
        largest=largest,
        ball=ball("l1"),
        points=points,
        labels=y,
    )
    assert remark is None if message is None else message in str(remark)


def test_a_kernel_that_is_too_narrow_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    narrow = RBFSVM(C=1, gamma=1e6, name="rbf")
    lines = said(caplog, tmp_path, dataset(apart(4)), surrogate=narrow, attack=Evasion(n_iter=2))
    (line,) = (line for line in lines if "surrogate" in line)
    assert line.startswith("surrogate rbf takes all 20 test points for class ")
    assert "(of an RBF SVM, a smaller gamma)" in line


@pytest.mark.parametrize("attack", [Evasion(n_iter=2), Poisoning(n_iter=1, n_starts=1)])
def test_a_classifier_of_one_class_is_told(attack: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    grid = Grid(grid=(0, 0.1), reference=0.1, shown=(0.1,))
    x = apart(4)
    x[:, 0] = np.random.default_rng(1).permutation(x[:, 0])
    y = np.where(np.arange(100) < 30, 1, 0)
    data = replace(dataset(x), y=y)
    lines = said(caplog, tmp_path, data, surrogate=Ridge(alpha=1e9, name="near"), attack=attack, epsilon=grid)
    start = (
        "surrogate near takes all 20 test points for class a, so its errors say nothing about attacks; scale the features"
    )
    assert sum(line.startswith(start) for line in lines) == 1
    assert not any("changes sides on surrogate" in line for line in lines)


def test_one_who_scales_is_not_told_to() -> None:
    scaled = Ridge(alpha=1e9, scale="minmax", name="near")
    line = str(remarks.constant("target", scaled, np.ones(5, dtype=np.int64), ("a", "b")))
    assert line.startswith(
        "target near takes all 5 test points for class b, so its errors say nothing about attacks; choose"
    )
    assert remarks.constant("target", scaled, np.array([1, 0]), ("a", "b")) is None


@pytest.mark.parametrize(("value", "text"), [(460.4, "460"), (0.012345, "0.012"), (1234567, "1.2e+06"), (3, "3")])
def test_distances_are_short(value: float, text: str) -> None:
    assert remarks._short(value) == text


def test_a_detector_that_flags_nothing_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    x = np.zeros((100, 4))
    x[:, 1] = np.arange(100) // 2 % 2  # the same in both classes
    data = dataset(sp.csr_array(x), box=Box.uniform(4))
    grid = Grid(grid=(0, 1), reference=1, shown=(1,))
    attack = EvasionAdd(n_attacked=None, false_alarm_rate=0.2)
    lines = said(caplog, tmp_path, data, attack=attack, epsilon=grid)
    for role in ("surrogate near", "target far"):
        assert sum(line.startswith(f"{role} takes all 20 test points for class a") for line in lines) == 1


@pytest.mark.parametrize(
    ("largest", "norm", "width", "message"),
    [
        (8, "linf", 1, "epsilon 8: the whole box is only 1 wide in linf"),
        (8, "l2", 1, "epsilon 8: the whole box is only 8 wide in l2"),  # the corner of 64 features
        (7.9, "l2", 1, None),
        (64, "l1", 1, "epsilon 64: the whole box is only 64 wide in l1"),
        (63, "l1", 1, None),
        (0.03, "linf", 255, "epsilons up to 0.03: the features' median range is 255"),
        (0.3, "linf", 255, None),
        (0.03, "linf", 1, None),
        (8, "linf", 255, None),
        (0, "l2", 1, None),
    ],
)
def test_epsilons_that_look_like_another_unit(largest: float, norm: str, width: float, message: str | None) -> None:
    upper = np.full(67, width)
    upper[64:] = 0  # features that cannot move
    line = remarks.epsilons_of_another_unit(largest, ball(norm), Box(lower=np.zeros(67), upper=upper))
    assert line is None if message is None else str(line).startswith(message)
    assert remarks.epsilons_of_another_unit(1, ball(norm), Box.uniform(3, 2, 2)) is None


def test_one_feature_of_a_large_unit_is_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    assert remarks.epsilons_of_another_unit(2, ball("l2"), Box(lower=np.zeros(5), upper=np.array([1, 1, 1, 1, 1e5]))) is None


@pytest.mark.parametrize("sparse", [False, True])
def test_equal_rows_on_both_sides_are_counted(sparse: bool) -> None:
    x = apart(4)
    x[50:] = x[:50]
    data = dataset(sp.csr_array(x) if sparse else x)
    split = make_split(data, seed=0)
    target, surrogate, held_out = (set(map(tuple, x[rows])) for rows in (split.target, split.surrogate, split.test))
    held_out |= set(map(tuple, x[split.validation]))
    n_held_out = sum(tuple(row) in target | surrogate for row in x[np.concatenate([split.test, split.validation])])
    n_shared = sum(tuple(row) in target for row in x[split.surrogate])
    assert n_held_out > 5
    assert n_shared > 2
    line = remarks.equal_rows_apart(data, split)
    assert str(line).startswith(
        f"own: {n_held_out} of 40 test and validation points equal a training point, and {n_shared} of 30 surrogate points"
    )
    grouped = replace(data, group=np.tile(np.arange(50), 2))
    assert remarks.equal_rows_apart(grouped, make_split(grouped, seed=0)) is None


def test_equal_rows_are_told_once_by_a_run_of_each_kind(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    x = apart(4)
    x[50:] = x[:50]
    grid = Grid(grid=(0, 0.1), reference=0.1, shown=(0.1,))
    for attack in (Evasion(n_iter=2), Poisoning(n_iter=1, n_starts=1)):
        lines = said(caplog, tmp_path, dataset(x), attack=attack, epsilon=grid)
        assert sum("equal a training point" in line for line in lines) == 1


def test_a_fit_that_gave_up_is_in_the_record(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transfer_exp.learners.svm.MAX_ITER", 1)
    given: dict[str, Any] = {
        "dataset": dataset(apart(0.05)),
        "surrogate": RBFSVM(C=100, gamma=1, name="rbf"),
        "target": Ridge(alpha=1),
        "attack": Evasion(n_iter=2),
        "epsilon": Grid(grid=(0, 1), reference=1, shown=(1,)),
        "n_variability": 2,
    }
    first, again = (run(Combination(**given), Store(tmp_path)).metrics for _ in range(2))  # the second from the store
    assert first["health/unconverged_fits"] == again["health/unconverged_fits"] == 1
    assert (
        "health/unconverged_fits" not in run(Combination(**{**given, "surrogate": given["target"]}), Store(tmp_path)).metrics
    )
