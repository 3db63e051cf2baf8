"""What the page of claims makes of verdicts: each training once, two counts, the side of what fails, plain words."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_study as made_up
import test_claims_evasion as evasion
import test_claims_poisoning as poisoning

from transfer_exp.report.__main__ import main
from transfer_exp.report.claims import CLAIMS, Answer, Claim, Verdict
from transfer_exp.report.claims.base import EVASION
from transfer_exp.report.claims_counts import answer, counted_parts, counts, tally
from transfer_exp.report.claims_found import WORDS, in_plain_words, sentence
from transfer_exp.report.claims_glossary import TERMS, linked, occurring
from transfer_exp.report.claims_page import Told, write_page


def part(verdict: Answer = "holds", *, study: str = "a", learner: str = "cnn", **numbers: Any) -> dict[str, Any]:
    """Of an effect that has to be positive."""
    made = Verdict(
        claim="ES1", statement="Transfer is largest early", learner=learner, statistic=0.0492, n=10, verdict=verdict,
        statistic_name="transfer rate gained by stopping", p_value=0.031, low=0.015, high=0.0835, claimed_low=0.0,
    )  # fmt: skip
    return {"study": study, **replace(made, **numbers).plain()}


def test_trainings_judged_in_several_studies_count_once_and_all_are_named() -> None:
    parts = counted_parts(
        [part(study="a"), part(study="b", learner="cnn, batch_norm False"), part(study="c", learner="cnn, sam_radius 0"),
         part(study="b", learner="cnn, batch_norm True", statistic=0.06), part(study="c", learner="mlp")]
    )  # fmt: skip
    assert [(one["learner"], one["studies"]) for one in parts] == [
        ("cnn", ["a", "b", "c"]), ("cnn, batch_norm True", ["b"]), ("mlp", ["c"]),
    ]  # fmt: skip
    assert counts(parts)["parts"] == 3


@pytest.mark.parametrize("numbers", [{"n": 9}, {"p_value": 0.03}, {"high": 0.084}, {"low": math.nan, "high": math.nan}])
def test_what_differs_in_a_number_or_has_no_interval_is_not_the_same(numbers: dict[str, float]) -> None:
    """Two counts of 10 of 10 are equal by chance."""
    without = {} if "n" in numbers or "p_value" in numbers or numbers["high"] == 0.084 else numbers
    parts = counted_parts([part(study="a", **without), part(study="b", **numbers)])
    assert [one["studies"] for one in parts] == [["a"], ["b"]]


def test_holm_is_over_the_parts_of_all_studies_and_both_counts_are_told() -> None:
    parts = counted_parts([part(study=str(p), p_value=p, statistic=p) for p in (0.001, 0.03, 0.04)])
    adjusted = [one["p_holm_of_all"] for one in parts]
    assert adjusted == pytest.approx([0.003, 0.06, 0.06])  # 3, 2 and 1 times, never below the one before
    assert tally(counts(parts)) == "3 of 3 hold, 1 after Holm's correction"
    interval_alone = counted_parts([part(p_value=math.nan)])
    assert counts(interval_alone)["holds_after_holm"] == 1


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"p_value": 0.2, "statistic": 0.01, "low": -0.01}, "not shown"),
        ({"p_value": 0.01, "statistic": -0.05}, "the other way"),
        ({"p_value": 1.0, "statistic": -0.33, "low": -0.41, "high": -0.25}, "the other way"),  # of a one-sided test
        ({"p_value": math.nan, "low": 0.022, "high": 0.055, "claimed_low": math.nan, "claimed_high": 0.05}, "not shown"),
        ({"p_value": math.nan, "low": 0.051, "high": 0.07, "claimed_low": math.nan, "claimed_high": 0.05}, "the other way"),
        ({"p_value": 0.9, "statistic": -0.5, "low": -0.8, "high": -0.2, "claimed_low": math.nan}, "not shown"),
    ],
)
def test_what_fails_is_not_shown_or_the_other_way(numbers: dict[str, float], told: str) -> None:
    """The fourth is CH1 as it stands in the page: a mean of 3.8%, below the claimed 5%, with an interval beyond."""
    (found,) = counted_parts([part("fails", **numbers)])
    assert found["shown"] == answer(counts([found])) == told
    assert found["verdict"] == "fails"


def page(folder: Path, *told: Told, own: tuple[Claim, ...] = ()) -> tuple[dict[str, Any], str]:
    folder.mkdir()
    write_page(folder, told, own)
    return json.loads((folder / "claims.json").read_text()), (folder / "claims.html").read_text()


def verdict(verdict: Answer, *, claim: str = "ES1", **numbers: Any) -> Verdict:
    told = {name: value for name, value in part(verdict, **numbers).items() if name != "study" and value is not None}
    return Verdict(**told | {"claim": claim})


def test_studies_of_one_data_set_that_disagree_are_marked(tmp_path: Path) -> None:
    other = verdict("fails", statistic=-0.05, low=-0.08, high=-0.02, p_value=0.01)
    told = [
        Told(study="a", dataset="mnist", verdicts=[verdict("holds"), verdict("holds", claim="LR1")]),
        Told(study="b", dataset="mnist", verdicts=[other, verdict("holds", claim="LR1", statistic=0.1)]),
    ]
    content, html = page(tmp_path / "one", *told)
    cells = {row["id"]: row["cells"]["mnist"] for row in content["claims"]}
    assert [name for name, cell in cells.items() if cell["studies_disagree"]] == ["ES1"]
    assert cells["ES1"]["by_study"]["b"] == {"verdict": "fails", "shown": "the other way"}
    assert html.count("Studies disagree: a holds; b the other way") == html.count('class="apart"') == 1
    assert (cells["ES1"]["verdict"], cells["ES1"]["shown"]) == ("mixed", "mixed")


def test_a_sentence_says_what_was_found_with_its_size_and_unit() -> None:
    parts = [
        part(study="a"),
        part("fails", study="b", statistic=0.002, low=-0.02, p_value=0.6),
        part(study="c", statistic=0.07),
    ]
    assert sentence("mnist", counted_parts(parts)) == (
        "On mnist, 2 of 3 comparisons (a, b, c) show that transfer is largest early (0 after Holm's correction); 1 does not "
        "show it. Transfer rate gained by stopping early: 4.92 percentage points in the middle (0.2 to 7)."
    )
    other = part("fails", statistic=-0.2, low=-0.24, high=-0.17, p_value=0.002)
    assert sentence("mnist", counted_parts([other])) == (
        "On mnist, the one comparison (a) shows the opposite of what is claimed (transfer is largest early). Transfer rate "
        "gained by stopping early: -20 percentage points (95% interval -24 to -17)."
    )
    assert sentence("mnist", counted_parts([part("not tested")])) == ""
    assert in_plain_words("my own number") == ("My own number", "")


@pytest.mark.slow
@pytest.mark.parametrize("claim", [*evasion.TABLE, *poisoning.TABLE])
def test_every_number_of_a_published_claim_is_told_in_words_of_its_own(claim: str) -> None:
    found = evasion.verdicts(claim, 1) if claim in evasion.TABLE else poisoning.verdicts(claim, poisoning.made(claim, 1))
    names = {one.statistic_name for one in found if one.verdict != "not tested"}
    assert names
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern, *_ in WORDS)] == []


def test_terms_are_linked_at_their_first_use_and_explained_once() -> None:
    html = linked("SAM beside mixup, then SAM <again>; see https://arxiv.org/abs/2304.02688).")
    assert html.count('<a href="#term-sam">SAM</a>') == 1
    assert "&lt;again&gt;" in html
    assert '<a href="https://arxiv.org/abs/2304.02688">https://arxiv.org/abs/2304.02688</a>)' in html
    names = [term.name for term in occurring("SAM beside H and L, by Page&#39;s trend test")]
    assert {"SAM", "H and L twins", "Page's trend test"} <= set(names)
    assert "mixup" not in names
    assert names == sorted(names, key=str.lower)
    assert len({term.id for term in TERMS}) == len(TERMS)


def test_links_of_the_page_lead_somewhere_and_every_claim_says_its_own_what_would_change_it(tmp_path: Path) -> None:
    told = Told(study="a", dataset="mnist", verdicts=[verdict("holds", claim=claim.id) for claim in CLAIMS])
    html = page(tmp_path / "one", told)[1]
    anchors = re.findall(r'href="#([^"]+)"', html)
    assert anchors
    assert set(anchors) <= set(re.findall(r'id="([^"]+)"', html))
    default = Claim.__dataclass_fields__["turns"].default
    assert [claim.id for claim in CLAIMS if claim.turns == default] == []
    assert ".md" not in html


OWN = Claim(
    id="mine", source="our lab", statement="Errors rise", scenarios=EVASION, fewest=1,
    judge=lambda claim, study, numbers: iter([verdict("holds", claim="mine", statistic=0.5)]),
)  # fmt: skip


def test_claims_of_ones_own_stand_on_the_page(tmp_path: Path) -> None:
    told = Told(study="a", dataset="mnist", verdicts=[verdict("holds", claim="mine")], left_out=["other.claims"])
    content, html = page(tmp_path / "one", told, own=(OWN,))
    assert [row["cells"]["mnist"]["verdict"] for row in content["claims"] if row["id"] == "mine"] == ["holds"]
    assert '<section id="mine">' in html
    assert content["own_claims_left_out"] == ["other.claims"]
    assert "<code>claims=all,other.claims</code>" in html


@pytest.mark.slow
def test_the_command_judges_claims_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = made_up.grid(made_up.SMALL["surrogates"], made_up.SMALL["targets"], [1.0], range(2))
    made_up.write_store(tmp_path, "one", items, images=False)
    arguments = ["study=one", f"root={tmp_path}", f"out={tmp_path / 'page'}"]
    assert main([*arguments, "claims=all,test_claims_told.OWN"]) == 0
    rows = {row["id"]: row for row in json.loads((tmp_path / "page" / "claims.json").read_text())["claims"]}
    assert rows["mine"]["cells"]["mnist"]["parts"][0]["statistic"] == 0.5
    assert main([*arguments, "claims=all,nowhere.OWN"]) == 2
    assert "got nowhere.OWN" in capsys.readouterr().err
