"""Claims on how the surrogate is trained, after Zhang et al. (IEEE S&P 2024, arXiv 2307.07873): LR1 to LR4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from transfer_exp import correlation
from transfer_exp.measures import registry
from transfer_exp.report import correlations, tables
from transfer_exp.report.claims import designs, exchanging, tests
from transfer_exp.report.claims.base import EVASION, Claim, Judge, Numbers, Verdict, untested
from transfer_exp.report.claims.designs import Design
from transfer_exp.report.claims.judging import in_error, of_found
from transfer_exp.report.study import Study
from transfer_exp.types import Floats, Ints

SOURCE, LINK = "Zhang et al. 2024", "https://arxiv.org/abs/2307.07873"
_JOINT = ("input_curvature", "gradient_alignment")
_SINGLE = {"gradient_size": "S", "loss_variability": "V"}
N_EXCHANGES = 199
_RADII = "surrogate=mlp_high surrogate.adversarial_radius=0,0.1,0.25,0.5,1,2 surrogate.adversarial_norm=l2 'seed=range(10)'"
_NEITHER = "0, 0"  # the level without penalty and without SAM
_GAIN = "gain in rank correlation, out of sample"


def rises_and_falls(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a surrogate that was trained with at least four radii."""
    del numbers
    for design in designs.of_factor(study, "adversarial_radius", fewest=4):
        if 0 not in (design.numbers or ()):
            yield untested(claim, design.about, "the network without adversarial training (radius 0) is not among its radii")
            continue
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
    yield from _over_each_other(claim, values, axes)
    yield from _over_singles(claim, values, axes)


def _told(values: Mapping[str, Floats], *names: str) -> str:
    mean = tests.out_of_sample([values[one] for one in names], values["outcome"]).mean()
    return f"{mean:.3f} {'together' if len(names) > 1 else f'by {names[0]} alone'.replace('_', ' ')}"


def _over_each_other(claim: Claim, values: Mapping[str, Floats], axes: Sequence[Sequence[str]]) -> Iterator[Verdict]:
    """What each of the two adds to the other."""
    for own, other in (_JOINT, _JOINT[::-1]):
        exchanges = correlation.exchange(
            *axes, rows_only=own == "input_curvature", rng=np.random.default_rng(0), n_orders=N_EXCHANGES
        )
        if lack := exchanging.lacking(axes):
            yield untested(claim, f"over {other} alone", lack)
            continue
        found = tests.adds(values[own], values[other], values["outcome"], exchanges.orders)
        remark = f"means {_told(values, *_JOINT)}, {_told(values, other)}"
        yield of_found(claim, f"over {other} alone", _GAIN, found, remark=remark)


def _over_singles(claim: Claim, values: Mapping[str, Floats], axes: Sequence[Sequence[str]]) -> Iterator[Verdict]:
    """How much more the two tell than S or V, which is another thing than what they add to it."""
    outcome = values["outcome"]
    for single in (name for name in _SINGLE if name in values):
        part = f"over {_SINGLE[single]}"
        if lack := exchanging.lacking(axes, of_targets=registry.MEASURES[single].of == "target"):
            yield untested(claim, part, lack)
            continue

        def gain(cells: Ints, of: Ints, single: str = single) -> float:
            own, other = (
                tests.out_of_sample([values[one][:, cells] for one in names], outcome[:, of])
                for names in (_JOINT, (single,))
            )
            return float((own - other).mean())

        found = exchanging.gained(gain, axes, n=len(outcome))
        remark = f"means {_told(values, *_JOINT)}, {_told(values, single)}"
        yield of_found(claim, part, _GAIN, found, remark=remark)


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
            name = f"{column.replace('_', ' ')} above the better of both alone"
            beyond = _interaction(design, column, f"{penalty}, {radius}", *alone)
            yield of_found(claim, part, name, found, remark=beyond)


def _interaction(design: Design, column: str, both: str, *alone: str) -> str:
    """What both at once gain beyond the sum of their gains alone, as a remark."""
    if _NEITHER not in design.levels:
        return "no interaction: the network with neither is not among its surrogates"
    with_both, one, other, plain = design.values(column, [both, *alone, _NEITHER]).T
    found = tests.paired(with_both - one - other + plain)
    return (
        f"beyond the sum of both alone: {found.effect:+.3f} ({found.low:+.3f} to {found.high:+.3f}), p {found.p_value:.3f}"
    )


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
        "units, for "
        "what one adds to the other; for how much more both tell than S or V, each is left out in turn too (jackknife), the "
        "larger p counts, and the interval is over learners",
        needs="five surrogates or more with input_curvature and gradient_alignment (for S five targets), in 6 "
        "repetitions", measures=_JOINT,
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
        test="paired signed ranks against each alone: the smaller gain counts, with its own p where it is a loss and with "
        "the larger one else; the remark has what both gain beyond the sum of their gains alone",
        needs="a network without, with either and with both, in 6 repetitions", factors=("gradient_penalty", "sam_radius"),
        adds="surrogate=mlp_high surrogate.gradient_penalty=0,0.1 surrogate.sam_radius=0,0.1 'seed=range(10)'",
    ),
)  # fmt: skip
