"""Measures, claims and data sets of the user's own, from a folder outside the package, without an edit of the package."""

from __future__ import annotations

import functools
import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import own_folder
import pandas as pd
import pytest
from conftest import SMALL, SOURCE, Cli, runs, subprocess_cli
from omegaconf import OmegaConf
from synthetic_study import frames, grid
from test_track import same_by_hand

from transfer_exp import track
from transfer_exp.cli.own import measures_of
from transfer_exp.combination import Outcome
from transfer_exp.measures import Measure, registry
from transfer_exp.measures.own import check_own, checked
from transfer_exp.report.claims import Claim, Numbers, evaluate
from transfer_exp.report.claims.base import EVASION
from transfer_exp.report.claims.own import check_claims, claims_named
from transfer_exp.report.study import Study
from transfer_exp.types import UserError

FACTOR = 8.0


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder; the command is typed beside it. What Python learns of it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield own_folder.write(tmp_path)
    forget()


def forget() -> None:
    """As in a new process."""
    sys.modules.pop("my_module", None)
    importlib.invalidate_caches()


@pytest.mark.slow
def test_a_study_with_all_of_them_by_one_command(cli: Cli, root: Path, mine: Path) -> None:
    del mine
    done = cli("--config-dir=mine", "experiment=beads")
    assert done.rc == 0, done.stderr
    recorded = runs(root, "mine", kind="combination")
    assert len(recorded) == 2
    for run in recorded:
        assert run.data.metrics["level"] == pytest.approx(2 / 3)
        assert run.data.metrics["health/level_undefined"] == 0.25
        assert run.data.metrics["curve/strength"] == FACTOR * 0.25
        assert run.data.params["dataset"] == "beads"
        assert run.data.params["dataset._target_"] == "my_module.beads"
        assert not [name for name in run.data.params if name.startswith(("measures", "claims"))]
        assert {"source/my_module.beads", "source/my_module.level", "source/my_module.strength"} <= set(run.data.tags)
        assert "beads" in run.data.tags["mlflow.note.content"]
    assert len({run.data.tags["data_checksum"] for run in recorded}) == 1
    assert recorded[0].data.tags["data_checksum"] != ""
    see_report(root / "reports" / "mine")


def see_report(folder: Path) -> None:
    see_numbers(folder)
    see_claim(folder)
    assert not [gap for gap in json.loads((folder / "claims.json").read_text())["gaps"] if "measure" in gap]


def see_numbers(folder: Path) -> None:
    """In csv files, tables, headings, correlations and scatter plots."""
    curves, pairs = pd.read_csv(folder / "curves.csv"), pd.read_csv(folder / "tables" / "pairs.csv")
    assert curves["strength"].to_numpy() == pytest.approx(FACTOR * curves["epsilon"].to_numpy())
    assert pd.read_csv(folder / "runs.csv")["level"].to_numpy() == pytest.approx([2 / 3, 2 / 3])
    assert pairs["strength"].to_numpy() == pytest.approx([2, 2])
    assert pairs["level"].to_numpy() == pytest.approx([2 / 3, 2 / 3])
    assert {"level", "strength"} <= set(pd.read_csv(folder / "tables" / "correlations.csv")["x"])
    html = (folder / "report.html").read_text()
    for heading in ("level of the points", "F, strength of the attack"):
        assert f'<th scope="col">{heading}</th>' in html
    for stem in ("level_vs_error", "strength_vs_error"):
        assert f'id="{stem}"' in html


def see_claim(folder: Path) -> None:
    (own,) = [c for c in json.loads((folder / "claims.json").read_text())["claims"] if c["claim"] == "strong"]
    assert (own["statistic"], own["n"], own["verdict"]) == (2, 1, "not tested")  # one repetition, of three
    assert "strong. Strength exceeds 1" in (folder / "report.html").read_text()
    assert "(our lab)" in (folder / "report.html").read_text()


def test_nothing_of_a_study_stays_in_the_registry(mine: Path) -> None:
    del mine
    before = dict(registry.MEASURES)
    with registry.extended([Measure(name="fleeting", heading="fleeting", of="pair", is_curve=True)]):
        assert registry.curves()[-1] == "fleeting"
    assert before == registry.MEASURES


