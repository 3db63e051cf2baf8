"""``python -m transfer_exp.export``: the points of a run, or of each surrogate of a study, as files with their origin."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transfer_exp.system.commands import find_modules_in, results_root, run_command, values
from transfer_exp.types import UserError, counted

if TYPE_CHECKING:
    from transfer_exp.cli.recorded import Recorded
    from transfer_exp.combination import Outcome
    from transfer_exp.points import PointsFile
    from transfer_exp.store import Store

HELP = """\
usage: python -m transfer_exp.export run=ID|study=NAME [where="SETTING=VALUE ..."] [epsilons=shown|all|1,2] [png=10]
                                     [out=FOLDER] [root=FOLDER] [store=FOLDER] [tracking_uri=URI] [data=FOLDER]
                                     [--config-dir=FOLDER]

Writes the points made on a surrogate as .npz and, of images, PNG: attack points at some strengths, or poisoning points,
with the clean points, labels, and all that is known of where they come from. A study gives one file a surrogate and seed.

  run, study    of the record: its id in MLflow, or the name of a study
  where         only these settings, surrogates, targets or seeds, for instance where="surrogate=svm_low seed=0"
  epsilons      the strengths that tables show (default), all of the grid, or some
  png           how many points are also written as pictures (default 10; 0: none)
  out           where to write (default: <root>/points/<study>)
  root, store   folder of the results, of the store (default: the variable TRANSFER_EXP_ROOT, else .; <root>/store)
  tracking_uri  the record (default: the variable MLFLOW_TRACKING_URI, else sqlite:///<root>/mlflow.db)
  data          folder of the data sets, where the recorded one is no more

What the store lacks is made again. Points whose errors are not those in the record are refused.
"""
_KEYS = ("run", "study", "where", "epsilons", "png", "out", "root", "store", "tracking_uri", "data", "--config-dir")
_TOLERANCE = 1e-9
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(_command, arguments, HELP)


def _command(arguments: Sequence[str]) -> int:
    given = values(arguments, _KEYS)
    if ("run" in given) == ("study" in given):
        raise UserError("expected run=ID or study=NAME, one of them; see --help")
    n_pictures = _whole("png", given.get("png", "10"))
    root = results_root(given.get("root"))
    find_modules_in(*([given["--config-dir"]] if "--config-dir" in given else []), Path.cwd())
    from transfer_exp.report.client import speaking_of  # here: seconds of imports, not needed for --help
    from transfer_exp.store import Store
    from transfer_exp.tracking.connecting import default_uri

    logging.getLogger("transfer_exp.scenarios").setLevel(logging.ERROR)  # the run has said what was remarkable
    uri = given.get("tracking_uri") or default_uri(root)
    with speaking_of(uri):
        study, groups = _groups(given, uri)
    store = Store(given.get("store") or root / "store", fallback=root / "locks")
    out = Path(given.get("out") or root / "points" / study.replace("/", "%2F")).expanduser()
    for group in groups:
        content, _ = taken(group, store, given.get("epsilons", "shown"))
        _write(out, study, group, content, n_pictures)
    print(f"{counted(len(groups), 'file')} of points in {out}")
    return 0


def _whole(name: str, text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"{name}: expected a whole number >= 0, got {text}")
    return int(text)


def _groups(given: Mapping[str, str], uri: str) -> tuple[str, list[list[Recorded]]]:
    """The study, and its runs grouped by the points that they share."""
    from transfer_exp.cli.recorded import combinations, one_run, runs_of_study
    from transfer_exp.report.__main__ import settings
    from transfer_exp.report.client import connect

    client = connect(uri)
    if "run" in given:
        runs = [one_run(client, given["run"])]
        study = str(client.get_experiment(runs[0].info.experiment_id).name)
    else:
        study = given["study"]
        runs = runs_of_study(client, study, settings(given["where"]) if "where" in given else {})
    groups: dict[str, list[Recorded]] = {}
    for one in combinations(client, runs, data=given.get("data")):
        groups.setdefault(one.made(), []).append(one)
    return study, list(groups.values())


def taken(group: Sequence[Recorded], store: Store, wanted: str) -> tuple[PointsFile, Outcome]:
    """The points that runs share, with their origin.

    Raises UserError where the points that the store has, or that today's code makes, do not have the recorded errors.
    """
    from transfer_exp.points import take
    from transfer_exp.system.threads import limited_threads

    first = group[0]
    epsilons = _epsilons(first, wanted)
    with limited_threads(int(first.configuration.get("threads", 1))):
        content, outcome = take(first.combination, store, epsilons)
    _compare(first, "error", outcome)
    for one in group:
        _compare(one, "surrogate_error", outcome)
    places = [first.combination.epsilon.grid.index(epsilon) for epsilon in content.epsilon]
    return replace(content, about=_about(group, places)), outcome


def _epsilons(one: Recorded, wanted: str) -> tuple[float, ...] | None:
    if wanted == "all":
        return None
    if wanted == "shown":
        return one.combination.epsilon.shown
    try:
        return tuple(float(text) for text in wanted.split(","))
    except ValueError:
        raise UserError(f"epsilons: expected shown, all, or numbers like 0.5,1, got {wanted}") from None


def _compare(one: Recorded, name: str, outcome: Outcome) -> None:
    if name not in one.curves:
        raise UserError(f"run {one.run_id}: expected {name} in its curves.csv, got none: its points cannot be checked")
    was, now = one.curves[name], outcome.curves[name]
    if len(was) != len(now) or not np.allclose(was, now, rtol=0, atol=_TOLERANCE, equal_nan=True):
        why = "" if one.is_same_code else " (its code, options or libraries were others)"
        shown = [f"{value:g}" for value in was], [f"{value:g}" for value in now]
        raise UserError(
            f"run {one.run_id}: expected points with its recorded {name} {', '.join(shown[0])}, got {', '.join(shown[1])}"
            f"{why}; do the run again with resume=false, and export that one"
        )


def _about(group: Sequence[Recorded], places: Sequence[int]) -> dict[str, Any]:
    """Everything needed to know where points come from."""
    from transfer_exp.signature import signature
    from transfer_exp.tracking.configuration import names_of
    from transfer_exp.tracking.versions import versions

    first = group[0]
    combination, tags = first.combination, first.run.data.tags
    recorded = {}
    for one in group:
        identity = signature(target=one.combination.target, data=combination.dataset.checksum, seed=combination.seed)
        recorded[str(identity)] = [float(one.curves["error"][k]) for k in places]
    return {
        "study": first.configuration.get("study"),
        **{name: value for name, value in names_of(combination).items() if name != "target"},
        "scenario": combination.attack.scenario,
        "norm": combination.attack.norm,
        "data_checksum": combination.dataset.checksum,
        "runs": [{"run_id": one.run_id, "target": one.combination.target.label} for one in group],
        "signature": tags.get("signature"),
        "made_by": {k: v for k, v in sorted(tags.items()) if k == "git_commit" or k.startswith(("version/", "source/"))},
        "written_by": versions(),
        "same_code": first.is_same_code,
        "recorded": recorded,
        "recorded_surrogate_error": [float(first.curves["surrogate_error"][k]) for k in places],
        "overrides": list(first.overrides),
        "configuration": dict(first.configuration),
    }


def _write(out: Path, study: str, group: Sequence[Recorded], content: PointsFile, n_pictures: int) -> None:
    from transfer_exp.points import write
    from transfer_exp.points.pictures import write_pictures

    first = group[0]
    one = first.combination
    share = "" if one.surrogate_fraction == 1 else f"_{one.surrogate_fraction:g}"
    label = re.sub(r"[^\w.-]", "_", one.surrogate.label)
    name = f"{label}{share}_seed{one.seed}_{first.made()[:8]}"
    write(out / f"{name}.npz", content)
    box = one.dataset.box
    limits = float(box.lower.min()), float(box.upper.max())
    pictures = write_pictures(out / name, content, most=n_pictures, limits=limits) if n_pictures and content.shape else 0
    more = f", {counted(pictures, 'picture')}" if pictures else ""
    code = "" if first.is_same_code else "; made again by other code than the run's, with the errors of the record"
    targets = counted(len(group), "run")
    what = f"{len(content.labels):,} points of {one.surrogate.label}, checked against {targets} of {study}"
    print(f"{out / name}.npz: {what}{more}{code}")
