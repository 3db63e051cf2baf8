"""Claims on how the surrogate is trained, after Zhang et al. (IEEE S&P 2024, arXiv 2307.07873): LR1 to LR4."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from transfer_exp import correlation
from transfer_exp.report import correlations, tables
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Judge, Numbers, Verdict, untested
from transfer_exp.report.claims.judging import in_error, of_found
from transfer_exp.report.study import Study
from transfer_exp.types import Floats

SOURCE, LINK = "Zhang et al. 2024", "https://arxiv.org/abs/2307.07873"
_JOINT = ("input_curvature", "gradient_alignment")
_SINGLE = {"gradient_size": "S", "loss_variability": "V"}
N_EXCHANGES = 199
_RADII = "surrogate=mlp_high surrogate.adversarial_radius=0,0.1,0.25,0.5,1,2 surrogate.adversarial_norm=l2 'seed=range(10)'"


def rises_and_falls(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a surrogate that was trained with at least four radii."""
    del numbers
    for design in designs.of_factor(study, "adversarial_radius", fewest=4):
        column = designs.transfer(design.rows)
        found, place = tests.interior(design.values(column))
        name = f"{column.replace('_', ' ')} above that of both ends"
        yield of_found(claim, design.about, name, found, remark=f"best radius {design.levels[place]}")


