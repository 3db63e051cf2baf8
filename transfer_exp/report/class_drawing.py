"""Figures of studies with many classes or a goal: success, the error of each class, who is mistaken for whom."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from transfer_exp import figures
from transfer_exp.measures import registry
from transfer_exp.report import classes as classes_of
from transfer_exp.report import drawing, mistakes, tables, words
from transfer_exp.report.classes import Classes
from transfer_exp.report.drawing import Picture
from transfer_exp.report.study import Study

_OF_MANY = ("success", "transfer_rate", "same_mistake")
_CONFUSIONS = {
    "target": "What the targets take the points for that were made on the surrogates",
    "surrogate": "What the surrogates take the same points for",
    "target_clean": "What the targets take the points for before the attack",
    "surrogate_clean": "What the surrogates take the points for before the attack",
}


def outcomes(study: Study, classes: Classes | None) -> list[str]:
    """The measures that are shown as matrices beside the error: of many classes, and where the attack has a goal."""
    of_goal = study.goal != "any" and study.curves["targeted_success"].notna().any()
    known = [name for name in _OF_MANY if study.curves[name].notna().any()]  # runs of before lack some
    return [*(known if classes else []), *(["targeted_success"] if of_goal else [])]


def success_matrix(study: Study, column: str, epsilon: float) -> pd.DataFrame:
    """Surrogates x targets, with means, on all of the surrogate data."""
    return tables.with_means(tables.matrix(tables.at(study, epsilon), column, study.learners))


def success_stem(column: str, epsilon: float) -> str:
    """File name, without ending, of a matrix of success."""
    return f"{column}_matrix_eps{epsilon:g}"


def pictures(study: Study, classes: Classes | None) -> Iterator[Picture]:
    """All figures of this room; none for a study of two classes without a goal."""
    for column in outcomes(study, classes):
        yield from _success(study, column)
    yield from _whitebox_goals(study)
    yield from mistakes.pictures(study)
    if classes is not None and len(classes.names) <= classes_of.MOST_DRAWN:
        yield from _class_errors(study, classes)
        yield from _confusions(study, classes)


def _success(study: Study, column: str) -> Iterator[Picture]:
    measure = registry.MEASURES[column]
    for epsilon in study.epsilon_shown:
        wide = success_matrix(study, column, epsilon)
        at = words.strength(study, epsilon)
        name = column.replace("_", " ")
        title = f"{name} in %, {at}"
        figure, ax, looks = drawing.canvas_of(wide, study, title)
        figures.heat_map(wide, ax, looks=looks, title=title, percent=True)
        goal = f" Goal: {study.goal}." if column == "targeted_success" else ""
        caption = f"{measure.heading.capitalize()}, in % at {at}.{goal}"
        stem = success_stem(column, epsilon)
        yield Picture(stem=stem, section="classes", row=name.capitalize(), caption=caption, figure=figure)


def _whitebox_goals(study: Study) -> Iterator[Picture]:
    """How far the white-box attacks reach their goal, over the strengths."""
    column = "whitebox_targeted_success"
    data = tables.whitebox_curves(study, column)
    if study.goal != "any" and len(data):
        figure, ax = figures.single(4.9, 4.0)
        looks, ylabel = study.learners.looks(data["learner"]), registry.MEASURES[column].title
        figures.security_curves(data, ax, looks=looks, title="", xlabel=words.strength_axis(study), ylabel=ylabel)
        caption = (
            f"{registry.MEASURES[column].heading.capitalize()} of each target; bands: 95% interval of the mean over seeds."
        )
        yield Picture(stem=column, section="classes", row="Targeted success, white-box", caption=caption, figure=figure)


def _class_errors(study: Study, classes: Classes) -> Iterator[Picture]:
    table = classes_of.class_errors(classes, study)
    at = words.strength(study, study.epsilon_reference)
    error = words.error_name(study)
    for column, when in (("error", at), ("clean_error", "before the attack")):
        wide = table.pivot(index="target", columns="class", values=column)
        wide = wide.reindex(index=study.learners.ordered(wide.index), columns=list(classes.names))
        title = f"{error} of each class in %, {when}"
        figure, ax, looks = drawing.canvas_of(wide, study, title)
        figures.heat_map(wide, ax, looks=looks, title=title, percent=True, xlabel="class", ylabel="target")
        caption = (
            f"{error.capitalize()} of each target on the points of each class in %, {when}; mean over surrogates and seeds."
        )
        yield Picture(stem=f"class_{column}", section="classes", row="Each class", caption=caption, figure=figure)


def _confusions(study: Study, classes: Classes) -> Iterator[Picture]:
    names = list(classes.names)
    at = words.strength(study, study.epsilon_reference)
    for role, what in _CONFUSIONS.items():
        wide = pd.DataFrame(classes.shares[role], index=names, columns=names)
        when = "clean" if role.endswith("_clean") else at
        title = f"{role.removesuffix('_clean')}, {when}"
        figure, ax, _ = drawing.canvas_of(wide, study, title)
        figures.heat_map(wide, ax, looks={}, title=title, percent=True, xlabel="taken for", ylabel="class")
        caption = (
            f"{what}, in % of the points of a class; mean over all combinations{'' if when == 'clean' else f', at {at}'}."
        )
        row = "Who is mistaken for whom" if when != "clean" else "Who was mistaken for whom before"
        yield Picture(stem=f"confusion_{role}", section="classes", row=row, caption=caption, figure=figure)
