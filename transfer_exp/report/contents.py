"""The tables of a report: those of the page, and those that are files alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from transfer_exp.report import attack_groups, choosing, class_drawing, control, drawing, paths, tables, words
from transfer_exp.report import attacks as attacks_of
from transfer_exp.report import classes as classes_of
from transfer_exp.report import mistakes as kinds_of_mistakes
from transfer_exp.report.claims import Numbers
from transfer_exp.report.classes import Classes
from transfer_exp.report.study import Study


class NamedTable(NamedTuple):
    """A table: section of the page ("" for none), file name without ending, caption, content."""

    section: str
    stem: str
    caption: str
    content: pd.DataFrame


def of_page(study: Study, numbers: Numbers, classes: Classes | None, choices: pd.DataFrame) -> list[NamedTable]:
    """The tables of the page. choices: ``choosing.cells``."""
    at = words.strength(study, study.epsilon_reference)
    beyond = f"above what {words.control(study)} does to the same targets; spread: half of the 95% interval over seeds"
    by_target, by_surrogate = (tables.learners_table(study, role) for role in ("target", "surrogate"))
    shares = "What less surrogate data costs: difference of mean error, less data - all data"
    rows: list[tuple[str, str, str, pd.DataFrame]] = [
        ("matrices", "surrogates_above_noise", f"Mean transfer {beyond}", control.surrogates(study)),
        ("matrices", "targets_above_noise", f"Error of each target {beyond}", control.targets(study)),
        ("matrices", "data_shares", shares, numbers.data_shares),
        ("learners", "targets", f"Targets at {at}: size of input gradients (S) and errors", by_target),
        ("learners", "surrogates", f"Surrogates at {at}: variability of the loss (V), transfer", by_surrogate),
        ("pairs", "pairs", f"Pairs at {at}: what is measured of a surrogate and a target", tables.pairs(study)),
        ("pairs", "correlations", "Correlations of the measures", numbers.correlations),
        *_choices(study, choices),
        *_sign_tests(study, numbers.sign_tests, at),
        *_of_classes(study, classes, at),
        *_of_attacks(study),
        ("sizes", "perturbation_sizes", f"Perturbation sizes of each surrogate at {at}", tables.sizes(study)),
        ("paths", "trends", "Trend and turn along each swept number, over the seeds", paths.trends(study)),
    ]
    return [NamedTable(*row) for row in rows]


def _choices(study: Study, choices: pd.DataFrame) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Of the choice of a surrogate: how well each ranking does, and for whom."""
    every = "What each ranking reaches and loses; spread: half of the 95% interval over seeds"
    lost = "Which surrogate to take: what each ranking loses of the best surrogate's error, by strength"
    summary = choosing.summary(choices)
    rows = choosing.by_target(choices, study.learners)
    here = rows[np.isclose(rows["epsilon"].astype(float), study.epsilon_reference)]
    at = words.strength(study, study.epsilon_reference)
    return [
        ("choosing", "which_surrogate_by_strength", lost, choosing.by_strength(study, summary)),
        ("choosing", "which_surrogate", every, summary),
        ("choosing", "which_surrogate_by_target", f"The same for each target at {at}", here.drop(columns="epsilon")),
    ]


def _of_attacks(study: Study) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Of attacks on training data: what each does at equal numbers of points, and in equal CPU time; what defences did."""
    harm = "What each attack does to the targets, above their clean error, and the CPU seconds that it took"
    absent = "Left out of the comparison of attacks, which is on what all attacks of a surrogate have met"
    equal = "The same in equal CPU time: the largest share that each attack had made by then"
    removed = "What defences did at each share of poisoning points: points removed, values chosen; mean over the seeds"
    found = attacks_of.damage(study)
    rows = [
        ("attacks", "damage", f"{harm}; 95% interval over seeds", found),
        ("attacks", "damage_left_out", absent, attack_groups.left_out(study)),
        ("attacks", "damage_in_equal_time", equal, attacks_of.in_equal_time(found)),
        ("attacks", "defences", removed, attacks_of.defences(study)),
    ]
    return [row for row in rows if len(row[3])]


def _of_classes(study: Study, classes: Classes | None, at: str) -> list[tuple[str, str, str, pd.DataFrame]]:
    if classes is None:
        return []
    errors = f"Error of each target on each class at {at}; 95% interval over the seeds"
    frequent = f"The most frequent mistakes of the targets at {at}: share of the points of a class, beside that of others"
    kinds = "Answers of the targets to the points that mislead the surrogate: shares, mean over the pairs, 95% interval"
    found = [
        ("classes", "class_errors", errors, classes_of.class_errors(classes, study)),
        ("classes", "mistakes", frequent, classes_of.mistakes(classes)),
        ("classes", "kinds_of_mistakes", kinds, kinds_of_mistakes.kinds(study)),
    ]
    return [row for row in found if len(row[3])]


def _sign_tests(study: Study, rows: pd.DataFrame, at: str) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Those of the claims apart from those at other epsilons and shares of data."""
    own = rows["epsilon"].isna() | (rows["epsilon"] == study.epsilon_reference)
    own &= rows["surrogate_fraction"] == study.fraction
    others = "Binomial tests at other strengths and shares of the surrogate data"
    return [
        ("tests", "binomial_tests", f"Binomial tests at {at}, {words.share(study.fraction)}", rows[own]),
        ("tests", "binomial_tests_others", others, rows[~own]),
    ]


def of_figures(study: Study, classes: Classes | None, along: pd.DataFrame) -> Iterator[NamedTable]:
    """The numbers of figures: files, but not tables of the page. along: ``paths.curves``."""
    rows = tables.at_reference(study)
    for measure in tables.cosines():
        content = tables.with_means(tables.matrix(rows, measure.name, study.learners))
        yield NamedTable("", f"{measure.name}_matrix", "", content.rename_axis("surrogate"))
    for each in (study, *study.others):
        for epsilon, fraction in cells(each):
            content = control.error_table(each, epsilon, fraction).rename_axis("surrogate")
            yield NamedTable("", drawing.matrix_stem(each, epsilon, fraction), "", content)
    for column, epsilon in product(class_drawing.outcomes(study, classes), study.epsilon_shown):
        content = class_drawing.success_matrix(study, column, epsilon).rename_axis("surrogate")
        yield NamedTable("", class_drawing.success_stem(column, epsilon), "", content)
    if classes is not None:
        yield NamedTable("", "confusion", "", classes_of.confusion_table(classes))
    yield NamedTable("", "paths", "", along)


def cells(study: Study) -> list[tuple[float, float]]:
    """Every epsilon and share of the surrogate's data."""
    return list(product(sorted(study.curves["epsilon"].unique()), study.fractions))
