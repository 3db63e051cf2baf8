"""What was found of a claim on one data set, as sentences: how many comparisons show it, and how large the effect is."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from transfer_exp.report.claims_counts import NOT_SHOWN, OTHER_WAY, Part, counts
from transfer_exp.report.page import number

MOST_STUDIES = 4  # by name
_POINTS, _PERCENT, _SECONDS, _PLAIN = "percentage points", "%", "s", ""
_PAIR = r"ratio of (.+) on (.+), largest in the other half"
_SCALE = {_POINTS: 100.0, _PERCENT: 100.0}
# By a statistic's name (of a ``Verdict``): what it is in plain words, and in which unit a sentence tells it.
WORDS = (
    (r"repetitions with (H|L) larger", "Repetitions in which {0} has the larger value", _PLAIN),
    (r"repetitions with matching larger", "Repetitions in which surrogates of the target's complexity do more harm", _PLAIN),
    (r"repetitions with others larger", "Repetitions in which the other targets suffer more", _PLAIN),
    (r"(Pearson|Kendall)", "Correlation over learners or pairs ({0}'s coefficient, -1 to 1)", _PLAIN),
    (r"difference of mean error.*", "Change of the error when the surrogate has less data", _POINTS),
    (r"\|Pearson of R\| - \|Pearson of V\|", "Correlation of the ratio with R, sign aside, less that with V", _PLAIN),
    (_PAIR, "Black-box over white-box error of the pair", _PLAIN),
    (r"(.+) above that of both ends", "{0} at an inner level less that at the better end (below 0: an end is best)",
     _POINTS),
    (r"gain in rank correlation.*", "Gain in the correlation of predicted with true transfer", _PLAIN),
    (r"(.+) lost beside (.+)", "{0} that is lost beside {1}", _POINTS),
    (r"(.+) lost", "{0} that is lost", _POINTS),
    (r"(.+) above the better of both alone", "{0} with both, less that with the better one alone", _POINTS),
    (r"(.+) gained by stopping", "{0} gained by stopping early", _POINTS),
    (r"(.+) gained by SAM", "{0} of SAM less that of early stopping", _POINTS),
    (r"(?:mean )?Kendall's tau of (.+) with (.+)", "Trend of {0} with {1} (tau: 1 rises throughout, -1 falls)", _PLAIN),
    (r"AUC above that of the logit gap", "Area under the curve of the posterior gap, less that of the logit gap", _PLAIN),
    (r"(.+) gained by the first doubling.*", "{0} gained by the first doubling, less that by the last", _POINTS),
    (r"(.+) above the best family", "{0} of mixed ensembles less that of the best family", _POINTS),
    (r"difference in (.+) that goes", "By how much the difference in {0} is smaller at equal l2 size", _POINTS),
    (r"targeted success above cross-entropy", "Targeted success, less that with cross-entropy", _POINTS),
    (r"late gain beyond that of cross-entropy", "Late gain in success, less that with cross-entropy", _POINTS),
    (r"(.+) above that of plain surrogates", "{0} from robust surrogates, less that from plain ones", _POINTS),
    (r"error beyond that under noise", "Error beyond that under random noise of the same size", _POINTS),
    (r"mean regret in (.+), share of the best", "Share of the best surrogate's {0} that is lost", _PERCENT),
    (r"damage above (\d+%) of that of bilevel.*", "Damage less {0} of that of the bilevel attack", _POINTS),
    (r"CPU seconds below (\d+%) of those of bilevel.*", "{0} of the bilevel attack's CPU time, less its own", _SECONDS),
    (r"(.+) below (\d+%) of those of bilevel.*", "{1} of the bilevel attack's {0}, less its own", _PLAIN),
    (r"damage less than with a fixed value", "Damage with a fixed value, less that with one chosen anew", _POINTS),
    (r"Kendall's tau with the damage(?:, turned)?", "Rank correlation (tau), positive as claimed", _PLAIN),
    (r"by how much a smooth curve misses.*", "By how much more a smooth curve misses the damage than a bent one", _PLAIN),
    (r"damage past the filter, less half.*", "Damage past the filter, less half of that without it", _POINTS),
    (r"half of the damage to their own kind.*", "Half of the damage to their own kind, less that to the other", _POINTS),
    (r"half of the damage without the filter.*", "Half of the damage without the filter, less that with it", _POINTS),
    (r"(transfer rate|error) above (.+)", "{0} above that of {1}", _POINTS),
)  # fmt: skip


# Of which two the means of a remark are, in their order.
MEANS = (
    (r"damage above \d+%.*|.+ below \d+% of those of bilevel.*", "of the heuristic, then of the bilevel attack"),
    (r"damage less than with a fixed value", "with a value chosen anew, then with the fixed one"),
    (r"repetitions with .*", "of what should be larger, then of the other"),
    (r"half of the damage to their own kind.*", "of the damage to their own kind, then to the other"),
    (r"half of the damage without the filter.*", "of the damage without the filter, then with it"),
    (r"damage past the filter, less half.*", "of the damage past the filter, then without it"),
    (
        r"(?:transfer rate|error) above .+|(?:share of optimum|surrogate error) lost beside .+",
        "of the attack, then of the plain one",
    ),
)


def of_means(name: str) -> str:
    """Of which two the means of a statistic's remarks are; empty where that is not known."""
    return next((words for pattern, words in MEANS if re.fullmatch(pattern, name)), "")


