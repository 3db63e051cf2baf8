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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NETWORKS = {  # minutes with 2 workers on 2 free cores, as the experiment files reckon them
    "training_radius": 9, "attacks": 14, "optimum": 11, "early_stopping": 7, "ensembles": 10, "batch_norm": 9,
    "sam_radius": 11, "regularisers": 12, "width_depth": 17, "targeted": 12, "robust_targets": 8,
}  # fmt: skip
OF_NETWORKS = ("BN1", "EN1", "ES1", "ES2", "LR1", "LR2", "LR3", "LR4", "MA1", "RB1", "TA1", "TA2", "TA3", "TG1")  # claims
SMALL = ("dataset=digits", "dataset.split.target=400", "dataset.split.surrogate=400", "dataset.split.test=100")
FEW = ("dataset.split={target: 80, surrogate: 80, validation: 90, test: 90}", "n_variability=2")
LINEAR = ("surrogate=svm_low,ridge_low", "target=svm_low,ridge_low")
PAIRS = "dataset.classes=[0,1],[0,2],[0,3],[0,4],[1,2],[1,3],[1,4],[2,3],[2,4],[3,4]"
EVASION = ("seed=range(0,10)", "measures=[which_surrogate,gaps_tell]")
# In l2 alone; three surrogates have a fifth of their data as well, for claim 2b.
L2 = (
    "hydra.sweeper.blocks=[{attack.norm: l2, epsilon: images_l2}, "
    "{attack.norm: l2, epsilon: images_l2, surrogate_fraction: 0.2, surrogate: 'svm_high,svm_low,mlp_low'}]"
)
DIGITS: tuple[str, ...] = ("seed=range(0,6)", "surrogate=svm_high,svm_low,logistic_high,logistic_low,ridge_low")
DIGITS += ("target=svm_high,svm_low,logistic_high,logistic_low,ridge_low,forest_low",)
DIGITS += ("measures=[which_surrogate,gaps_tell]", "learner@measures.centrality.panel.ridge_low=ridge_low")
DIGITS += ("hydra.sweeper.blocks=[{surrogate_fraction: 1}, {surrogate_fraction: 0.2, surrogate: svm_low}]",)
# H and L as surrogates, for claims 5a, 5b and 7a, and a forest as target, for 5c.
BOTH = "svm_high,svm_low,logistic_high,logistic_low,ridge_high,ridge_low"
TWINS: tuple[str, ...] = ("epsilon=poisoning", "epsilon.grid=[0,0.05,0.1]", "epsilon.shown=[0.05,0.1]")
TWINS += (f"surrogate={BOTH}", f"target={BOTH},forest_high")
FEW_TWINS = ("surrogate=svm_high,svm_low", "target=svm_high,svm_low,forest_high", "seed=range(0,6)")
DONE = re.compile(r"([\d,]+) of ([\d,]+) combinations? done already")


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study by the words that make it, and about how many minutes it takes with 2 workers on 2 free cores."""

    name: str
    words: tuple[str, ...]
    minutes: float


def studies(*, quick: bool) -> list[Study]:
    """Those of all claims but ``left_out``."""
    return _of_digits() if quick else [*_of("mnist"), *_of("fashion_mnist")]


def left_out(*, quick: bool) -> dict[str, str]:
    """The claims that no study of the list can test, and why."""
    drebin = {
        "6": "it is on features that are added to malware: Drebin is given out on request; make drebin215-evasion is on "
        "Drebin-215, and its study can stand in claims=all beside these"
    }
    few = "two repetitions of networks, which take ten minutes in all, are too few for a verdict"
    of_five = {"5b": "it takes five surrogates, which make more poisoning points than there is time for"}
    return drebin | ({**dict.fromkeys(OF_NETWORKS, few), **of_five} if quick else {})


def _of(dataset: str) -> list[Study]:
    """At most 40 minutes each, three hours a data set. On MNIST the studies have their own names, as ``make`` has them."""
    of = {"mnist": "", "fashion_mnist": "fashion_"}[dataset]
    on = () if dataset == "mnist" else (f"dataset={dataset}",)
    two = () if dataset == "mnist" else (*on, "dataset.classes=[7,9]")  # sneakers and ankle boots
    evasion = {"mnist": "mnist_evasion", "fashion_mnist": "fashion_evasion"}[dataset]
    found: list[tuple[str, str, tuple[str, ...], float]] = [
        (f"{evasion}_l2", evasion, (*EVASION, L2), 26),
        *((f"{of}{name}", name, on, minutes) for name, minutes in NETWORKS.items()),
        (f"{of}poisoning_claims", "poisoning_claims", two, 10),
        (f"{of}poisoning_threshold", "poisoning_threshold", two, 8),
        (f"{of}poisoning_twins", "poisoning_threshold", (*two, *TWINS), 4),  # 410 CPU seconds, by those of one repetition
        (f"{of or 'mnist_'}pairs_poisoning", "mnist_pairs_poisoning", (*on, *LINEAR), 9),
    ]
    return [_study(*one) for one in found]


def _of_digits() -> list[Study]:
    """Ten minutes with 2 workers on 2 free cores: two repetitions of networks, more of what is fast."""
    few = (*SMALL, "seed=0,1", "n_variability=2", "target=mlp_low")
    found: list[tuple[str, str, tuple[str, ...]]] = [
        ("digits_evasion", "digits_evasion", DIGITS),
        *((name, name, few) for name in NETWORKS),
        ("poisoning_claims", "poisoning_claims", ("dataset=digits89", *FEW, "seed=range(0,6)")),
        ("poisoning_threshold", "poisoning_threshold", ("dataset=digits89", *FEW)),
        ("poisoning_twins", "poisoning_threshold", ("dataset=digits89", *FEW, *TWINS, *FEW_TWINS)),
        ("mnist_pairs_poisoning", "mnist_pairs_poisoning", ("dataset=digits", *FEW, *LINEAR, PAIRS, "seed=0,1")),
    ]
    return [_study(f"digits_claims_{own}", name, words, 10 / len(found)) for own, name, words in found]


def _study(own: str, experiment: str, words: tuple[str, ...], minutes: float) -> Study:
    return Study(name=own, words=(f"experiment={experiment}", *words), minutes=minutes)


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


def by_reason(claims: Mapping[str, str]) -> dict[str, list[str]]:
    """The claims of each reason."""
    return {reason: [one for one, own in claims.items() if own == reason] for reason in dict.fromkeys(claims.values())}


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
    for reason, own in by_reason(left_out(quick=given.quick)).items():
        print(f"claims: not tested: {', '.join(own)}: {reason}", flush=True)
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
