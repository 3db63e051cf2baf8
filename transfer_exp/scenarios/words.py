"""What each scenario calls things: its error, its control, the strength of its attack. Reports and figures read it here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one scenario.

    error: what the target's error is. control: what its attacks are compared with. axis: what the strength is, for an axis,
    with ``{norm}`` for the name of the ball. strength: one strength in words. effort: the options of the attack to raise
    where its white box is beaten. one_ball: whether points made for one target may be shown to another at the same strength,
    so that the largest error of all runs is a bound of its white box; poisoning points are made for one training set.
    """

    error: str
    control: str
    axis: str
    strength: Callable[[float], str]
    effort: str
    one_ball: bool = True


def _features(epsilon: float) -> str:
    return f"{epsilon:g} added feature{'' if epsilon == 1 else 's'}"


WORDS: dict[str, Words] = {
    "classification": Words(
        error="error",
        control="random noise of the same size",
        axis="epsilon ({norm})",
        strength=lambda epsilon: f"epsilon {epsilon:g}",
        effort="attack.n_restarts, attack.n_walk (of a network attack.n_gradients)",
    ),
    "detection": Words(
        error="evasion rate",
        control="as many random changes of features",
        axis="added features",
        strength=_features,
        effort="attack.n_tries",
    ),
    "poisoning": Words(
        error="error",
        control="as many random points with flipped labels",
        axis="share of poisoning points",
        strength=lambda epsilon: f"{100 * epsilon:g}% poisoning points",
        effort="attack.n_restarts, attack.n_walk",
        one_ball=False,
    ),
}


def words_of(scenario: str) -> Words:
    """The words of a scenario; those of classification for one that has none of its own."""
    return WORDS.get(scenario, WORDS["classification"])
