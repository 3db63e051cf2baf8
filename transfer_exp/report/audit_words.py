"""What an audit says in sentences: how exposed a model is, what its numbers are means over, why, and what would help."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.report.audit import Exposure
from transfer_exp.report.audit_tables import MOST_IN_COMMON, orders, overlap
from transfer_exp.report.study import Study
from transfer_exp.types import counted


def percent(share: float) -> str:
    """A share in whole percents; below ten with a digit; a dash for NaN."""
    if math.isnan(share):
        return "–"  # noqa: RUF001
    text = f"{100 * share:.0f}" if share >= 0.0995 or share in (0, 1) else f"{100 * share:.1f}"
    return f"{text}%"


def sentence(study: Study, one: Exposure) -> str:
    """The sentence that the page opens with, on the reference epsilon."""
    k = int(np.abs(one.epsilons - study.epsilon_reference).argmin())
    low, high = one.interval(k)
    sure = "" if math.isnan(low) else f" (95% interval {percent(low)} to {percent(high)})"
    full = (
        f"{percent(float(one.white[k]))} if the attacker had full access"
        if one.has_white_box
        else "what full access would add is unknown, as the model has no input gradients"
    )
    name, error, noise = study.learners.label(one.target), float(one.error[k]), float(one.noise[k])
    return (
        f"Without access to it, an attacker makes {name} wrong on {percent(error)} of the test points{sure} by changes of "
        f"{study.norm} size {one.epsilons[k]:g}{of_scale(study, k)}; without attack it is wrong on {percent(one.clean)}, "
        f"under random noise of that size on {percent(noise)}; {full}."
    )


def of_scale(study: Study, place: int) -> str:
    """A strength as a share of the data's scale, where it was chosen so; else nothing."""
    share = shares_of_scale(study).get(place)
    return f" ({100 * share:g}% of the typical distance between points of two classes)" if share is not None else ""


def _asked_shares(study: Study) -> list[float]:
    """The shares of the data's scale that the command asked for; none where it gave strengths."""
    text = str(study.runs["epsilon.shares"].iloc[0]) if "epsilon.shares" in study.runs else ""
    try:
        return [float(part) for part in text.strip("[]").split(",")]
    except ValueError:
        return []


def shares_of_scale(study: Study) -> dict[int, float]:
    """The shares of the data's scale that the strengths are, by place in the grid; empty where they are none.

    Of counted features several shares may be one strength: then it is not said which.
    """
    found = _asked_shares(study)
    return dict(enumerate(found)) if len(found) == study.curves["epsilon"].nunique() else {}


def strengths(study: Study) -> str:
    """How the strengths were chosen."""
    epsilons, shares, asked = sorted(study.curves["epsilon"].unique()), shares_of_scale(study), _asked_shares(study)
    every = ", ".join(f"{epsilon:g}" for epsilon in epsilons)
    if not asked:
        return f"Strengths ({study.norm}) as they were asked for: {every}."
    scale = f"the median {study.norm} distance between two points of different classes"
    if not shares:
        wanted = ", ".join(f"{100 * share:g}%" for share in asked)
        return f"Strengths are shares of {scale} ({wanted}), in whole features: {every}."
    k = max(shares)
    which = ", ".join(f"{100 * shares[i]:g}% ({epsilon:g})" for i, epsilon in enumerate(epsilons))
    return f"Strengths are shares of the data's scale, {scale}, about {epsilons[k] / shares[k]:.3g} here: {which}."


def unit(one: Exposure) -> str:
    """What errors are means over, and how the surrogate was chosen."""
    if one.unit == "seed":
        return (
            f"An error is a mean over {counted(len(one.units), 'repetition')}, each with a new split of the data and new "
            "trainings; at each strength the surrogate is chosen on the other repetitions, so that its luck does not count."
        )
    which = "The model is given, so the test points are the sample" if one.given else "There are too few repetitions"
    tail = "" if one.given else " for statements on other trainings: what follows holds for those made here"
    return (
        f"{which}{tail}. An error is a mean over {counted(len(one.units), 'test point')}; at each strength the surrogate is "
        "chosen on the other half of them, so that its luck does not count. Intervals are Wilson's, over points."
    )


def known_rows(study: Study, one: Exposure) -> str:
    """Whether a given target's training data are apart from the attacker's; empty for one that is trained here."""
    if not one.given:
        return ""
    said = str(study.runs["dataset.target_rows"].iloc[0]) if "dataset.target_rows" in study.runs else ""
    if said == "none":
        return "That the model was trained on none of these data is what the command says (target_rows=none)."
    if said and said not in ("nan", "absent"):
        return f"The rows that the model was trained on are those that the command names ({said}); no attacker has them."
    return (
        "What the model was trained on is unknown: its training data may be among the attacker's, which would make attacks "
        "look stronger than they are, or among the test points, which would make the model look better. If you know the "
        "rows, say so: target_rows=rows.txt, or target_rows=none if it has seen none of them."
    )


