"""The page of claims x data sets: what stands on it, the same twice, and data sets that disagree are marked."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted_poisoning as planted
import pytest
import synthetic_study as made_up
from conftest import SOURCE

from transfer_exp.report.__main__ import main
from transfer_exp.report.claims import CLAIMS, Answer, Verdict, Wanting, wanting
from transfer_exp.report.claims_counts import summed
from transfer_exp.report.claims_page import Told, dataset_of, write_page


def verdict(answer: Answer, claim: str = "2a", learner: str = "svm") -> Verdict:
    return Verdict(
        claim=claim, statement="as claimed", learner=learner, statistic_name="repetitions with L larger", statistic=9, n=10,
        verdict=answer, p_value=0.02,
    )  # fmt: skip


def page(folder: Path, *told: Told) -> dict[str, Any]:
    folder.mkdir()
    write_page(folder, told)
    found: dict[str, Any] = json.loads((folder / "claims.json").read_text(), parse_constant=pytest.fail)
    return found


def test_a_claim_is_summed_over_its_parts() -> None:
    assert summed([]) == summed(["not tested"]) == "not tested"
    assert summed(["holds", "not tested"]) == "holds"
    assert summed(["holds", "fails"]) == "mixed"


def test_data_sets_that_disagree_are_marked(tmp_path: Path) -> None:
    told = (
        Told(study="a", dataset="mnist", verdicts=[verdict("holds"), verdict("holds", "1a")]),
        Told(study="b", dataset="fashion", verdicts=[verdict("fails"), verdict("not tested", "1a")]),
    )
    found = page(tmp_path / "one", *told)
    assert [row["id"] for row in found["claims"]] == sorted(claim.id for claim in CLAIMS)
    assert [row["id"] for row in found["claims"] if row["disagree"]] == ["2a"]
    assert found["summary"].endswith(
        "fashion: 0 of 1 hold (0 after Holm's correction), 0 in part, 1 fail (0 not shown, 1 the other way); "
        "mnist: 2 of 2 hold (2 after Holm's correction), 0 in part, 0 fail"
    )
    rows = list(csv.DictReader((tmp_path / "one" / "claims.csv").read_text().splitlines()))
    assert [(row["dataset"], row["claim"], row["verdict"]) for row in rows] == [
        ("mnist", "2a", "holds"), ("mnist", "1a", "holds"), ("fashion", "2a", "fails"), ("fashion", "1a", "not tested"),
    ]  # fmt: skip
    html = (tmp_path / "one" / "claims.html").read_text()
    assert html.count('<tr class="disagree">') == 1
    page(tmp_path / "two", *told)
    for name in ("claims.html", "claims.json", "claims.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_cell_has_the_numbers_of_its_parts_and_their_study(tmp_path: Path) -> None:
    of_interval = replace(verdict("fails", "CH1", "-"), statistic_name="mean regret", statistic=0.123, low=0.05, high=0.2)
    lacking = replace(verdict("not tested", "1a"), statistic=math.nan, reason="no run has SVM H as target")
    several = [verdict("holds" if i < 3 else "fails", "3a", f"l{i}") for i in range(5)]
    several = [replace(one, statistic=i, p_value=i / 100) for i, one in enumerate(several)]
    told = [
        Told(study="a", dataset="mnist", verdicts=[verdict("holds"), of_interval, lacking, *several]),
        Told(study="b", dataset="mnist", verdicts=[lacking]),
    ]
    page(tmp_path / "one", *told)
    html = (tmp_path / "one" / "claims.html").read_text()
    lines = [line[len("<br><small>") : -len("</small>")] for line in html.splitlines() if line.startswith("<br><small>")]
    assert lines == [
        "svm: repetitions in which L has the larger value 9 of 10, p 0.02; a",
        "3 of 5 hold, 2 after Holm&#39;s correction; 2 the other way. "
        "Repetitions in which L has the larger value: 0 to 4 of 10, p 0 to 0.04; a",
        "mean regret 0.123 (0.05 to 0.2), p 0.02; a",
    ]
    assert html.count("<li>svm: no run has SVM H as target (a, b)</li>") == 1


def test_what_studies_lack_for_a_claim_is_named_once_with_a_command(tmp_path: Path) -> None:
    study = planted.study(lambda rows, sign: None, 0, seeds=1)
    held = verdict("holds", "LR3")
    told = [
        Told(study=name, dataset="mnist", verdicts=own, others=wanting(study, own))
        for name, own in (("a", []), ("b", [held]))
    ]
    page(tmp_path / "one", *told)
    sections = (tmp_path / "one" / "claims.html").read_text().split('<section id="')
    html = {section.partition('"')[0]: section for section in sections[1:]}
    told_once = (
        "<li>a, b: to test it takes a study of classification or detection; for instance <code>python -m transfer_exp"
    )
    assert html["LR1"].count(f"{told_once} experiment=training_radius</code></li>") == 1
    assert "to test it takes" not in html["LR3"]


def test_the_page_names_no_folder_of_who_made_it(tmp_path: Path) -> None:
    lacking = Wanting(
        claim=CLAIMS[0], needs="x", command="run -m 'seed=range(10)' paths.root=/home/me 'paths.data=/my data' a=1"
    )
    page(tmp_path / "one", Told(study="a", dataset="mnist", verdicts=[], others=[lacking]))
    broken = Wanting(claim=CLAIMS[0], needs="x", command="run it's paths.root=/home/me")
    page(tmp_path / "two", Told(study="a", dataset="mnist", verdicts=[], others=[broken]))
    assert "/home/me" not in (tmp_path / "two" / "claims.html").read_text()
    assert "<code>run -m &#39;seed=range(10)&#39; a=1</code>" in (tmp_path / "one" / "claims.html").read_text()


def test_what_is_lacking_is_told_of_each_data_set_that_has_no_verdict(tmp_path: Path) -> None:
    """A verdict on one data set, or a part that could not be tested, hides nothing of what another data set lacks."""
    study = planted.study(lambda rows, sign: None, 0, seeds=1)
    held, untested = verdict("holds", "LR3"), replace(verdict("not tested", "LR4"), statistic=math.nan, reason="too few")
    told = [
        Told(study="a", dataset="fashion", verdicts=[untested], others=wanting(study, [untested])),
        Told(study="b", dataset="mnist", verdicts=[held], others=wanting(study, [held])),
    ]
    found = {row["id"]: row for row in page(tmp_path / "one", *told)["claims"]}
    assert set(found["LR3"]["needs"]) == {"a"}
    assert set(found["LR4"]["needs"]) == {"a", "b"}
    html = (tmp_path / "one" / "claims.html").read_text()
    sections = {section.partition('"')[0]: section for section in html.split('<section id="')[1:]}
    assert [sections["LR3"].count(f"to test it on {name}:") for name in ("fashion", "mnist")] == [1, 0]
    assert [sections["LR4"].count(f"to test it on {name}:") for name in ("fashion", "mnist")] == [1, 1]


@pytest.mark.slow
def test_the_command_makes_the_page_of_several_studies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = made_up.grid(made_up.SMALL["surrogates"], made_up.SMALL["targets"], [1.0], range(6))
    for study in ("one", "two"):
        (tmp_path / study).mkdir()
        made_up.write_store(tmp_path / study, study, items, images=False)
    out, roots = tmp_path / "claims", f"root=[{tmp_path / 'one'},{tmp_path / 'two'}]"
    assert main(["claims=all", "study=[one,two]", roots, f"out={out}"]) == 0
    found = json.loads((out / "claims.json").read_text())
    assert found["studies"] == {"one": "mnist", "two": "mnist"}
    row = next(row for row in found["claims"] if row["id"] == "LR1")
    assert row["needs"]["one"]["command"] == "python -m transfer_exp experiment=training_radius"
    assert {part["study"] for row in found["claims"] for part in row["cells"]["mnist"]["parts"]} == {"one", "two"}
    made_up.write_store(tmp_path / "two", "one", items[:1], images=False)
    for study, told in (("one", "got sqlite:////.*/one/mlflow.db and "), ("three", "got none")):
        assert main(["claims=all", f"study=[{study}]", roots, f"out={out}"]) == 2
        assert re.search(f"expected one of the 2 stores to have {study}, {told}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "told"), [(["study=[]"], "expected names that differ"), (["study=[a,a]"], "expected names that differ"),
                            (["study=[a]", "where=x=1"], "beside claims=all"),
                            (["study=[a]", "root=[]"], "expected a folder or several")],
)  # fmt: skip
def test_wrong_arguments_are_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims=all", *arguments]) != 0
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "classes", "dataset"),
    [("mnist89", "[8, 9]", "mnist"), ("mnist", None, "mnist"), ("drebin215", None, "drebin215"), ("mine", "[0, 1]", "mine")],
)
def test_classes_of_one_data_set_stand_in_one_column(name: str, classes: str | None, dataset: str) -> None:
    study = planted.study(lambda rows, sign: None, 0, seeds=1)
    runs = study.runs.assign(**{"dataset": name, "dataset.classes": classes})
    assert dataset_of(replace(study, runs=runs)) == dataset


def test_a_claim_on_other_scenarios_is_named_with_a_shipped_study() -> None:
    found = {one.claim.id: one for one in wanting(planted.study(lambda rows, sign: None, 0, seeds=1), [])}
    assert found["1a"].command == "python -m transfer_exp -m study=planted target=svm_high,svm_low 'seed=range(10)'"
    assert found["2a"].command == "python -m transfer_exp experiment=mnist89_evasion"
    assert found["6"].needs == "a study of detection"
    assert found["LR1"].command == "python -m transfer_exp experiment=training_radius"
    shipped = {file.stem for file in (SOURCE / "conf" / "experiment").glob("*.yaml")}
    assert [claim.id for claim in CLAIMS if claim.experiment.partition(" ")[0] not in shipped] == []
    assert [one.claim.id for one in found.values() if not one.command] == []