def in_plain_words(name: str) -> tuple[str, str]:
    """What a statistic is, and the unit in which a sentence tells it; its own name where it is none of ours."""
    for pattern, words, unit in WORDS:
        match = re.fullmatch(pattern, name)
        if match:
            told = words.format(*match.groups())
            return told[0].upper() + told[1:], unit
    return name[:1].upper() + name[1:], _PLAIN


def groups(parts: Sequence[Part]) -> list[list[Part]]:
    """The tested parts by what they say and measure."""
    found: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        if part["verdict"] != "not tested":
            key = (part["statement"], in_plain_words(part["statistic_name"])[0])
            found.setdefault(key, []).append(part)
    return list(found.values())


def name_of(part: Part) -> str:
    """Which learner, attack or pair a part is on; empty for all."""
    pair = re.fullmatch(_PAIR, part["statistic_name"])
    own = "" if part["learner"] == "-" else str(part["learner"])
    return f"{pair[1]} on {pair[2]}" if pair else own


def sentence(dataset: str, parts: Sequence[Part]) -> str:
    """What was found, with direction, typical effect and studies; empty where nothing was tested."""
    said = [_of_group(own) for own in groups(parts)]
    return f"On {dataset}, {' '.join([said[0], *(one[0].upper() + one[1:] for one in said[1:])])}" if said else ""


def _of_group(parts: Sequence[Part]) -> str:
    what, unit = in_plain_words(parts[0]["statistic_name"])
    said = _one(parts[0]) if len(parts) == 1 else _several(parts)
    return f"{said}. {what}: {_typical(parts, unit)}."


def _one(part: Part) -> str:
    statement, which = lowered(part["statement"]), f"the one comparison ({of_studies([part])})"
    if part["shown"] == OTHER_WAY:
        return f"{which} shows the opposite of what is claimed ({statement})"
    if part["shown"] == NOT_SHOWN:
        return f"{which} does not show that {statement}"
    return f"{which} shows that {statement}" + ("" if part["after_holm"] else " (not after Holm's correction)")


def _several(parts: Sequence[Part]) -> str:
    found = counts(parts)
    after = f" ({found['holds_after_holm']} after Holm's correction)" if found["holds"] else ""
    no, other = found["not_shown"], found["the_other_way"]
    rest = [f"{no} {'does' if no == 1 else 'do'} not show it"] if no else []
    rest += [f"{other} {'shows' if other == 1 else 'show'} the opposite"] if other else []
    show = "shows" if found["holds"] == 1 else "show"
    which = f"{found['holds']} of {found['parts']} comparisons ({of_studies(parts)})"
    said = f"{which} {show} that {lowered(parts[0]['statement'])}{after}"
    return "; ".join([said, *rest])


def _typical(parts: Sequence[Part], unit: str) -> str:
    if parts[0]["statistic_name"].startswith("repetitions") and all(part["statistic"] is not None for part in parts):
        pairs = sorted({(part["statistic"], part["n"]) for part in parts})
        return _span([f"{number(value)} of {n}" for value, n in pairs])
    scale = _SCALE.get(unit, 1.0)
    values = sorted(scale * part["statistic"] for part in parts if part["statistic"] is not None)
    if not values:
        return "no number"
    in_unit = f"{'' if unit == _PERCENT else ' '}{unit}".rstrip()
    if len(parts) == 1:
        low, high = parts[0]["low"], parts[0]["high"]
        ends = "" if low is None or high is None else f" (95% interval {number(scale * low)} to {number(scale * high)})"
        return f"{number(values[0])}{in_unit}{ends}"
    if len(values) == 2:
        return f"{_span([number(value) for value in values])}{in_unit}"
    return f"{number(statistics.median(values))}{in_unit} in the middle ({_span([number(v) for v in values])})"


def _span(values: Sequence[str]) -> str:
    return values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


def of_studies(parts: Sequence[Part]) -> str:
    """The studies that parts stand in, by name where they are few."""
    studies = list(dict.fromkeys(study for part in parts for study in part["studies"]))
    return ", ".join(studies) if len(studies) <= MOST_STUDIES else f"{len(studies)} studies"


def lowered(statement: str) -> str:
    """A statement inside a sentence: without its capital, unless that is a symbol or an abbreviation, and its colon."""
    first, _, _ = statement.partition(" ")
    start = statement[:1].lower() if first == "A" or first[1:2].islower() else statement[:1]
    return start + statement[1:].replace(": ", ", ", 1)
