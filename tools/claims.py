"""The studies that the published claims need, one after another, and one page of claims x data sets at the end.

    python tools/claims.py [--quick] [--estimate] [--jobs=2]

What is done already is not done again: the same command goes on where it was stopped. A study that fails is named at the
end, and the others go on. --quick: scikit-learn's digits, few repetitions. --estimate: say what there is to do.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NETWORKS = {  # minutes with 2 workers on 2 free cores, as the experiment files reckon them
    "training_radius": 9, "attacks": 14, "optimum": 11, "early_stopping": 7, "ensembles": 10, "batch_norm": 9,
    "sam_radius": 11, "regularisers": 12, "width_depth": 17, "targeted": 12, "robust_targets": 8,
}  # fmt: skip
SMALL = ("dataset=digits", "dataset.split.target=400", "dataset.split.surrogate=400", "dataset.split.test=100")
FEW = ("dataset.split={target: 80, surrogate: 80, validation: 90, test: 90}", "n_variability=2")
LINEAR = ("surrogate=svm_low,ridge_low", "target=svm_low,ridge_low")
PAIRS = "dataset.classes=[0,1],[0,2],[0,3],[0,4],[1,2],[1,3],[1,4],[2,3],[2,4],[3,4]"
EVASION = ("seed=range(0,10)", "measures=[which_surrogate,gaps_tell]")
L2 = "hydra.sweeper.blocks=[{attack.norm: l2, epsilon: images_l2}]"
DONE = re.compile(r"([\d,]+) of ([\d,]+) combinations? done already")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study by the words that make it, and about how many minutes it takes with 2 workers on 2 free cores."""

    name: str
    words: tuple[str, ...]
    minutes: float


def studies(*, quick: bool) -> list[Study]:
    """Those of all claims."""
    return _of_digits() if quick else [*_of("mnist"), *_of("fashion_mnist")]


def _of(dataset: str) -> list[Study]:
    """At most 40 minutes each, three hours a data set. On MNIST the studies have their own names, as ``make`` has them."""
    of = {"mnist": "", "fashion_mnist": "fashion_"}[dataset]
    on = () if dataset == "mnist" else (f"dataset={dataset}",)
    two = () if dataset == "mnist" else (*on, "dataset.classes=[7,9]")  # sneakers and ankle boots
    found = [(name, on, minutes) for name, minutes in NETWORKS.items()]
    found += [("poisoning_claims", two, 10), ("poisoning_threshold", two, 8), ("mnist_pairs_poisoning", (*on, *LINEAR), 9)]
    evasion = {"mnist": "mnist_evasion", "fashion_mnist": "fashion_evasion"}[dataset]
    first = Study(name=f"{evasion}_l2", words=(f"experiment={evasion}", *EVASION, L2), minutes=21)
    names = [of + name.removeprefix("mnist_") if of else name for name, *_ in found]
    return [first] + [
        Study(name=own, words=(f"experiment={name}", *words), minutes=minutes)
        for own, (name, words, minutes) in zip(names, found, strict=True)
    ]


def _of_digits() -> list[Study]:
    """Ten minutes with 2 workers on 2 free cores: two repetitions of networks, more of what is fast."""
    few = (*SMALL, "seed=0,1", "n_variability=2", "target=mlp_low")
    found = [("digits_evasion", ("seed=range(0,6)",)), *((name, few) for name in NETWORKS)]
    found += [
        ("poisoning_claims", ("dataset=digits89", *FEW, "seed=range(0,6)")),
        ("poisoning_threshold", ("dataset=digits89", *FEW)),
        ("mnist_pairs_poisoning", ("dataset=digits", *FEW, *LINEAR, PAIRS, "seed=0,1")),
    ]
    return [
        Study(name=f"digits_claims_{name}", words=(f"experiment={name}", *words), minutes=10 / len(found))
        for name, words in found
    ]


def command(study: Study, *more: str) -> list[str]:
    """What runs a study."""
    return [sys.executable, "-m", "transfer_exp", *study.words, f"study={study.name}", *more]


def left(study: Study) -> float:
    """The share of a study that is not done, as its dry run says. Prints what that says."""
    ended = subprocess.run(command(study, "dry_run=true"), capture_output=True, text=True, check=False)
    said = next((line for line in ended.stdout.splitlines() if line.startswith("study ")), ended.stderr.strip()[-300:])
    print(f"  {said}", flush=True)
    done = DONE.search(said)
    return 1.0 if done is None else 1 - int(done[1].replace(",", "")) / int(done[2].replace(",", ""))


def minutes(number: float) -> str:
    """For people: 5 h 36 min."""
    hours, rest = divmod(round(number), 60)
    return f"{hours} h {rest:02d} min" if hours else f"{rest} min"


def run(every: Sequence[Study], jobs: int) -> list[str]:
    """Run all studies; returns the names of those that failed."""
    workers = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}") if jobs > 1 else ()
    failed = []
    for place, study in enumerate(every, start=1):
        print(f"claims, study {place} of {len(every)}: {study.name}", flush=True)
        if subprocess.run(command(study, *workers), check=False).returncode:
            failed.append(study.name)
    return failed


def page(every: Sequence[Study], root: Path, folder: str) -> int:
    """One page of the studies that have a report; the exit status of what makes it."""
    known = [study.name for study in every if (root / "reports" / study.name / "runs.csv").is_file()]
    out = root / "reports" / folder
    words = ["claims=all", f"study=[{','.join(known)}]", f"out={out}"]
    return subprocess.run([sys.executable, "-m", "transfer_exp.report", *words], check=False).returncode


def main() -> int:
    """Run the command; returns the exit status: 0 if all studies and the page are done."""
    parser = argparse.ArgumentParser(prog="make claims", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="on scikit-learn's digits, ten minutes")
    parser.add_argument("--estimate", action="store_true", help="say what there is to do, and do nothing")
    parser.add_argument("--jobs", type=int, default=1, help="workers")
    given = parser.parse_args()
    every = studies(quick=given.quick)
    rest = [(study, left(study)) for study in every]
    total = sum(share * study.minutes for study, share in rest)
    print(f"claims: {len(every)} studies, about {minutes(total)} left with 2 workers on 2 free cores", flush=True)
    if given.estimate:
        return 0
    failed = run([study for study, share in rest if share > 0], given.jobs)
    root = Path(os.environ.get("TRANSFER_EXP_ROOT", "."))
    status = page(every, root, "claims_digits" if given.quick else "claims")
    if failed:
        print(f"claims: failed: {', '.join(failed)}; the same command tries again", file=sys.stderr)
    return 1 if failed else status


if __name__ == "__main__":
    sys.exit(main())
