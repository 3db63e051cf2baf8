"""The words of a report that depend on the attack: what is measured, and how strength is told."""

from __future__ import annotations

from transfer_exp.report.records import Study

_ERROR = {"evasion_add": "evasion rate"}
_CONTROL = {"evasion_add": "as many random changes of features", "poisoning": "as many random points with flipped labels"}
_STRENGTH = {"evasion_add": "added features", "poisoning": "share of poisoning points"}


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
        return f"{epsilon:g} added features"
    return f"epsilon {epsilon:g}"


def share(fraction: float) -> str:
    """A share of the surrogate data in words."""
    return "all surrogate data" if fraction == 1 else f"{100 * fraction:g}% of the surrogate data"