def test_what_is_finished_is_skipped_unless_it_lacks_a_measure(root: Path, mine: Path) -> None:
    """From a notebook, which has them as a command has."""
    sys.path.insert(0, str(mine))

    def level() -> Measure:
        function = importlib.import_module("my_module").level
        return Measure(name="level", heading="level", of="pair", compute=function)

    def half(share: float) -> Measure:
        compute = functools.partial(share_of_largest, share=share)
        return Measure(name="half", heading="a share of the largest epsilon", of="target", compute=compute)

    def status(*measures: Measure) -> str:
        return track(same_by_hand(measures=measures)).status

    assert status() == "finished"
    assert [status(level(), half(0.5)) for _ in range(2)] == ["finished", "skipped"]
    assert [status(), status(level())] == ["skipped", "skipped"]  # what has more has these, too
    assert status(half(0.25)) == "finished"
    (mine / "my_module.py").write_text(own_folder.MODULE.replace("[0, 1, np.nan, 1]", "[0, 1, 1, np.nan, 1]"))
    forget()
    assert status(level()) == "finished"
    made = runs(root)
    assert [run.data.metrics.get("half") for run in made] == [None, 0.25, 0.125, None]
    assert [run.data.metrics.get("level") for run in made] == [None, pytest.approx(2 / 3), None, 0.75]
    assert len({run.data.tags["signature"] for run in made}) == 1  # what is done is the same
    config = Path(made[1].info.artifact_uri.removeprefix("file://"), "config.yaml").read_text()
    assert "share: 0.5" in config


def share_of_largest(context: Any, share: float) -> np.ndarray:
    return np.full(len(context.y), max(context.work.epsilons) * share)


def half_of_largest(context: Any) -> np.ndarray:
    return np.full(len(context.y), max(context.work.epsilons) / 2)


BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("lambda a: 1 / 0", "expected values, got ZeroDivisionError: division by zero"),
    "a text": ("lambda a: 'much'", "expected None or numbers (n,), one a point, NaN where undefined, got str"),
    "one number": ("lambda a: 0.5", "expected None or numbers (n,), one a point, NaN where undefined, got an array of"),
    "no numbers": ("lambda a: []", "got an array of shape (0,)"),
    "infinite": ("lambda a: [1, float('inf')]", "got inf"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_measure_is_named_in_one_line(name: str) -> None:
    text, message = BROKEN[name]
    measure = Measure(name="mine", heading="mine", of="pair", compute=eval(text))
    with pytest.raises(UserError) as error:
        checked(measure, n_epsilons=2).compute(None)
    assert str(error.value).startswith("measures.mine: ")
    assert message in str(error.value)


def test_a_curve_has_a_row_for_every_epsilon() -> None:
    def returned(values: Any) -> Any:
        measure = Measure(name="mine", heading="mine", of="pair", is_curve=True, compute=functools.partial(given, values))
        return checked(measure, n_epsilons=2).compute(None)

    assert returned([1, math.nan])[0] == 1
    assert returned([[1, 2, 3], [4, 5, 6]]).shape == (2, 3)
    assert returned(None) is None
    for wrong in (3.0, [1, 2, 3], [[1, 2]], np.zeros((2, 2, 2))):
        with pytest.raises(UserError, match=r"expected None or numbers \(2,\) or \(2, n\), one row an epsilon"):
            returned(wrong)


def given(values: Any, context: Any) -> Any:
    del context
    return values


def test_a_curve_is_the_mean_over_the_points_where_it_is_defined() -> None:
    outcome = Outcome()
    values = [[1, math.nan, 3], [math.nan] * 3, [1, 2, 3]]
    outcome.measure(
        Measure(name="mine", heading="mine", of="pair", is_curve=True, compute=functools.partial(given, values)), None
    )
    assert outcome.curves["mine"] == pytest.approx([2, math.nan, 2], nan_ok=True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a published name": ({"name": "gradient_size"}, "measures.gradient_size: expected a name of its own, got one that is"),
    "a column's name": ({"name": "seed"}, "measures.seed: expected a name of its own, got that of a column"),
    "a name with a space": ({"name": "my own"}, "expected a name of letters, digits and _"),
    "a name of a shown epsilon": ({"name": "error_at_1"}, "expected a name of letters, digits and _"),
    "no words": ({"heading": ""}, "measures.mine.heading: expected what the measure is, in words"),
    "two lines": ({"label": "a\nb"}, "measures.mine.label: expected a line of at most 200 characters"),
    "of nothing": ({"of": "data"}, "measures.mine.of: expected one of surrogate, target, pair, got data"),
    "no function": ({"compute": None}, "measures.mine.compute: expected a function"),
    "an unknown column": ({"explains": ("fame",)}, "measures.mine.explains: expected some of"),
    "a column of another table": ({"explains": ("whitebox_error",)}, "got whitebox_error"),
    "a norm": ({"norm": "l2"}, "measures.mine.norm: expected none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_measure_that_no_report_could_show_is_refused(name: str) -> None:
    options, message = REFUSED[name]
    fixed: dict[str, Any] = {"name": "mine", "heading": "mine", "of": "pair", "compute": half_of_largest}
    check_own([Measure(**fixed)])
    with pytest.raises(UserError) as error:
        check_own([Measure(**{**fixed, **options})])
    assert message in str(error.value)


def test_names_differ_and_a_measure_may_explain_another() -> None:
    one, other = (
        Measure(name=name, heading=name, of="target", compute=half_of_largest, explains=(explained,))
        for name, explained in (("one", "other"), ("other", "clean_error"))
    )
    check_own([one, other])
    with pytest.raises(UserError, match=r"measures.one: expected a name of its own, got one that is taken"):
        check_own([one, other, one])


TYPED: dict[str, tuple[dict[str, Any], str]] = {
    "nowhere": ({"mine": {"_target_": "nowhere.measure"}}, "measures.mine._target_: expected module.name of a class or"),
    "no node": ({"mine": 3}, "measures: expected names, and below each a _target_"),
    "no name": ({"_target_": "my_module.level"}, "measures: expected names, and below each a _target_"),
    "no mapping": ([1], "measures: expected names, and below each a _target_"),
    "unresolved": ({"mine": "${nothing}"}, "measures: expected values that resolve, got"),
    "no measure": ({"mine": {"_target_": "my_module.claims"}}, "to be or make a transfer_exp.measures.Measure, got a list"),
    "the function itself": (
        {"mine": {"_target_": "my_module.level", "context": 1}},
        "measures.mine: expected my_module.level to make a measure, got AttributeError",
    ),
}


@pytest.mark.parametrize("name", TYPED)
def test_a_measure_that_is_none_is_said_with_its_place(name: str, mine: Path) -> None:
    nodes, message = TYPED[name]
    sys.path.insert(0, str(mine))
    with pytest.raises(UserError, match=re.escape(message)):
        measures_of(OmegaConf.create({"measures": nodes}))


def test_a_factory_gives_its_measure_its_own_name(mine: Path) -> None:
    (mine / "my_module.py").write_text(own_folder.MODULE + FACTORY)
    sys.path.insert(0, str(mine))
    nodes = {"level": {"_target_": "my_module.make", "words": "how high"}}
    (measure,) = measures_of(OmegaConf.create({"measures": nodes}))
    assert (measure.name, measure.heading, measure.explains) == ("level", "how high", ("error_ratio",))
    assert measures_of(OmegaConf.create({"seed": 0})) == ()
    (measure,) = measures_of(OmegaConf.create({"measures": {"other": {"_target_": "my_module.made"}}}))
    assert (measure.name, measure.heading) == ("made", "as it is")
    with pytest.raises(UserError, match=r"measures.other.of: expected no options of my_module.made"):
        measures_of(OmegaConf.create({"measures": {"other": {"_target_": "my_module.made", "of": "pair"}}}))


FACTORY = """
from transfer_exp.measures import Measure

made = Measure(name="made", heading="as it is", of="pair", compute=level)


def make(name, words):
    return Measure(name=name, heading=words, of="pair", explains=["error_ratio"], compute=level)
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["measures=level", "+measures.level.depth=3"], "measures.level.depth: expected one of name,"),
        (["measures=level", "measures.level.compute=my_module.judge"], "measures.level: expected values, got TypeError"),
        (["dataset=beads", "dataset._target_=my_module.pearls"], "dataset._target_: expected module.name of a class or"),
        (
            ["dataset=beads", "dataset._target_=my_module.claims", "~dataset.n", "~dataset.split"],
            "dataset: expected my_module.claims to return a transfer_exp.types.Dataset, got a list",
        ),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, cli: Cli, mine: Path) -> None:
    del mine
    done = cli("--config-dir=mine", *SMALL, *words)
    assert done.rc == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


def test_a_claim_of_nothing_ends_the_sweep_before_anything_is_done(cli: Cli, root: Path, mine: Path) -> None:
    del mine
    done = cli("--config-dir=mine", "experiment=beads", "claims.strong._target_=my_module.level", "+claims.strong.context=1")
    assert done.rc == 1
    assert "claims.strong: expected my_module.level to make a claim, got AttributeError" in done.stderr
    assert not runs(root, "mine")


def test_claims_are_found_by_name(mine: Path) -> None:
    sys.path.insert(0, str(mine))
    found = claims_named("my_module.strong")
    assert [claim.id for claim in found["my_module.strong"]] == ["strong"]
    assert claims_named("my_module.claims")["my_module.claims"] == found["my_module.strong"]
    assert claims_named("") == {}
    for text, message in {
        "my_module.strong,my_module.claims": "got strong twice",
        "my_module.nothing": "or of a function that makes them, got my_module.nothing (AttributeError",
        "strong": "expected module.name of a claim",
        "my_module.level": "got my_module.level (TypeError",
        "my_module.np": "expected my_module.np to be a transfer_exp.report.claims.Claim, or several, got module",
    }.items():
        with pytest.raises(UserError, match=re.escape(message)):
            claims_named(text)


def test_a_published_claims_number_is_taken() -> None:
    with pytest.raises(UserError, match="got 3b twice"):
        check_claims([Claim(id="3b", source="us", statement="", scenarios=EVASION, fewest=1, judge=lambda *_: iter(()))])


def test_a_claim_that_breaks_is_not_tested_and_the_others_are() -> None:
    def judge(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Any]:
        yield from () if claim.id == "silent" else ["yes"] if claim.id == "odd" else [1 / 0]

    study = frames(grid(["svm_high", "svm_low"], ["svm_high", "svm_low"], [1.0], range(2)))
    own = [
        Claim(id=name, source="us", statement=name, scenarios=EVASION, fewest=1, judge=judge)
        for name in ("silent", "odd", "raises")
    ]
    numbers = Numbers.of(study)
    said = {verdict.claim: (verdict.verdict, verdict.reason) for verdict in evaluate(study, numbers, own)}
    assert said["raises"] == ("not tested", "its function raised ZeroDivisionError: division by zero")
    assert said["odd"] == ("not tested", "its function gave 'yes', which is no verdict")
    assert "silent" not in said
    assert len(said) - 2 == len({verdict.claim for verdict in evaluate(study, numbers)}) > 5


@pytest.mark.slow
def test_workers_in_other_processes_find_the_users_modules(tmp_path: Path, empty_database: Path) -> None:
    own_folder.write(tmp_path)
    done = subprocess_cli("--config-dir=mine", "experiment=beads", "hydra/launcher=joblib", cwd=tmp_path)
    assert done.rc == 0, done.stderr
    see_report(tmp_path / "reports" / "mine")


@pytest.mark.slow
def test_a_report_in_another_process_needs_no_configuration(cli: Cli, root: Path, mine: Path) -> None:
    """Measures are those of the record; claims have to be named."""
    assert cli("--config-dir=mine", "experiment=beads").rc == 0
    shutil.rmtree(mine / "measures")

    def make(*words: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "transfer_exp.report",
            "study=mine",
            f"root={root}",
            f"out={root / 'again'}",
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)})

    assert make().returncode == 0
    see_numbers(root / "again")
    content = json.loads((root / "again" / "claims.json").read_text())
    assert [gap for gap in content["gaps"] if gap.endswith("my_module.strong; add claims=my_module.strong")]
    assert "strong" not in {claim["claim"] for claim in content["claims"]}
    lost = make("claims=my_module.strong")
    assert (lost.returncode, lost.stderr.count("\n")) == (2, 1)
    assert "claims: expected module.name of a claim" in lost.stderr
    assert make("claims=my_module.strong", "--config-dir=mine").returncode == 0
    see_report(root / "again")


@pytest.mark.parametrize("more", [(), ("-m",)])
def test_a_configuration_that_a_shipped_one_would_hide_is_refused(more: tuple[str, ...], cli: Cli, mine: Path) -> None:
    (mine / "target").mkdir(exist_ok=True)
    (mine / "target" / "svm_low.yaml").write_text("_target_: my_module.Model\n")
    done = cli("--config-dir=mine", *more, *SMALL)
    assert done.rc != 0
    assert "--config-dir: expected names that the shipped configuration has not, got target/svm_low" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_examples_have_names_of_their_own() -> None:
    for folder in SOURCE.glob("examples/*/conf"):
        names = {file.relative_to(folder) for file in folder.rglob("*.yaml")}
        assert names
        assert not {name for name in names if (SOURCE / "conf" / name).exists()}
