"""Curves over the strength of the attack, from the ``curves.csv`` of many runs."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd

from transfer_exp.measures import registry
from transfer_exp.report import earlier
from transfer_exp.report.factors import KEY

IDENTITY = ["study", "dataset", "attack", *KEY]
DIGITS = 9  # of an epsilon, so that equal ones compare equal
_WHITE_BOX = ("whitebox_error", "whitebox_success", "whitebox_targeted_success")


def numbers() -> list[str]:
    """The columns of a curve that are numbers: the strength, and all measures that are curves."""
    return ["epsilon", "clean_error", *registry.curves()]


def curve_columns() -> list[str]:
    """The columns of a study's curves: which combination, and the numbers."""
    return [*IDENTITY, *numbers()]


def curves_frame(texts: Mapping[str, bytes]) -> pd.DataFrame:
    """All curves in one table, by run id: columns ``run_id``, ``epsilon`` and measures. What a run is, is not read here.

    Files with one header are parsed together, which is fast.
    """
    alike: dict[bytes, dict[str, bytes]] = {}
    for run_id, text in texts.items():
        header, _, body = text.replace(b"\r\n", b"\n").partition(b"\n")
        alike.setdefault(header, {})[run_id] = body.rstrip(b"\n")
    parts = [_parsed(header, bodies) for header, bodies in alike.items()]
    columns = numbers()
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["run_id", *columns])
    frame = frame.reindex(columns=["run_id", *columns])
    frame[columns] = frame[columns].astype(float)
    return frame.assign(epsilon=frame["epsilon"].round(DIGITS))


def _parsed(header: bytes, bodies: Mapping[str, bytes]) -> pd.DataFrame:
    content = io.BytesIO(b"\n".join([header, *bodies.values()]))
    known = set(numbers())
    frame = pd.read_csv(content, usecols=lambda name: earlier.measure(name) in known).rename(columns=earlier.measure)
    lengths = [body.count(b"\n") + 1 if body else 0 for body in bodies.values()]
    if sum(lengths) != len(frame) and len(bodies) > 1:  # a name has a line end in it
        return pd.concat([_parsed(header, {run_id: body}) for run_id, body in bodies.items()], ignore_index=True)
    if sum(lengths) != len(frame):
        return frame.assign(run_id=next(iter(bodies)))
    return frame.assign(run_id=pd.Index(bodies, dtype=object).repeat(lengths))


def worst_white_box(curves: pd.DataFrame) -> pd.DataFrame:
    """The curves with each target's white box as the largest error and success of its runs with any surrogate.

    A run takes, point by point, the better of what was made on the target and on its own surrogate. Between the runs only
    errors can be compared: their maximum is a lower bound of what the best point of all would give.
    """
    columns = list(_WHITE_BOX)
    return curves.assign(**curves.groupby(["target", "seed", "epsilon"])[columns].transform("max"))


def with_white_box_of(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with their columns ``whitebox_error_at_*`` and ``error_ratio_at_*`` as the study's curves have them.

    A run has logged what it knew itself. NaN where there is no curve, and for a ratio where the white-box error is 0.
    """
    found = {}
    for epsilon in curves["epsilon"].unique():
        rows = curves[curves["epsilon"] == epsilon].set_index(KEY)
        white = rows["whitebox_error"]
        found[f"whitebox_error_at_{epsilon:g}"] = white
        found[f"error_ratio_at_{epsilon:g}"] = rows["error"] / white.where(white > 0)
    logged = [name for name in map(str, runs) if name.startswith(("whitebox_error_at_", "error_ratio_at_"))]
    keys = pd.MultiIndex.from_frame(runs[KEY])
    values = {name: found[name].reindex(keys).to_numpy() if name in found else np.nan for name in logged}
    return runs.assign(**values).copy()  # many columns one by one: in one piece again
