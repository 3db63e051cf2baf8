"""The classes of a data set: which are chosen, in which order; what a data set refuses; images kept as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transfer_exp.data.classes import chosen_classes, restrict
from transfer_exp.data.groups import equal_rows
from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Pixels, Sizes, UserError, dense

ANIMALS = ("cat", "dog", "yak", "owl")


@pytest.mark.parametrize(
    ("names", "classes", "expected"),
    [
        (ANIMALS, None, [0, 1, 2, 3]),
        (ANIMALS, ["yak", "cat"], [2, 0]),
        (ANIMALS, [3, "dog", 0], [3, 1, 0]),
        (("3", "5", "7"), [5, 3], [1, 0]),  # labels, not places
        (("3", "5", "7"), ["7", 3], [2, 0]),
        (("-1", "1"), [1, -1], [1, 0]),
        (("b", "1"), ["1", "b"], [1, 0]),  # a name comes before a number
    ],
)
def test_classes_are_chosen_by_name_or_number(names: tuple[str, ...], classes: Any, expected: list[int]) -> None:
    assert chosen_classes(classes, names) == expected


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (ANIMALS, ["cat", "cow"], "expected some of cat, dog, yak, owl, got cow"),
        (ANIMALS, [0, 4], "expected some of cat, dog, yak, owl, got 4"),
        (("3", "5", "7"), [0, 1], "expected some of 3, 5, 7, got 0"),
        (tuple(map(str, range(100))), [7, 100], r"expected some of 0, 1, .*, 11, \.\.\., got 100"),
        (ANIMALS, ["cat"], r"expected two or more different classes, got \['cat'\]"),
        (ANIMALS, ["cat", "cat"], "expected two or more different classes"),
        (ANIMALS, ["cat", 0], "expected two or more different classes"),
        (ANIMALS, [], r"expected two or more different classes, got \[\]"),
        (("only",), None, r"expected two or more different classes, got \['only'\]"),
    ],
)
def test_other_choices_are_refused(names: tuple[str, ...], classes: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^dataset\.classes: {message}"):
        chosen_classes(classes, names)


def test_a_restriction_keeps_the_rows_of_the_classes_and_numbers_them_in_its_order() -> None:
    labels = np.array([0, 3, 2, 1, 3, 2, 0], dtype=np.uint8)
    kept, y, names = restrict(labels, ANIMALS, ["owl", "cat"])
    assert kept.tolist() == [True, True, False, False, True, False, True]
    assert (y.tolist(), y.dtype, names) == ([1, 0, 0, 1], np.int64, ("owl", "cat"))


def made(y: Any, **options: Any) -> Dataset:
    x = np.zeros((4, 6))
    fixed = {"box": Box.uniform(6), "sizes": Sizes(test=2), "test_pool": np.zeros(4, dtype=bool), "checksum": "0"}
    return Dataset(**{"name": "toy", "x": x, "y": np.asarray(y), **fixed, **options})


def test_classes_without_names_are_called_by_their_numbers() -> None:
    data = made([0, 2, 1, 0])
    assert (data.class_names, data.n_classes) == (("0", "1", "2"), 3)


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        ([-1, 1, 1, -1], {}, r"labels that are class indices 0, 1, \.\.\., got \[-1, 1\]; number the classes from 0"),
        ([0.0, 1.0, 1.0, 0.0], {}, r"labels that are class indices 0, 1, \.\.\., got \[0\.0, 1\.0\]"),
        ([0, 3, 1, 0], {}, "points of each of its 4 classes, got none of class 2; leave it out, or number"),
        ([0, 1, 1, 0], {"class_names": ("a", "b", "c")}, "points of each of its 3 classes, got none of class c"),
        ([0, 0, 0, 0], {}, r"two or more different classes, got \['0'\]"),
        ([0, 1, 2, 0], {"class_names": ("a", "b")}, "a name for each class, got 2 names and labels up to 2"),
        ([0, 1, 1, 0], {"class_names": ("a", "a")}, r"two or more different classes, got \['a', 'a'\]"),
        ([0, 1, 1], {}, r"one label for each of 4 points, got labels of shape \(3,\)"),
        ([0, 1, 1, 0], {"shape": (2, 2)}, r"a shape of 6 features, got \(2, 2\)"),
    ],
)
def test_a_data_set_refuses_what_does_not_fit(y: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^toy: expected {message}"):
        made(y, **options)


def test_pixels_are_the_images_over_255_however_they_are_asked_for() -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, 12), dtype=np.uint8)
    values[7] = values[3]
    pixels, whole = Pixels(values=values), values.astype(np.float64) / 255
    assert (pixels.shape, len(pixels)) == ((30, 12), 30)
    for key in (3, slice(2, 9), [5, 1, 1], np.arange(30) % 2 == 0, (slice(None), [4, 2])):
        assert pixels[key].dtype == np.float64
        assert np.array_equal(pixels[key], whole[key])
    assert np.array_equal(dense(pixels), whole)
    assert np.array_equal(equal_rows(pixels), equal_rows(whole))
    same, other = Pixels(values=values.copy()), Pixels(values=values + np.uint8(1))
    assert signature(x=pixels) == signature(x=same) != signature(x=other)