def explained_together(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """Four verdicts: what smoothness and similarity explain together, over either alone and over S and V."""
    del numbers
    rows = tables.at_reference(study)
    outcome = designs.transfer(rows)
    if any(name not in rows or rows[name].isna().all() for name in _JOINT):
        return
    rows = rows.dropna(subset=[*_JOINT, outcome])
    axes = correlations.axes_of(rows, correlations.PAIRS)
    singles = [name for name in _SINGLE if name in rows and rows[name].notna().all()]
    columns = correlations.by_seed(rows, [*_JOINT, *singles, outcome], correlations.PAIRS)
    values = dict(zip([*_JOINT, *singles, "outcome"], columns, strict=True))
    if any(np.isnan(one).any() for one in columns):
        yield untested(claim, "-", "some pairs of surrogate and target lack a repetition; run them all")
        return
    joint = tests.out_of_sample([values[one] for one in _JOINT], values["outcome"])

    def alone(one: str) -> Floats:
        return tests.out_of_sample([values[one]], values["outcome"])

    def together_and(one: str) -> str:
        return f"means {joint.mean():.3f} together, {alone(one).mean():.3f} by {one.replace('_', ' ')} alone"

    name = "gain in rank correlation, out of sample"
    for own, other in (_JOINT, _JOINT[::-1]):
        exchanges = correlation.exchange(
            *axes, rows_only=own == "input_curvature", rng=np.random.default_rng(0), n_orders=N_EXCHANGES
        )
        if not exchanges.enough or len(axes[0]) < 5:
            yield untested(claim, f"over {other} alone", f"{len(axes[0])} surrogates; the test exchanges at least 5")
            continue
        found = tests.adds(values[own], values[other], values["outcome"], exchanges.orders)
        yield of_found(claim, f"over {other} alone", name, found, remark=together_and(other))
    for single in singles:
        gain = tests.paired(joint - alone(single))
        yield of_found(claim, f"over {_SINGLE[single]}", name, gain, remark=together_and(single))


def worse_than_without(*options: str) -> Judge:
    """One verdict a strength of an option, against the same surrogate without it: transfer is smaller."""

    def judge(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
        del numbers
        for option in options:
            for design in designs.of_factor(study, option):
                if design.numbers is None or design.numbers[0] != 0:
                    continue
                column = designs.transfer(design.rows)
                for level in design.levels[1:]:
                    plain, own = design.values(column, [design.levels[0], level]).T
                    errors = -np.diff(design.values("error", [design.levels[0], level]))
                    part = f"{design.about}, {option.replace('_', ' ')} {level}"
                    name = f"{column.replace('_', ' ')} lost"
                    yield of_found(claim, part, name, tests.paired(plain - own), remark=in_error(errors))

    return judge


def together_over_either(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a surrogate and strength: both options at once, over the better of each alone."""
    del numbers
    for design in designs.of_factors(study, ("gradient_penalty", "sam_radius"), fewest=4):
        column = designs.transfer(design.rows)
        pairs = [tuple(level.split(", ")) for level in design.levels]
        for penalty, radius in pairs:
            alone = [f"{penalty}, 0", f"0, {radius}"]
            if penalty == "0" or radius == "0" or any(one not in design.levels for one in alone):
                continue
            table = design.values(column, [f"{penalty}, {radius}", *alone])
            found = tests.both(table[:, 0] - table[:, 1], table[:, 0] - table[:, 2])
            part = f"{design.about}, penalty {penalty} and radius {radius}"
            yield of_found(claim, part, f"{column.replace('_', ' ')} above the better of both alone", found)


_own = partial(Claim, scenarios=EVASION, fewest=tests.FEWEST_PAIRED)
CLAIMS = (
    Claim(
        id="LR1", experiment="training_radius",
        source=SOURCE, link=LINK, scenarios=EVASION, fewest=tests.FEWEST_INTERIOR, judge=rises_and_falls,
        turns="a best radius at either end, or one that is not significantly above both (not shown); an end that is clearly "
        "above every inner radius (the other way)",
        statement="Transfer rises and then falls as the surrogate's adversarial-training radius grows",
        measured="Networks trained adversarially with mild perturbations were better surrogates than plain and than robust "
        "ones, on image benchmarks with deep networks; here it is one small network at several radii",
        test="interior maximum: half of the repetitions choose the radius, the others test it against both ends",
        needs="one network at four adversarial radii or more, 0 among them, in 10 repetitions",
        factors=("adversarial_radius",),
        adds=_RADII,
    ),
    _own(
        id="LR2", experiment="training_radius",
        source=SOURCE, link=LINK, judge=explained_together,
        turns="gains that surrogates, exchanged, reach by chance in one of 20 cases (not shown); predictions that are "
        "clearly worse with both (the other way)",
        statement="Input smoothness and gradient similarity together explain transfer better than either alone, S or V",
        measured="The authors trace transfer to a trade-off of smoothness and gradient similarity and study their joint "
        "effect; the comparison by out-of-sample rank correlation is this suite's",
        test="rank correlation of predicted and true transfer, each repetition held out; surrogates (and targets) "
        "exchanged as "
        "units for what one adds to the other, paired signed ranks against S and V",
        needs="five surrogates or more with input_curvature and gradient_alignment, in 6 repetitions", measures=_JOINT,
        adds=f"{_RADII} measures=networks",
    ),
    _own(
        id="LR3", experiment="regularisers",
        source="this suite", see=f"{SOURCE} ({LINK})",
        judge=worse_than_without("label_smoothing", "mixup"),
        turns="a loss with p of 0.05 or more (not shown), or a significant gain in transfer (the other way)",
        statement="Label smoothing and mixup make worse surrogates",
        test="each strength against the same network without: signed ranks of the loss of transfer, paired by repetition",
        needs="a network with and without label smoothing or mixup, in 6 repetitions", factors=("label_smoothing", "mixup"),
        adds="surrogate=mlp_high surrogate.label_smoothing=0,0.1,0.2,0.4 'seed=range(10)'",
    ),
    _own(
        id="LR4", experiment="regularisers",
        source="this suite", see=f"{SOURCE} ({LINK})", judge=together_over_either,
        turns="both together not significantly above each alone (not shown), or significantly below the better one (the "
        "other way)",
        statement="Penalising input gradients and SAM together make a better surrogate than either alone",
        test="paired signed ranks against each alone; the larger p counts",
        needs="a network without, with either and with both, in 6 repetitions", factors=("gradient_penalty", "sam_radius"),
        adds="surrogate=mlp_high surrogate.gradient_penalty=0,0.1 surrogate.sam_radius=0,0.1 'seed=range(10)'",
    ),
)  # fmt: skip
