"""How the parts of a claim on one data set are counted: each once, before and after Holm's correction, and on which side.

A part is what ``Verdict.plain`` gives, with its ``study``; what is filled in here: ``studies``, ``shown``, ``p_holm_of_all``
and ``after_holm``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transfer_exp import stats

Part = dict[str, Any]
HOLDS, NOT_SHOWN, OTHER_WAY, UNTESTED = "holds", "not shown", "the other way", "not tested"
_NUMBERS = ("statistic", "low", "high", "p_value", "n")


def once(parts: Sequence[Part]) -> list[Part]:
    """Parts whose numbers are all those of another study's are told once: the same trainings, judged in several studies.

    Only where there is an interval: two counts, such as 10 of 10, can be equal by chance. What follows the learner's name
    is not compared: ``cnn`` of one study is ``cnn, sam_radius 0`` of another.
    """
    kept: list[Part] = []
    for part in parts:
        same = next((one for one in kept if _same(one, part)), None)
        if same is None:
            kept.append({**part, "studies": [part["study"]]})
        else:
            same["studies"].append(part["study"])
    return kept


def _same(one: Part, other: Part) -> bool:
    if other["study"] in one["studies"] or one["low"] is None or not one["low"] < one["high"]:
        return False
    words = all(one[name] == other[name] for name in ("claim", "statement", "statistic_name", "verdict"))
    return words and _learner(one) == _learner(other) and all(_equal(one[name], other[name]) for name in _NUMBERS)


def _learner(part: Part) -> str:
    return str(part["learner"]).partition(",")[0].partition(":")[0]


def _equal(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def counted_parts(parts: Sequence[Part]) -> list[Part]:
    """Each part once, with what it shows and Holm's correction over all of them."""
    found = once(parts)
    tested = [part for part in found if part["p_value"] is not None]
    adjusted = dict(zip(map(id, tested), stats.holm([part["p_value"] for part in tested]), strict=True)) if tested else {}
    for part in found:
        p_holm = adjusted.get(id(part))
        lost = p_holm is not None and part["p_value"] < stats.ALPHA <= p_holm
        part |= {"shown": shown(part), "p_holm_of_all": p_holm, "after_holm": part["verdict"] == HOLDS and not lost}
    return found


def shown(part: Part) -> str:
    """The verdict; of a part that fails, "the other way" or "not shown".

    It is the other way where p is below 0.05, or the interval lies wholly outside of where the claim has the statistic.
    """
    if part["verdict"] != "fails":
        return str(part["verdict"])
    significant = part["p_value"] is not None and part["p_value"] < stats.ALPHA
    return OTHER_WAY if significant or _beyond(part) else NOT_SHOWN


def _beyond(part: Part) -> bool:
    """Whether the interval lies wholly outside of where the claim has the statistic."""
    if part["low"] is None or part["high"] is None:
        return False
    below = part["claimed_low"] is not None and part["high"] < part["claimed_low"]
    return below or (part["claimed_high"] is not None and part["low"] > part["claimed_high"])


def counts(parts: Sequence[Part]) -> dict[str, int]:
    """Of counted parts: how many were tested, hold, still do after Holm's correction, are not shown, or the other way."""
    answers = [part["shown"] for part in parts]
    return {
        "parts": len(answers) - answers.count(UNTESTED),
        "holds": answers.count(HOLDS),
        "holds_after_holm": sum(part["after_holm"] for part in parts),
        "not_shown": answers.count(NOT_SHOWN),
        "the_other_way": answers.count(OTHER_WAY),
    }


def answer(found: dict[str, int]) -> str:
    """What a cell shows, by its counts."""
    if not found["parts"]:
        return UNTESTED
    if found["holds"]:
        return HOLDS if found["holds"] == found["parts"] else "mixed"
    sides = {NOT_SHOWN: found["not_shown"], OTHER_WAY: found["the_other_way"]}
    return " or ".join(word for word, n in sides.items() if n)


def tally(found: dict[str, int]) -> str:
    """``6 of 9 hold, 1 after Holm's correction; 2 not shown, 1 the other way``."""
    after = f", {found['holds_after_holm']} after Holm's correction" if found["holds"] else ""
    sides = {NOT_SHOWN: found["not_shown"], OTHER_WAY: found["the_other_way"]}
    rest = ", ".join(f"{n} {word}" for word, n in sides.items() if n)
    return f"{found['holds']} of {found['parts']} hold{after}{f'; {rest}' if rest else ''}"


def summed(answers: Sequence[str]) -> str:
    """``holds`` or ``fails`` where all tested verdicts do, ``mixed`` where some do, else ``not tested``."""
    tested = set(answers) - {UNTESTED}
    return "mixed" if len(tested) > 1 else next(iter(tested), UNTESTED)


def by_study(parts: Sequence[Part]) -> dict[str, dict[str, str]]:
    """The verdict of each study that tested a part, and what it shows."""
    tested = [part for part in parts if part["verdict"] != UNTESTED]
    studies = dict.fromkeys(study for part in tested for study in part["studies"])
    own = {study: [part for part in tested if study in part["studies"]] for study in studies}
    return {
        study: {"verdict": summed([part["verdict"] for part in of]), "shown": answer(counts(of))}
        for study, of in own.items()
    }
