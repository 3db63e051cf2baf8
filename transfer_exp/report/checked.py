"""What is read back is checked before it counts: runs that can be read, files that are what was logged.

A file is held against its checksum in the record, where there is one, and against the run's own parameters and metrics.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from mlflow.entities import Run

from transfer_exp.report import client as store
from transfer_exp.report.earlier import renamed
from transfer_exp.tracking import artifacts
from transfer_exp.tracking.settings import LONGEST, canonical

CURVES = "curves.csv"
DAMAGED = "DAMAGED"
"""Status of a finished run whose curves are lost or were changed: it counts as missing."""
_TEXT = {"study", "dataset", "attack", "surrogate", "target"}
_SAME = ("surrogate_fraction", "seed")  # names are for people, and may have been changed
_MOST_LINES = 20
_TOLERANCE = 1e-9  # relative: a database or a server may round the last digit


def readable(found: Sequence[Run]) -> tuple[list[Run], list[Run], list[str]]:
    """Runs that say what they are, those that ended before they could, and notes on what others made: it is left out."""
    good, unnamed, notes = [], [], []
    for run in found:
        wrong = _wrong_parameter(renamed(run.data.params))
        if wrong is None:
            good.append(run)
        elif run.info.status != "FINISHED":
            unnamed.append(run)
        else:
            notes.append(f"left out: run {run.info.run_id}: {wrong}")
    return good, unnamed, shortened(notes)


def _wrong_parameter(params: Mapping[str, str]) -> str | None:
    for name in ("dataset", "attack"):
        if not params.get(name):
            return f"expected a parameter {name}, got none"
    checks: dict[str, tuple[str, Callable[[str], bool]]] = {
        "seed": ("a whole number >= 0", lambda text: int(text) >= 0),
        "surrogate_fraction": ("a share", lambda text: 0 < float(text) <= 1),
        "epsilon.reference": ("a number", lambda text: math.isfinite(float(text))),
        "epsilon.shown": ("a list of numbers", _is_list),
        "epsilon.grid": ("a list of numbers", _is_list),
    }
    for name, (expected, is_right) in checks.items():
        value = params.get(name)
        try:
            if value is None or not is_right(value):
                raise ValueError
        except (ValueError, TypeError):
            return f"expected {expected} as {name}, got {value}"
    return None


def _is_list(text: str) -> bool:
    values = [0] if len(text) >= LONGEST else json.loads(text)
    return isinstance(values, list) and bool(values) and all(math.isfinite(value) for value in values)


def curves(client: store.Client, runs: Sequence[Run]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Content of ``curves.csv`` by run id where it can be trusted; a note by run id where not."""
    texts = store.read_artifacts(client, runs, CURVES)
    good, bad = {}, {}
    for run in runs:
        run_id, text = run.info.run_id, texts.get(run.info.run_id)
        wrong = "expected a file, got none" if text is None else wrong_curve(run, text)
        if text is not None and wrong is None:
            good[run_id] = text
        else:
            bad[run_id] = f"left out: {store.place_of(client, run, CURVES)}: {wrong}; do it again with resume=false"
    return good, bad


def wrong_curve(run: Run, content: bytes) -> str | None:
    """What is wrong with the curves of a run, in words; None if nothing is."""
    if wrong := wrong_checksum(run, CURVES, content):
        return wrong
    try:
        text = content.decode()
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (ValueError, csv.Error) as error:
        return f"expected a table, got {type(error).__name__}"
    if not text.endswith("\n") or len({len(row) for row in rows}) != 1:
        return "expected whole rows, got one that was cut short"
    table = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=False)) if len(rows) > 1 else {}
    return next(_disagreements(run, table), None)


def files(client: store.Client, runs: Sequence[Run], name: str) -> dict[str, bytes]:
    """Content of one artifact by run id, of the runs where it is the one that was logged."""
    found = store.read_artifacts(client, runs, name)
    by_id = {run.info.run_id: run for run in runs}
    return {run_id: text for run_id, text in found.items() if wrong_checksum(by_id[run_id], name, text) is None}


def wrong_checksum(run: Run, name: str, content: bytes) -> str | None:
    """What is wrong where a file is not the one that was logged; None where it is, or there is no checksum."""
    logged, got = artifacts.logged_checksum(run.data.tags, name), artifacts.checksum(content)
    if logged in (None, got):
        return None
    return f"expected the file that was logged, with checksum {logged:.8}..., got {got:.8}..."


def _disagreements(run: Run, table: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """In words, where a table is none of this run's: other settings, words for numbers, other measures."""
    params, metrics = renamed(run.data.params), run.data.metrics
    for name in (name for name in _SAME if name in table and name in params):
        others = [cell for cell in set(table[name]) if canonical(cell) != canonical(params[name])]
        if others:
            yield f"expected {name} {params[name]}, got {others[0]}"
    if not {"epsilon", "error", "clean_error"} <= set(table):
        yield "expected columns epsilon, error and clean_error, got others"
        return
    numbers: dict[str, list[float]] = {}
    for name, cells in table.items():
        if name not in _TEXT:
            try:
                numbers[name] = [float(cell) if cell else math.nan for cell in cells]
            except ValueError:
                yield f"expected numbers as {name}, got {', '.join(sorted(set(cells))[:3])}"
                return
    yield from _other_grid(params, numbers["epsilon"])
    yield from _other_measures(metrics, numbers)


def _other_grid(params: Mapping[str, str], epsilons: Sequence[float]) -> Iterator[str]:
    text = params.get("epsilon.grid", "")
    grid = json.loads(text) if text and len(text) < LONGEST else epsilons
    if grid != epsilons:
        yield f"expected the epsilons of the grid, {len(grid)} from {grid[0]:g} to {grid[-1]:g}, got {len(epsilons)} others"
    if any(not a < b for a, b in pairwise(epsilons)):
        yield "expected ascending epsilons, got others"


def _other_measures(metrics: Mapping[str, float], numbers: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """A curve's last defined value, and its values at chosen epsilons, are metrics of the run, too."""
    places = {f"{epsilon:g}": k for k, epsilon in enumerate(numbers["epsilon"])}
    for name, values in numbers.items():
        defined = [value for value in values if math.isfinite(value)]
        if defined and not _equal(metrics.get(f"curve/{name}"), defined[-1]):
            yield f"expected {name} to end with {metrics[f'curve/{name}']:g} as the run's metric, got {defined[-1]:g}"
    for name, logged in metrics.items():
        column, sign, epsilon = name.rpartition("_at_")
        if sign and column in numbers and epsilon in places and not _equal(logged, numbers[column][places[epsilon]]):
            yield f"expected {column} {logged:g} at epsilon {epsilon} as the run's metric, got another"
    if not all(_equal(metrics.get("clean_error"), value) for value in numbers["clean_error"]):
        yield f"expected clean_error {metrics['clean_error']:g} as the run's metric, got another"


def _equal(logged: float | None, value: float) -> bool:
    return logged is None or math.isclose(logged, value, rel_tol=_TOLERANCE, abs_tol=1e-12)


def shortened(notes: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    rest = len(notes) - _MOST_LINES
    return [*notes[:_MOST_LINES], *([f"and {rest} more runs left out"] if rest > 0 else [])]
