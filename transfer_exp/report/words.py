"""The words of a report: what an attack's error and strength are called, and that there are too few repetitions."""

from __future__ import annotations

from transfer_exp import stats
from transfer_exp.report.records import Study
from transfer_exp.types import counted

_ERROR = {"evasion_add": "evasion rate"}
_CONTROL = {"evasion_add": "as many random changes of features", "poisoning": "as many random points with flipped labels"}
_STRENGTH = {"evasion_add": "added features", "poisoning": "share of poisoning points"}


def of_settings(study: Study) -> str:
    """Which part of its study this is, to follow a comma; empty where the study has no other."""
    return "".join(f", {name} {value}" for name, value in study.settings.items())


def error_name(study: Study) -> str:
    """What ``error`` is in this study."""
    return _ERROR.get(study.attack, "error")


def control(study: Study) -> str:
    """What the attacks of this study are compared with."""
    return _CONTROL.get(study.attack, "random noise of the same size")


def strength_axis(study: Study) -> str:
    """What the strength of the attack is, for an axis."""
    return _STRENGTH.get(study.attack, f"epsilon ({study.norm})")


def strength(study: Study, epsilon: float) -> str:
    """One strength in words."""
    if study.attack == "poisoning":
        return f"{100 * epsilon:g}% poisoning points"
    if study.attack == "evasion_add":
        return f"{epsilon:g} added feature{'' if epsilon == 1 else 's'}"
    return f"epsilon {epsilon:g}"


def share(fraction: float) -> str:
    """A share of the surrogate data in words."""
    return "all surrogate data" if fraction == 1 else f"{100 * fraction:g}% of the surrogate data"


def too_few(n: int, fewest: int) -> str:
    """Why n repetitions allow no verdict that takes ``fewest``; empty when they do."""
    return "" if n >= fewest else f"{counted(n, 'repetition')}; a verdict needs {fewest}"


def too_few_differ(found: stats.SignTest) -> str:
    """Why a sign test allows no verdict: p < 0.05 is out of reach; empty when it is not."""
    fewest = stats.fewest_repetitions()
    if found.n >= fewest:
        return ""
    differ, tied = ("differs" if found.n == 1 else "differ"), counted(found.ties, "is a tie", "are ties")
    return f"{counted(found.n, 'repetition')} {differ}, {tied}; p < {stats.ALPHA:g} needs {fewest} that differ"
