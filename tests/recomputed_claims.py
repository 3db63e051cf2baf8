"""What pandas and scipy alone make of the csv files of reports, to hold the verdicts on claims against.

Nothing of transfer_exp takes part. ``python tests/recomputed_claims.py PAGE REPORTS`` compares a page of claims with the
reports of its studies: a folder with ``claims.json``, and one with a folder for each study.
"""

from __future__ import annotations

import collections
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import recomputed_attacks as attacks
import recomputed_evasion as evasion
import recomputed_networks as networks
import recomputed_poisoning as poisoning
import recomputed_threshold as threshold
from recomputed_statistics import Number, Of, at_reference

_OF_NETWORKS: tuple[Of, ...] = (evasion.of_surrogates, evasion.of_pairs, networks.explained)
_TWINS: tuple[Of, ...] = (evasion.white_box, evasion.input_gradients, evasion.variability)
_OF_POISONING: tuple[Of, ...] = (
    *_TWINS, poisoning.pairs, poisoning.matching, poisoning.forests, poisoning.perceptrons, poisoning.ratios,
    poisoning.changed, poisoning.heuristics, poisoning.tuned, poisoning.sanitised, poisoning.kinds,
    threshold.thresholds,
)  # fmt: skip
STUDIES: Mapping[str, tuple[Of, ...]] = {
    "evasion_l2": (
        *_TWINS, evasion.simple_surrogates, evasion.less_data, evasion.variability_and_transfer, evasion.pairs,
        evasion.change_to_mislead, evasion.most_central, evasion.gaps,
    ),
    "training_radius": (networks.training_radius, *_OF_NETWORKS),
    "early_stopping": (networks.early_stopping, *_OF_NETWORKS),
    "batch_norm": (networks.batch_norm, *_OF_NETWORKS),
    "ensembles": (networks.ensembles, evasion.of_surrogates, evasion.of_pairs),
    "sam_radius": (networks.stopped, networks.sharpness_aware),
    "regularisers": (networks.regularised,),
    "width_depth": (networks.simpler,),
    "robust_targets": (networks.robust,),
    "attacks": (attacks.attacks, attacks.equal_sizes),
    "optimum": (attacks.optimum,),
    "targeted": (attacks.targeted,),
    "poisoning_claims": _OF_POISONING,
    "poisoning_twins": _OF_POISONING,
    "poisoning_threshold": _OF_POISONING,
    "pairs_poisoning": (poisoning.classes,),
}  # fmt: skip
_AT_ALL_STRENGTHS = (evasion.change_to_mislead, attacks.equal_sizes, threshold.thresholds)


def made(of: Of, runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """What a function makes of rows at all strengths; most take those at the reference."""
    return of(runs, curves if of in _AT_ALL_STRENGTHS else at_reference(runs, curves))


def frames(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and curves of a report, those of all attacks where there are several."""
    several = "all_" if (folder / "all_runs.csv").exists() else ""
    runs, curves = (pd.read_csv(folder / f"{several}{name}.csv", low_memory=False) for name in ("runs", "curves"))
    return runs, curves


def numbers(folder: Path, study: str) -> Iterator[Number]:
    """What the csv files of a report say."""
    runs, curves = frames(folder)
    for of in STUDIES[study]:
        yield from made(of, runs, curves)


def _off(part: Mapping[str, Any], one: Number) -> tuple[list[str], int]:
    """Which of a part's numbers are others here, and how many are the same."""
    pairs = [("effect", part["statistic"], one.effect), ("p", part["p_value"], one.p_value)]
    if one.ends:
        pairs += [("low", part["low"], one.ends[0]), ("high", part["high"], one.ends[1])]
    known = [(what, told, here) for what, told, here in pairs if here is not None]
    off = [pair for pair in known if pair[1] is None or not math.isclose(pair[1], pair[2], rel_tol=1e-6, abs_tol=1e-9)]
    return [f"{what} is {told} on the page, {here} here" for what, told, here in off], len(known) - len(off)


def differences(page: Path, reports: Path) -> Iterator[str]:
    """A line for each number that is another here, for each part that only one side has; counts for each study."""
    content = json.loads((page / "claims.json").read_text())
    cells = [cell for row in content["claims"] for cell in row["cells"].values()]
    for study in content["studies"]:
        own = next((name for name in sorted(STUDIES, key=len, reverse=True) if study.endswith(name)), None)
        if own is None:
            yield f"{study}: not recomputed"
            continue
        parts = [part for cell in cells for part in cell["parts"] if study in part["studies"]]
        told = {(part["claim"], part["learner"], part["statistic_name"]): part for part in parts}
        same: collections.Counter[str] = collections.Counter()
        for one in numbers(reports / study, own):
            part = told.pop(one[:3], None)
            if part is None:
                yield f"{study}: {one[:3]} is not on the page"
                continue
            off, equal = _off(part, one)
            same[one.claim] += equal
            yield from (f"{study}: {one[:3]}: {line}" for line in off)
        tested = [key for key, part in told.items() if part["verdict"] != "not tested"]
        left = [key for key in tested if key[0] in same]
        yield from (f"{study}: {key} is not recomputed" for key in left)
        claims = ", ".join(f"{claim} {n}" for claim, n in sorted(same.items()))
        others = sorted({key[0] for key in tested} - set(same))
        yield f"{study}: {same.total()} numbers are the same ({claims}); not recomputed: {', '.join(others) or 'none'}"


if __name__ == "__main__":
    print("\n".join(differences(Path(sys.argv[1]), Path(sys.argv[2]))))
