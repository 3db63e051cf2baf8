"""Loaders whose data sets remember how they were made.

To add a data set: a file here with a function that returns a ``types.Dataset``, under ``@remembered``, and its choice in
conf/dataset. A loader of one's own may lie in any module: ``dataset._target_=my_module.load`` (docs/extending.md).
Arrays in a file and folders of images need none (``dataset=arrays``, ``dataset=image_folder``).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ParamSpec

import transfer_exp
from transfer_exp.signature import signature
from transfer_exp.types import Dataset

P = ParamSpec("P")


def remembered(load: Callable[P, Dataset]) -> Callable[P, Dataset]:
    """Decorate a function that makes a data set: its name and arguments become ``Dataset.made_by``, which MLflow records.

    A loader of one's own may have it, too; then a notebook records it as a command does.
    """
    declared = inspect.signature(load)

    @functools.wraps(load)
    def loaded(*args: P.args, **kwargs: P.kwargs) -> Dataset:
        given = declared.bind(*args, **kwargs)
        given.apply_defaults()
        dataset = load(*args, **kwargs)
        return with_origin(dataset, {"_target_": f"{load.__module__}.{load.__qualname__}", **given.arguments})

    return loaded


def with_origin(dataset: Dataset, options: Mapping[str, object]) -> Dataset:
    """The data set, remembering the ``_target_`` and the options of its loader as long as its checksum stays the same.

    That of a loader from outside the package is computed here: the keys of the store rely on it.
    """
    if not str(options["_target_"]).startswith(f"{transfer_exp.__name__}."):
        dataset = replace(dataset, checksum=signature(x=dataset.x, y=dataset.y))
    return replace(dataset, made_by={**options, "_checksum_": dataset.checksum})
