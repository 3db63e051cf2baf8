"""Words of the page of claims, each explained once at its end, if it occurs, and linked from where it is used."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Term:
    """A term, what it is, and the pattern by which text has it."""

    name: str
    pattern: str  # empty: its name
    text: str

    @property
    def id(self) -> str:
        """Where it stands on the page."""
        return "term-" + re.sub(r"\W+", "-", self.name.lower()).strip("-")

    @property
    def found_by(self) -> str:
        """The pattern, by default that of its name."""
        return self.pattern or rf"\b{re.escape(self.name)}\b"


TERMS = (
    # tests
    Term("sign test", r"",
         "Counts in how many repetitions one value is the larger, ties left out, and asks how likely a count as uneven is "
         "by tossing a coin. With 10 repetitions 9 to 1 is the first below 5%."),
    Term("signed ranks", r"",
         "Wilcoxon's test of paired differences, one a repetition: they are ranked by size, and the ranks of the positive "
         "ones are summed. It asks how likely a sum as far from the middle is if each sign were tossed. It takes 6 "
         "repetitions."),
    Term("Page's trend test", r"Page's (?:L|trend(?: test)?)",
         "Asks whether values rise along ordered levels, such as 1, 2, 4, 8 members: within each repetition the levels are "
         "ranked by value, and the ranks are compared with the order."),
    Term("tau", r"\b[Tt]au\b",
         "Kendall's rank correlation: of all pairs of levels (or learners) the share in the same order, less that in the "
         "opposite one. 1: always rising, 0: no order, -1: always falling. A mean tau is that over the repetitions, its "
         "interval cut off at 1 and -1."),
    Term("interior maximum", r"interior (?:maximum|extremum)|\ba turn\b|both ends",
         "A level strictly between the first and the last at which the value is the largest. Half of the repetitions "
         "choose the level, the others test whether it lies above both ends: the same repetitions would find a peak in "
         "noise."),
    Term("exchange of learners",
         r"[Ee]xchang\w+ (?:of )?(?:learners|surrogates|classes)|"
         r"(?:[Ll]earners|surrogates|targets|classes) (?:are )?exchanged",
         "A permutation test: whole learners (or classes) swap their values, all their pairs with them, and the p-value is "
         "the share of such swaps with a result as strong. Pairs that share a learner are not independent, so single pairs "
         "are never swapped. It takes 5 learners."),
    Term("equivalence", r"[Ee]quivalence|two one-sided",
         "Shows that a difference is nearly none: that it lies within a margin stated beforehand, such as 0.05 of error. "
         "Two one-sided tests ask whether it is below the upper and above the lower end; an interval within the margin "
         "says the same. That a difference is not significant does not show it."),
    Term("Holm's correction", r"",
         "With many tests some have p below 0.05 by chance. The correction raises the p-values so that the chance of any "
         "wrong one is at most 5%: of n tests the smallest p is multiplied by n, the next by n - 1, and so on."),
    Term("Pearson and Kendall", r"Pearson|Kendall",
         "Two correlation coefficients, from -1 to 1: of the values (1: on a rising straight line), and of their order "
         "(tau). A claim on a correlation is judged by both."),
    Term("held-out repetition", r"held out|held-out|out of sample|out-of-sample",
         "A prediction is made for each repetition from all the others, so that a measure that fits noise gains nothing."),
    Term("bend", r"\bbends?\b",
         "The share of poisoning points at which the damage begins to rise at least twice as fast as before."),
    # models
    Term("H and L twins", r"\btwins?\b|\bH and L\b",
         "Two learners of one family, one of high complexity (H, little regularised) and one of low complexity (L, much "
         "regularised), for instance svm_high and svm_low."),
    Term("svm, logistic, ridge, rbf, mlp, cnn, forest", r"\b(?:svm|logistic|ridge|rbf|mlp|cnn|forest)(?:_(?:high|low))?\b",
         "Learners: linear support vector machine, logistic regression, ridge classifier, support vector machine with "
         "Gaussian kernel, fully connected network, small convolutional network, random forest. _high and _low: see H and "
         "L twins."),
    Term("sanitised_svm_low_neighbours", r"sanitised_\w+",
         "A target that first removes the most suspect training points of each class (5%, if the study does not say "
         "otherwise), then trains the learner that is named in the middle. Last comes how it finds them: centre (far from "
         "the mean of the class), neighbours (the nearest points have another label), loss (a large loss)."),
    Term("tuned_svm_low", r"\btuned_\w+",
         "A target that chooses its regularisation anew by cross-validation on the data it trains on, poisoned or not."),
    Term("bagged", r"\bbagged\w*",
         "Many copies of a learner, each trained on its own draw of the data; the majority decides."),
    Term("width, depth", r"\bwidth\b|\bdepth\b",
         "Units (or channels) of a network's layers, and their number. Width 0 and depth 0 mean the learner's own, which "
         "its configuration names, not a network without units."),
    Term("weight_decay, C, alpha, gamma", r"\bweight_decay\b|: C\b|\balpha\b|\bgamma\b",
         "Strength of regularisation: more of weight_decay and alpha, or less of C and gamma, makes a simpler learner."),
    Term("checkpoint", r"",
         "The state of a network after so many epochs (passes over the training data) of one training. Checkpoint 0 is its "
         "end."),
    Term("adversarial training", r"adversarial[- ]training|adversarially|adversarial radi\w+|adversarial_radius|best radius",
         "Training on points that are attacked anew at each step, within a ball of some radius; radius 0 is plain "
         "training."),
    Term("SAM", r"\bSAM\b|sam_radius",
         "Sharpness-aware minimisation: each training step takes the gradient at the worst weights within a radius, which "
         "leads to flat minima, where the loss changes little with the weights. Radius 0 is plain training."),
    Term("label smoothing", r"[Ll]abel[ _]smoothing",
         "Training with softened labels: a part of the probability, the strength, is spread over all classes."),
    Term("mixup", r"\b[Mm]ixup\b",
         "Training on mixtures of two points and their labels; the strength says how even the mixtures are."),
    Term("gradient penalty", r"[Pp]enalising input gradients|gradient[ _]penalty|\bpenalty \d",
         "A term of the training loss that grows with the loss's gradient in the input, so that the network is smooth in "
         "its input."),
    Term("batch normalisation", r"[Bb]atch[ _]norm\w*",
         "Layers that shift and scale each unit's values to mean 0 and variance 1 over a batch."),
    Term("ensemble", r"\b[Ee]nsembles?\b",
         "Several models attacked as one, by the mean of their outputs. Its family is the kind of its members."),
    # attacks and measures
    Term("share of the optimum", r"shares? of (?:the |its )?optimum",
         "How far an attack gets on its own surrogate: the rise of its objective over that which this suite's own solver "
         "reaches at its best settings."),
    Term("pgd and iterative", r"\bpgd\b|\biterative\b|projected gradients",
         "Plain attacks: steps along the sign of the gradient, each put back into the allowed ball (projected gradient "
         "descent); pgd begins at a random point of it, iterative at the point itself."),
    Term("mifgsm, nifgsm, difgsm, tifgsm, sinifgsm, vmifgsm, admix", r"\b(?:mi|ni|di|ti|sini|vmi)fgsm\b|\badmix\b",
         "Attacks made for transfer, the same steps with: momentum (mi), Nesterov's momentum (ni), random resizing of the "
         "image (di), gradients smoothed over translations (ti), Nesterov's momentum and scaled copies (sini), momentum "
         "and gradients of neighbouring points (vmi), scaled copies with other images mixed in (admix)."),
    Term("objective", r"\bobjectives?\b|\blogit\b|\bmargin\b|cross[-_ ]entropy",
         "What an attack raises on the surrogate: the loss it was trained with (cross-entropy), the raw score of the "
         "wanted class (logit), or that score less the largest other one (margin)."),
    Term("targeted", r"\b[Tt]argeted\b",
         "An attack that wants one given wrong class, not any."),
    Term("poisoning", r"\b[Pp]oison(?:ing|ed)\b",
         "An attack that adds points to the training data of the target. Its damage is the rise of the target's error "
         "above that without them."),
    Term("bilevel attack", r"[Bb]ilevel",
         "Poisoning points found by bilevel optimisation: each is moved so that a model trained with it errs most; the "
         "training is the inner problem. The attack is named poisoning in tables."),
    Term("prototypes", r"\bprototypes?\b",
         "Poisoning points that look most like a class, with another label; no model is asked."),
    Term("flips_influence", r"flips_influence|flips by influence",
         "Poisoning by turning labels of those points that, each alone, would raise the surrogate's validation loss most."),
    Term("poisoning_aware", r"poisoning_aware|aware attack\w*",
         "The bilevel attack by an attacker who knows the target's filter (by distance to the class centre) and keeps its "
         "points within what that lets through."),
    Term("regret", r"\b[Rr]egret\b",
         "What a choice loses against the best one: 1 less the transfer of the chosen surrogate over that of the best."),
    Term("centrality", r"\b[Cc]entral(?:ity)?\b",
         "How well a surrogate's input gradients agree with those of the attacker's other surrogates; it needs no target."),
    Term("posterior and logit gap", r"(?:posterior|logit) gap",
         "By how much the surrogate prefers its wrong answer to the right one on an attacked point: in probabilities, or "
         "in raw scores (logits)."),
    Term("area under the curve", r"\bAUC\b|[Aa]reas? under the curve",
         "The chance that a point that transfers is ranked above one that does not; 0.5 says nothing."),
    Term("l2 size, linf", r"\bl2\b|\blinf\b",
         "Sizes of a change: the root of the sum of squares over pixels (l2), the largest change of a pixel (linf)."),
    Term("input curvature", r"[Ii]nput[ _](?:curvature|smoothness)",
         "How strongly the loss bends in the input (largest eigenvalue of its Hessian); small is smooth."),
    Term("gradient alignment", r"[Gg]radient[ _](?:alignment|similarity)",
         "R: the mean cosine of both models' input gradients."),
)  # fmt: skip
_ADDRESS = re.compile(r"https://[^\s,;()]+[^\s,;().]")


def linked(text: str) -> Markup:
    """Text for the page: addresses are links, and terms link, at their first use, to where they are explained."""
    places: list[tuple[int, int, str]] = [(*match.span(), match[0]) for match in _ADDRESS.finditer(text)]
    for term in TERMS:
        for match in re.finditer(term.found_by, text):
            if all(match.end() <= start or match.start() >= end for start, end, _ in places):
                places.append((*match.span(), f"#{term.id}"))
                break
    parts, done = [Markup()], 0
    for start, end, to in sorted(places):
        parts += [escape(text[done:start]), Markup('<a href="{}">{}</a>').format(to, text[start:end])]
        done = end
    return Markup().join([*parts, escape(text[done:])])


def occurring(text: str) -> list[Term]:
    """The terms that a text (as HTML) has, and that their explanations have, in alphabetical order."""
    found: set[Term] = set()
    more = html.unescape(text)
    while new := {term for term in TERMS if term not in found and re.search(term.found_by, more)}:
        found |= new
        more = " ".join(term.text for term in new)
    return sorted(found, key=lambda term: term.name.lower())
