"""The words of a report: error and strength as the study's scenario calls them, and that there are too few repetitions."""

from __future__ import annotations

from transfer_exp import stats
from transfer_exp.report.study import Study
from transfer_exp.types import Floats, counted


def of_settings(study: Study) -> str:
    """Which part of its study this is, to follow a comma; empty where the study has no other."""
    return "".join(f", {name} {value}" for name, value in study.settings.items())


def error_name(study: Study) -> str:
    """What ``error`` is in this study."""
    return study.words.error


def control(study: Study) -> str:
    """What the attacks of this study are compared with."""
    return study.words.control


def of_whole(study: Study) -> str:
    """That a study has more combinations than there are runs, to follow a number of runs; empty where that is not known."""
    n, whole = sum(len(part.runs) for part in (study, *study.others)), study.whole
    if study.where or whole is None or n >= whole:
        return ""
    return f" (the whole study has {whole:,} combinations{f', all its runs here are {n:,}' if study.others else ''})"


def strength_axis(study: Study) -> str:
    """What the strength of the attack is, for an axis."""
    return study.words.axis.format(norm=study.norm)


def strength(study: Study, epsilon: float) -> str:
    """One strength in words."""
    return study.words.strength(epsilon)


def share(fraction: float) -> str:
    """A share of the surrogate data in words."""
    return "all surrogate data" if fraction == 1 else f"{100 * fraction:g}% of the surrogate data"


def too_few(n: int, fewest: int) -> str:
    """Why n repetitions allow no verdict that takes ``fewest``; empty when they do."""
    return "" if n >= fewest else f"{counted(n, 'repetition')}; a verdict needs {fewest}"


def means(first: Floats, second: Floats) -> str:
    """The means of two sets of repetitions ``(n,)``; empty where there are none."""
    return f"means {first.mean():.3f} and {second.mean():.3f}" if len(first) else ""


def too_few_differ(test: stats.SignTest) -> str:
    """Why a sign test allows no verdict: p < 0.05 is out of reach; empty when it is not."""
    fewest = stats.fewest_repetitions()
    if test.n >= fewest:
        return ""
    differ, tied = ("differs" if test.n == 1 else "differ"), counted(test.ties, "is a tie", "are ties")
    return f"{counted(test.n, 'repetition')} {differ}, {tied}; p < {stats.ALPHA:g} needs {fewest} that differ"
