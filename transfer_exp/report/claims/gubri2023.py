"""Claims on early stopping and flat minima of the surrogate, after Gubri et al. (arXiv 2304.02688): ES1, ES2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict, untested
from transfer_exp.report.claims.designs import Design
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study

SOURCE, LINK = "Gubri et al. 2023", "https://arxiv.org/abs/2304.02688"


def by_epoch(design: Design) -> list[str]:
    """The levels of ``checkpoint`` in the order of training: 0 is its end."""
    numbers = dict(zip(design.levels, design.numbers or (), strict=True))
    return sorted(design.levels, key=lambda level: numbers[level] or np.inf)


def is_end(design: Design, level: str) -> bool:
    """Whether a level of ``checkpoint`` is the end of the training: 0, or all of its epochs."""
    return level == "0" or level in set(design.rows.get("surrogate.n_epochs", ()))


def peaks_early(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a network of which at least three states of the training were surrogates.

    The best state before the last, as half of the repetitions choose it, against the last in the others.
    """
    del numbers
    for design in designs.of_factor(study, "checkpoint", fewest=3):
        if design.numbers is None:
            continue
        levels, column = by_epoch(design), designs.transfer(design.rows)
        if not is_end(design, levels[-1]):
            yield untested(claim, design.about, "the end of the training (checkpoint 0) is not among its states")
            continue
        table = design.values(column, levels)
        if len(table) < 2:
            continue
        place = int(table[::2, :-1].mean(axis=0).argmax())
        found = tests.above(table[1::2, place] - table[1::2, -1], n=len(table))
        name = f"{column.replace('_', ' ')} gained by stopping"
        yield of_found(claim, design.about, name, found, remark=f"best after epoch {levels[place]}")


def sharpness_over_stopping(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a network: SAM of the largest radius at the end of the training, against the best state without SAM.

    Each repetition's best state is chosen by all others.
    """
    del numbers
    for design in designs.of_factors(study, ("checkpoint", "sam_radius"), fewest=3):
        column = designs.transfer(design.rows)
        pairs = [level.split(", ") for level in design.levels]
        radii = sorted({float(radius) for end, radius in pairs if end == "0" and float(radius) > 0})
        plain = [level for level, (_, radius) in zip(design.levels, pairs, strict=True) if float(radius) == 0]
        if not radii or len(plain) < 2:
            continue
        own = next(
            level
            for level, (end, radius) in zip(design.levels, pairs, strict=True)
            if end == "0" and float(radius) == radii[-1]
        )
        table = design.values(column, [own, *plain])
        if len(table) < 2:
            continue
        found = tests.paired(table[:, 0] - tests.chosen_by_others(table[:, 1:]))
        yield of_found(
            claim, design.about, f"{column.replace('_', ' ')} gained by SAM", found, remark=f"SAM radius {radii[-1]:g}"
        )


CLAIMS = (
    Claim(
        id="ES1", experiment="early_stopping",
        source=SOURCE, link=LINK, scenarios=EVASION, fewest=tests.FEWEST_INTERIOR, judge=peaks_early,
        statement="Transfer is largest before the end of the surrogate's training",
        measured="Stopping the training of deep networks on images early made much better surrogates; here it is a small "
        "network",
        test="half of the repetitions choose the best state (checkpoint) before the last, in the others it is held against "
        "the last by one-sided signed ranks of the transfer gained",
        turns="a chosen state that gains nothing significant over the end (not shown), or clearly loses (the other way)",
        needs="states of one training as surrogates, its end (checkpoint 0, or the last epoch) among them, in 10 "
        "repetitions",
        factors=("checkpoint",),
        adds="surrogate=mlp_high surrogate.checkpoint=0,1,2,4,8,16 'seed=range(10)'",
    ),
    Claim(
        id="ES2", experiment="sam_radius",
        source=SOURCE, link=LINK, scenarios=EVASION, fewest=tests.FEWEST_PAIRED, judge=sharpness_over_stopping,
        statement="SAM with a large radius makes a better surrogate than early stopping",
        measured="SAM outperformed early stopping by up to 28.8 points on deep networks; of seven ways to flat minima it "
        "was the most consistent; here it is a small network",
        test="SAM of the largest radius at the end of training, less the best checkpoint without SAM, the end among "
        "them, which all other repetitions choose: signed ranks, paired by repetition",
        turns="SAM that is not significantly above the best early stop (not shown), or significantly below it (the other "
        "way)",
        needs="states of one training, and SAM at its end, in 6 repetitions", factors=("checkpoint", "sam_radius"),
        adds="surrogate=mlp_high surrogate.checkpoint=0,1,2,4,8,16 surrogate.sam_radius=0,0.1,0.4 'seed=range(10)'",
    ),
)  # fmt: skip