def why(study: Study, one: Exposure, table: pd.DataFrame) -> list[str]:
    """S, R and V of the target and its surrogates, or that they are unknown."""
    own = study.runs[study.runs["target"] == one.target]
    size = float(own["gradient_size_cross_entropy"].mean())
    lines = [
        f"S, the size of the model's input gradients (cross-entropy): {size:.3g}. The larger, the further one step takes it."
        if math.isfinite(size)
        else "S, the size of the model's input gradients, is unknown: it has none."
    ]
    shared = overlap(study)
    alike = f"training sets like the attacker's share {percent(shared)} of their points, which would make it far too small"
    named = {
        "gradient_alignment": ("R, how well a surrogate's gradients agree with the model's", "it has no input gradients"),
        "variability": (
            "V, how much a surrogate depends on its training data",
            alike if shared > MOST_IN_COMMON else "the surrogates are given",
        ),
    }
    for measure, (name, reason) in named.items():
        tau, p = orders(table, measure)
        if table[measure].isna().all():
            lines.append(f"{name}, is unknown: {reason}.")
        elif math.isnan(tau):
            lines.append(f"{name}: too few different surrogates to say whether it orders them as their attacks do.")
        else:
            chance = "an order that chance hardly gives" if p < stats.ALPHA else "which may be chance"
            found = f"Kendall's tau {tau:.2f} over {len(table)} surrogates (p = {p:.2g}, {chance})"
            lines.append(f"{name}, and the error it causes: {found}.")
    return lines


def advice(study: Study, one: Exposure, table: pd.DataFrame, data: pd.DataFrame) -> list[str]:
    """What the findings of Demontis et al. (2019) suggest, with the numbers of this study."""
    first = study.learners.label(str(table["surrogate"].iloc[0]))
    chance = not table["low"].iloc[0] > table["high"].iloc[1:].max()
    sure = (
        "though the intervals of others overlap with its own"
        if chance and len(table) > 1
        else "beyond the others' intervals"
    )
    return [
        *_beside_noise(study, one),
        "Regularise more. Demontis et al. (2019) find that models with smaller input gradients, simpler or more regularised "
        "ones, are harder to mislead, with and without access. What that saves here, and what it costs without attack, says "
        "the same command with audit.compare=[this_model,regularised_model] instead of target=.",
        *_on_data(study, data),
        f"The surrogate that misleads it most here is {first}, {sure}. The paper finds that simple surrogates, whose "
        "loss depends little on their training data, attack best: a model that is unlike them is reached less, but a secret "
        "architecture is no defence.",
    ]


def _beside_noise(study: Study, one: Exposure) -> list[str]:
    """What random noise says of the model; nothing where attacks do more than it does, as they should."""
    k = int(np.abs(one.epsilons - study.epsilon_reference).argmin())
    noise, (low, high) = float(one.noise[k]), one.interval(k)
    if noise > max(high, one.clean):
        return [
            f"Random noise does more than any attack: it makes the model wrong on {percent(noise)}, so nobody "
            "needs a surrogate. Some directions, in which the data hardly vary, matter to it far too much: look for "
            "features that are divided by a tiny spread."
        ]
    if not low > max(noise, one.clean):
        found = float(one.error[k])
        if found > max(noise, one.clean):
            return [
                f"At this strength the attack does more than random noise in the mean ({percent(found)} against "
                f"{percent(noise)}), but the interval does not exclude that it does not: take more repetitions, or look at "
                "larger strengths, too."
            ]
        return ["At this strength no attack does more than random noise. Look at larger strengths, too."]
    return []


def _on_data(study: Study, data: pd.DataFrame) -> list[str]:
    """Whether it helps to keep data from attackers; nothing where that is not known."""
    part = data[data["share"] < study.fraction].dropna(subset=["low"])
    if part.empty:
        return []
    least = part.iloc[-1]
    fewer = f"with {100 * least['share']:g}% of these data the strongest attack"
    if least["low"] > 0:
        return [f"Keeping data from attackers helps: {fewer} loses {percent(least['less'])} of the points."]
    if least["high"] < 0:
        return [f"Keeping data from attackers does not help: {fewer} even does more."]
    return [f"Keeping data from attackers is not shown to help: {fewer} does as much, or the difference may be chance."]
