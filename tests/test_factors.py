"""What differs between the runs of a study: shown as variants of a learner or as slices, never mixed, never dropped."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path
from synthetic_study import EPSILONS, combination, frames, grid, write_store

from transfer_exp.report import client as store
from transfer_exp.report import database, repair, tables
from transfer_exp.report.__main__ import settings
from transfer_exp.report.build import build_report, study_summary, write_rows
from transfer_exp.report.curves import curves_frame
from transfer_exp.report.factors import chosen
from transfer_exp.report.files import write_csv
from transfer_exp.report.records import load
from transfer_exp.report.variants import telling
from transfer_exp.system.cells import harmless
from transfer_exp.tracking.settings import shortened
from transfer_exp.types import UserError

SEEDS = range(3)


@pytest.fixture
def folder(tmp_path, empty_database) -> Path:
    """A folder with a tracking store, which takes long to make anew."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path


def changed(items: list, error: float | None = None, **values: object) -> list:
    """The combinations with other settings (``__`` for a point), in one sweep, and with a constant error."""
    for item in items:
        item["params"] |= {name.replace("__", "."): value for name, value in values.items()}
        item.setdefault("tags", {})["mlflow.parentRunId"] = "sweep"
        if error is not None:
            item["curve"]["error"] = error
    return items


def svm(**values: object) -> list:
    return changed(grid(["svm_low"], ["ridge_low"], [1.0], SEEDS), **values)


def cells(study) -> dict[str, float]:
    return tables.error_matrix(study, 1.0)["ridge_low"].to_dict()


def test_settings_of_a_learner_are_learners_of_their_own():
    items = [*svm(surrogate__C=100, error=0.3), *svm(surrogate__C=0.001, error=0.1), *svm(surrogate__C="1", error=0.2)]
    study = frames(items)
    assert cells(study) == pytest.approx({"svm_low[C=0.001]": 0.1, "svm_low[C=1]": 0.2, "svm_low[C=100]": 0.3})
    assert list(tables.error_matrix(study, 1.0).index) == ["svm_low[C=0.001]", "svm_low[C=1]", "svm_low[C=100]"]
    assert len(study.runs) == 9
    assert study.others == ()
    assert not [gap for gap in study.gaps if "svm" in gap]  # neither a twin nor anything else is missing
    assert "SVM, C 0.001  " in tables.format_matrix(
        tables.with_means(tables.error_matrix(study, 1.0)), title="", learners=study.learners
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("attack.norm", ("l2", "linf")),
        ("attack.n_iter", ("30", "3")),
        ("dataset.classes", ("[8, 9]", "[4, 9]")),
        ("n_variability", ("10", "3")),
        ("epsilon.grid", (json.dumps(EPSILONS), "[0, 1, 2]")),
        ("scale", ("none", "standard")),
        ("somebodys.own.option", ("a", "b")),
    ],
)
def test_every_other_setting_cuts_the_study_into_slices_with_matrices_of_their_own(name, values):
    first, second = (svm(**{name: value}, error=error) for value, error in zip(values, (0.1, 0.2), strict=True))
    study = frames(
        [*first, *second, *changed(grid(["svm_high"], ["ridge_low"], [1.0], SEEDS), **{name: values[1]}, error=0.4)]
    )
    assert (study.settings, cells(study)) == ({name: values[1]}, pytest.approx({"svm_low": 0.2, "svm_high": 0.4}))
    (other,) = study.others
    assert (other.settings, cells(other)) == ({name: values[0]}, pytest.approx({"svm_low": 0.1}))
    assert len(study.runs) == 6
    assert len(other.runs) == 3


def test_of_two_slices_of_one_size_the_newest_is_the_studys():
    assert frames([*svm(attack__norm="l2"), *svm(attack__norm="l1")]).settings == {"attack.norm": "l1"}


def test_an_option_that_moves_with_both_learners_is_one_factor_and_they_keep_their_names():
    items = [*svm(scale="none", surrogate__scale="none", target__scale="none"),
             *svm(scale="standard", surrogate__scale="standard", target__scale="standard")]  # fmt: skip
    study = frames(items)
    assert [each.settings for each in (study, *study.others)] == [{"scale": "standard"}, {"scale": "none"}]
    assert set(study.runs["surrogate"]) == {"svm_low"}


def test_data_of_one_name_and_other_content_stand_apart():
    items = [*svm(error=0.1), *svm(error=0.3)]
    for place, item in enumerate(items):
        item["tags"]["data_checksum"] = "ab"[place // 3]
    study = frames(items)
    assert [cells(each)["svm_low"] for each in (study, *study.others)] == pytest.approx([0.3, 0.1])
    assert study.settings == {"data_checksum": "b"}


def test_of_settings_that_vary_together_one_is_shown():
    rows = pd.DataFrame({"a": ["1", "1"], "dataset": ["x", "y"], "digits": ["8", "4"], "b": ["0", "1"]})
    assert telling(rows, ["dataset", "a", "digits", "b"]) == ["dataset"]
    crossed = pd.DataFrame({"dataset": ["x", "y", "x"], "digits": ["8", "4", "8"], "b": ["0", "0", "1"]})
    assert telling(crossed, crossed.columns) == ["dataset", "b"]


def test_variants_of_one_family_are_told_apart_by_all_that_differs():
    items = [
        item
        for name, decay in (("mlp_high", "0"), ("mlp_low", "0.01"))
        for epochs in ("2", "3")
        for item in changed(grid([name], ["ridge_low"], [1.0], SEEDS), surrogate__C=1, surrogate__decay=decay,
                            surrogate__epochs=epochs)
    ]  # fmt: skip
    study = frames(items)
    names = set(study.runs["surrogate"])
    assert names == {f"mlp_{lvl}[decay={d},epochs={e}]" for lvl, d in (("high", "0"), ("low", "0.01")) for e in "23"}
    assert len({study.learners.label(name) for name in names}) == 4


def test_the_same_settings_again_are_a_repetition_of_which_the_newest_counts():
    study = frames([*svm(error=0.1), *svm(error=0.4)])
    assert cells(study) == pytest.approx({"svm_low": 0.4})
    assert study.others == ()


def finished_with_a_stray(**values: object) -> list:
    """A finished study of H and L, and one seed of it with other settings, done by itself."""
    whole = changed(grid(["svm_high", "svm_low"], ["ridge_low"], [1.0], SEEDS), error=0.1)
    (stray,) = changed([combination("svm_low", "ridge_low", 1.0, 1)], error=0.9, **values)
    stray["tags"]["mlflow.parentRunId"] = "another"
    return [*whole, stray]


@pytest.mark.parametrize("name", ["surrogate.C", "target.depth", "attack.n_iter", "dataset.split.test"])
def test_one_seed_with_other_settings_is_shown_apart_and_named(name):
    study = frames(finished_with_a_stray(**{name: "77"}))
    assert cells(study) == pytest.approx({"svm_high": 0.1, "svm_low": 0.1})  # as if it were not there: H and L, too
    (other,) = study.others
    assert (other.settings, cells(other)) == ({name: "77"}, pytest.approx({"svm_low": 0.9}))
    (gap,) = [gap for gap in study.gaps if "77" in gap]
    assert gap == f"{name} 77 was done with seed 1 alone, of 3 in the study; it is shown apart"


def test_a_variant_whose_sweep_stopped_early_keeps_its_row_and_is_named():
    study = frames([*svm(surrogate__C=1), *svm(surrogate__C=2)[:1]])
    assert set(study.runs["surrogate"]) == {"svm_low[C=1]", "svm_low[C=2]"}
    assert "surrogate svm_low[C=2] was done with seed 0 alone, of 3 in the study; it is shown apart" in study.gaps
    assert not [gap for gap in study.gaps if gap.startswith("missing")]  # said once


def test_a_variant_that_lacks_single_combinations_has_them_listed():
    items = changed(grid(["svm_low"], ["ridge_low", "ridge_high"], [1.0], SEEDS), surrogate__C=1)
    items += changed(grid(["svm_low"], ["ridge_low", "ridge_high"], [1.0], SEEDS), surrogate__C=2)[:-1]
    assert "missing: surrogate=svm_low[C=2], target=ridge_high, seed=2" in frames(items).gaps


def test_a_variant_that_met_only_some_targets_lacks_none_of_the_others():
    """As in a sweep of blocks: a path's values meet one target, the panel meets all."""
    panel = changed(grid(["svm_low"], ["ridge_low", "ridge_high"], [1.0], SEEDS), surrogate__C=1)
    path = changed(grid(["svm_low"], ["ridge_low"], [1.0], SEEDS), surrogate__C=2)
    assert not [gap for gap in frames([*panel, *path]).gaps if "C=2" in gap]
    lacking = [*panel, *changed(grid(["svm_low"], ["ridge_high"], [1.0], SEEDS), surrogate__C=2), *path[:-1]]
    assert "missing: surrogate=svm_low[C=2], target=ridge_low, seed=2" in frames(lacking).gaps


def test_runs_that_failed_with_settings_of_their_own_are_named_and_change_nothing():
    wrong = [*svm(surrogate__C=-1), *svm(attack__n_iter=-1)[:1], *svm()[:1]]
    wrong[-1]["params"]["seed"] = 3
    study = frames([*svm(), *wrong], status=dict.fromkeys(range(3, 8), "FAILED"))
    assert set(study.runs["surrogate"]) == {"svm_low"}
    assert {
        "not finished (failed): surrogate.C=-1 (3 combinations)",
        "not finished (failed): attack.n_iter=-1 (1 combination)",
        "not finished (failed): seed=3",
    } <= set(study.gaps)


def test_a_failed_run_that_recorded_little_belongs_to_the_slice_that_it_fits():
    (failed,) = svm()[:1]
    failed["params"] = {k: v for k, v in failed["params"].items() if not k.startswith("attack.")} | {"seed": 3}
    assert "not finished (failed): seed=3" in frames([*svm(), failed], status={3: "FAILED"}).gaps


def test_what_is_no_factor_may_not_vary():
    items = svm()
    items[0]["params"]["threads"], items[1]["params"]["threads"] = "1", "2"
    items[0]["tags"] |= {"source/own.Net": "a", "version/torch": "1"}
    items[1]["tags"] |= {"source/own.Net": "b", "version/torch": "2"}
    found = frames(items)
    assert found.others == ()
    for name in ("threads", "source/own.Net", "version/torch"):
        assert any(gap.startswith(f"{name} is not the same in all runs") for gap in found.gaps), name


def test_learners_without_a_name_are_reported():
    study = frames(changed(grid(["svm_low"], ["ridge_low"], [1.0], SEEDS), surrogate=""))
    assert set(study.runs["surrogate"]) == {"unnamed"}


# Settings that are asked for


@pytest.fixture(scope="module")
def two_norms(tmp_path_factory, empty_database) -> Path:
    folder = tmp_path_factory.mktemp("norms")
    shutil.copy(empty_database, folder / "mlflow.db")
    items = [
        item for norm in ("l2", "linf") for digits in ("[8, 9]", "[4, 9]")
        for item in svm(**{"attack.norm": norm, "dataset.classes": digits}, error=0.1 if norm == "l2" else 0.2)
    ]  # fmt: skip
    for item in items:
        item["params"] |= {"epsilon.grid": "[0, 1]", "epsilon.shown": "[1]"}
        item["curve"] = item["curve"][item["curve"]["epsilon"].isin([0, 1])]
    write_store(folder, "norms", items, images=False)
    return folder


@pytest.mark.slow
def test_settings_choose_the_slice_that_is_reported(two_norms, tmp_path):
    uri = f"sqlite:///{two_norms}/mlflow.db"
    where = settings("attack.norm=l2 dataset.classes=[4,9]")
    page = build_report(tracking_uri=uri, study="norms", out=tmp_path / "out", log_to_parent=False, where=where)
    runs = pd.read_csv(page.parent / "runs.csv")
    assert (set(runs["attack.norm"]), set(runs["dataset.classes"])) == ({"l2"}, {"[4, 9]"})
    assert len(runs) == 3
    assert "with <strong>attack.norm l2, dataset.classes [4,9]</strong>" in page.read_text()


@pytest.mark.slow
def test_the_page_says_which_slice_it_shows_and_how_to_get_the_others(two_norms, tmp_path):
    uri = f"sqlite:///{two_norms}/mlflow.db"
    html = build_report(tracking_uri=uri, study="norms", out=tmp_path / "out", log_to_parent=False).read_text()
    assert "with <strong>attack.norm linf, dataset.classes [4, 9]</strong>, alone" in html
    typed = "python -m transfer_exp.report study=norms &#39;where=attack.norm=l2 dataset.classes=[8,9]&#39;"
    assert typed in html
    assert html.index('id="elsewhere"') < html.index('id="claims"')
    for stem in ("error_matrix_eps1_fraction1_attack.norm=l2,dataset.classes=[8,9]", "error_matrix_eps1_fraction1"):
        assert f'id="{stem}"' in html
    table = pd.read_csv(tmp_path / "out/tables/error_matrix_eps1_fraction1_attack.norm=l2,dataset.classes=[8,9].csv")
    assert table["ridge_low"].iloc[0] == pytest.approx(0.1)


def test_rows_of_all_slices_lie_beside_those_of_the_first(two_norms, tmp_path):
    """What claims compare: each row with the settings of its slice; nothing of the kind where there is one slice."""
    uri = f"sqlite:///{two_norms}/mlflow.db"
    write_rows(tmp_path, load(tracking_uri=uri, study="norms"))
    curves, first = pd.read_csv(tmp_path / "all_curves.csv"), pd.read_csv(tmp_path / "curves.csv")
    assert len(curves) == 4 * len(first)
    at_one = curves[curves["epsilon"] == 1].groupby(["attack.norm", "dataset.classes"])["error"].agg(["count", "mean"])
    assert at_one["count"].to_dict() == {(norm, two): 3 for norm in ("l2", "linf") for two in ("[4, 9]", "[8, 9]")}
    assert at_one["mean"].to_dict() == pytest.approx(
        {("l2", "[4, 9]"): 0.1, ("l2", "[8, 9]"): 0.1, ("linf", "[4, 9]"): 0.2, ("linf", "[8, 9]"): 0.2}
    )
    runs = pd.read_csv(tmp_path / "all_runs.csv")
    assert len(runs) == runs["run_id"].nunique() == 12
    (tmp_path / "one").mkdir()
    write_rows(
        tmp_path / "one", load(tracking_uri=uri, study="norms", where=settings("attack.norm=l2 dataset.classes=[4,9]"))
    )
    assert sorted(file.name for file in (tmp_path / "one").iterdir()) == ["curves.csv", "runs.csv"]


def test_a_summary_has_a_matrix_for_each_slice(two_norms, tmp_path):
    summary = study_summary(tracking_uri=f"sqlite:///{two_norms}/mlflow.db", study="norms", out=tmp_path)
    assert summary.left_out == ()
    text = summary.text
    assert text.count("error at epsilon 1, ") == 4
    assert "error at epsilon 1, attack.norm l2, dataset.classes [8, 9], mean over 3 seeds" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attack.norm=l3", "expected attack.norm=l2 or attack.norm=linf, got attack.norm=l3"),
        ("attack.nrm=l2", r"expected a setting \(.*attack.norm.*dataset.classes.*\), got attack.nrm"),
        ("seed=0", "expected a setting"),
        ("l2", "expected SETTING=VALUE"),
        ("", "expected SETTING=VALUE"),
    ],
)
def test_settings_that_no_run_has_are_refused_in_one_line(text, said, two_norms):
    with pytest.raises(UserError, match=f"^where: {said}") as refused:
        load(tracking_uri=f"sqlite:///{two_norms}/mlflow.db", study="norms", where=settings(text))
    assert "\n" not in str(refused.value)


def test_a_learners_setting_chooses_among_its_variants_and_keeps_other_learners():
    every = pd.DataFrame({"status": "FINISHED", "surrogate": list("aab"), "surrogate.C": ["1", "2", None], "seed": 0})
    assert list(chosen(every, {"surrogate.C": "1.0"}).index) == [0, 2]


def test_values_may_hold_spaces():
    assert settings("dataset.classes=[4, 9] attack.norm=l2") == {"dataset.classes": "[4, 9]", "attack.norm": "l2"}


# The command that completes


class Tags:
    def __init__(self, run_id: str, tags: dict[str, str]) -> None:
        self.info = self.data = self
        self.run_id, self.tags = run_id, tags


def test_a_sweep_is_completed_by_its_own_command_with_all_seeds():
    parents = [
        Tags("p", {"command": "python -m transfer_exp -m seed=3 'dataset.classes=[4,9]' surrogate.C=5"}),
        Tags("q", {}),
    ]
    run = Tags("r", {"mlflow.parentRunId": "p"})
    typed = repair.command(run, parents, b"[seed=1]", [0, 1, 2])
    assert shlex.split(typed) == [
        "python",
        "-m",
        "transfer_exp",
        "-m",
        "dataset.classes=[4,9]",
        "surrogate.C=5",
        "seed=0,1,2",
    ]


def test_a_single_run_is_completed_from_what_was_typed_for_it():
    typed = repair.command(Tags("r", {}), [], b"- seed=1\n- surrogate.C=5\n", [0, 1])
    assert typed == "python -m transfer_exp -m surrogate.C=5 seed=0,1"
    for unreadable in (None, b"{", b"a: 1", b""):
        assert repair.command(Tags("r", {"mlflow.parentRunId": "p"}), [Tags("p", {"command": "'"})], unreadable, [0]) == ""


# Runs that were recorded otherwise

OLD = {
    "attack.norm": "norm",
    "epsilon.grid": "epsilon_grid",
    "epsilon.reference": "epsilon_reference",
    "epsilon.shown": "epsilon_shown",
}
NEW = ("attack.n_iter", "n_variability", "dataset.classes", "attack.goal", "surrogate.complexity", "target.complexity")


def as_recorded_before(items: list) -> list:
    """The parameters of an earlier state: few, four of them under other names."""
    for item in items:
        item["params"] = {OLD.get(name, name): value for name, value in item["params"].items() if name not in NEW}
        item["metrics"] = {name.replace("_cross_entropy", "_logistic"): value for name, value in item["metrics"].items()}
        item["curve"] = item["curve"].rename(columns={"loss_cross_entropy": "loss_logistic"})
        item["tags"] = {name: value for name, value in item["tags"].items() if name == "mlflow.parentRunId"}
    return items


def configure(folder: Path, study: str, **values: object) -> None:
    """Give every run of a study that has none the resolved configuration, with these values."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(study)
    for run in client.search_runs([experiment.experiment_id], "tags.kind = 'combination'"):
        params, place = run.data.params, Path(local_file_uri_to_path(run.info.artifact_uri))
        if (place / "config.yaml").exists():
            continue
        config = {
            "seed": int(params["seed"]), "surrogate_fraction": 1.0, "n_variability": 10,
            "hyperparameters": {"svm": {"C": 3}},
            "dataset": {"digits": [8, 9], "folder": "/data"}, "attack": {"norm": "l2", "n_iter": 30},
            "surrogate": {"name": "x", "C": float(params["surrogate.C"])},
            "target": {"depth": float(params["target.depth"])},
            "epsilon": {"grid": EPSILONS, "reference": 1.0, "shown": [1, 2, 5]}, "paths": {"root": "/somewhere"},
            **values,
        }  # fmt: skip
        (place / "config.yaml").write_text(yaml.safe_dump(config))


def test_earlier_runs_alone_make_the_report_that_they_made(folder):
    for name, make in (("before", as_recorded_before), ("today", list)):
        write_store(folder, name, make(svm()), images=False)
    before, today = (load(tracking_uri=f"sqlite:///{folder}/mlflow.db", study=name) for name in ("before", "today"))
    assert (before.norm, before.epsilon_reference, before.epsilon_shown) == ("l2", 1.0, (1.0, 2.0, 5.0))
    for role in ("surrogate", "target"):
        pd.testing.assert_frame_equal(tables.learners_table(before, role), tables.learners_table(today, role))
    pd.testing.assert_frame_equal(tables.pairs(before), tables.pairs(today))
    pd.testing.assert_frame_equal(tables.error_matrix(before, 1.0), tables.error_matrix(today, 1.0))
    assert before.learners.looks(before.learners) == today.learners.looks(today.learners)
    assert (before.gaps, before.others) == (today.gaps, ())


def test_earlier_and_new_runs_of_one_setting_are_one_study(folder):
    write_store(folder, "study", as_recorded_before(svm()), images=False)
    configure(folder, "study")
    later = changed(grid(["svm_low"], ["ridge_low"], [1.0], range(3, 5)))
    uri = write_store(folder, "study", later, images=False)
    study = load(tracking_uri=uri, study="study")
    assert sorted(study.runs["seed"]) == [0, 1, 2, 3, 4]
    assert study.others == ()


def test_earlier_runs_of_another_setting_stand_apart_though_they_did_not_record_it(folder):
    write_store(folder, "study", as_recorded_before(svm()), images=False)
    configure(folder, "study", attack={"norm": "l2", "n_iter": 7})
    uri = write_store(folder, "study", svm(), images=False)
    study = load(tracking_uri=uri, study="study")
    assert [each.settings for each in (study, *study.others)] == [{"attack.n_iter": "30"}, {"attack.n_iter": "7"}]


LOADED = {"dataset._target_": "transfer_exp.data.digits.load_digits_pair", "dataset.digits": "[8, 9]"}


def recorded_with_two_classes(items: list, **values: object) -> list:
    """Runs from before there were many classes: whole settings, other names, another checksum of the same data."""
    for item in items:
        params = {name: value for name, value in item["params"].items() if name not in NEW or name.startswith("attack.n_")}
        item["params"] = params | LOADED | {"n_variability": 10} | values
        item["metrics"] = {name.replace("_cross_entropy", "_logistic"): value for name, value in item["metrics"].items()}
        item["curve"] = item["curve"].rename(columns={"loss_cross_entropy": "loss_logistic"})
        item["tags"] = {"mlflow.parentRunId": "sweep", "data_checksum": "of -1 and +1"}
    return items


def recorded_today(items: list, **values: object) -> list:
    for item in items:
        item["params"] |= {"dataset._target_": "transfer_exp.data.digits.load_digits", "attack.n_runner_ups": 3} | values
        item["tags"]["data_checksum"] = f"of class indices {item['params']['dataset.classes']}"
    return items


def test_runs_of_two_classes_and_those_of_many_are_one_study_where_they_did_the_same():
    before, later = recorded_with_two_classes(svm()), recorded_today(changed(grid(["svm_low"], ["ridge_low"], [1.0], [3])))
    study = frames([*before, *later])
    assert sorted(study.runs["seed"]) == [0, 1, 2, 3]
    assert study.others == ()
    for name in ("gradient_size_cross_entropy", "loss_variability_cross_entropy"):
        assert study.runs[name].notna().all()
    assert study.curves["loss_cross_entropy"].notna().all()
    assert not {"gradient_size_logistic", "dataset.digits"} & set(study.runs)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("attack.goal", {}, {"attack.goal": "next"}),
        ("dataset.classes", {}, {"dataset.classes": "[4, 9]"}),
        ("data_checksum", {"dataset._target_": "own.load"}, {"dataset._target_": "own.load"}),
        ("attack.n_iter", {}, {"attack.n_iter": "7"}),
    ],
)
def test_runs_of_two_classes_that_did_something_else_stand_apart(name, old, new):
    before = recorded_with_two_classes(svm(), **old)
    study = frames([*before, *recorded_today(changed(grid(["svm_low"], ["ridge_low"], [1.0], [3])), **new)])
    assert [sorted(each.runs["seed"]) for each in (study, *study.others)] == [[0, 1, 2], [3]]
    assert set(study.settings) == {name}


def of_network_budget(items: list, budget: int | None, target: str = "transfer_exp.attacks.evasion.Evasion") -> list:
    """Runs of an attack that say how many gradients networks get, or from before there was a number."""
    for item in items:
        item["params"] |= {"attack._target_": target} | ({} if budget is None else {"attack.n_gradients": budget})
    return items


@pytest.mark.parametrize(("budget", "seeds"), [(30, [[0, 1, 2, 3]]), (10, [[0, 1, 2], [3]])])
def test_runs_from_before_there_were_networks_had_todays_number_of_gradients(budget, seeds):
    later = changed(grid(["svm_low"], ["ridge_low"], [1.0], [3]))
    study = frames([*of_network_budget(svm(), None), *of_network_budget(later, budget)])
    assert [sorted(each.runs["seed"]) for each in (study, *study.others)] == seeds


def test_an_attack_of_ones_own_is_given_no_number_of_gradients():
    later = changed(grid(["svm_low"], ["ridge_low"], [1.0], [3]))
    study = frames([*of_network_budget(svm(), None, "mine.Attack"), *of_network_budget(later, 30)])
    assert [sorted(each.runs["seed"]) for each in (study, *study.others)] == [[0, 1, 2], [3]]
    assert study.runs["attack.n_gradients"].unique().tolist() == ["absent"]


@pytest.mark.parametrize("damage", [None, b"\xff", b"- a list", b"attack: [", b"a: b: c"])
def test_earlier_runs_whose_configuration_is_lost_stand_apart_as_unknown(damage, folder):
    write_store(folder, "study", as_recorded_before(svm(error=0.9)), images=False)
    if damage is not None:
        for file in folder.rglob("curves.csv"):
            (file.parent / "config.yaml").write_bytes(damage)
    uri = write_store(folder, "study", svm(error=0.1), images=False)
    study = load(tracking_uri=uri, study="study")
    assert [cells(each)["svm_low"] for each in (study, *study.others)] == pytest.approx([0.1, 0.9])
    assert set(study.others[0].settings.values()) == {"unknown"}


@pytest.mark.parametrize("before", [False, True])
def test_a_grid_of_120_values_is_reported_whole(before, folder):
    epsilons = [round(0.04 * k, 2) for k in range(120)]
    items = svm()
    for item in items:
        curve = item["curve"].iloc[[0] * 120].assign(epsilon=epsilons, error=np.linspace(0, 1, 120))
        item["curve"] = curve
        names = [f"{name}_at_{epsilon:g}" for epsilon in epsilons for name in ("whitebox_error", "error_ratio")]
        item["metrics"] |= dict.fromkeys(names, curve["whitebox_error"].iloc[0])
        item["params"] |= {"epsilon.grid": str(epsilons), "epsilon.shown": str(epsilons), "epsilon.reference": 4.0}
        for name in ("epsilon.grid", "epsilon.shown"):
            item["params"][name] = item["params"][name][:500] if before else shortened(item["params"][name])
    write_store(folder, "long", as_recorded_before(items) if before else items, images=False)
    configure(folder, "long", epsilon={"grid": epsilons, "shown": epsilons, "reference": 4.0})
    study = load(tracking_uri=f"sqlite:///{folder}/mlflow.db", study="long")
    assert study.epsilon_shown == tuple(epsilons)
    assert json.loads(study.runs["epsilon.grid"].iloc[0]) == epsilons
    assert len(tables.at_reference(study)) == len(SEEDS)  # without a warning of many columns


# The files


@pytest.mark.parametrize("text", ["=cmd()", "@x", "+a", "-a", "\ta", "\ra", "=1+1", "-1+cmd()", "-inf", "+"])
def test_a_text_that_a_spreadsheet_would_execute_is_harmless(text):
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("cell", ["svm_low", "", "a=b", "-1", "+1e-5", "-.5", -1.0, float("-inf"), None, 3, "1=1", "'=a"])
def test_other_cells_stay_as_they_are(cell):
    assert harmless(cell) is cell


def test_tables_are_written_with_harmless_texts_and_all_numbers(tmp_path):
    table = pd.DataFrame({"=head": ["@x", None], "n": [-0.25, np.nan], "m": [-1, 2]}, index=pd.Index(["+a", "b"], name="-i"))
    write_csv(table, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines() == ["'-i,'=head,n,m", "'+a,'@x,-0.25,-1", "b,,,2"]


@pytest.mark.slow
def test_no_file_of_a_report_has_a_text_that_a_spreadsheet_would_execute(folder):
    items = changed(grid(["=cmd()", "@x"], ["+a", "-b"], [1.0], SEEDS), error=-0.25)
    uri = write_store(folder, "study", items, images=False)
    page = build_report(tracking_uri=uri, study="study", out=folder / "out", log_to_parent=False)
    study_summary(tracking_uri=uri, study="study", out=folder / "summary")
    files = [*page.parent.rglob("*.csv"), *(folder / "summary").rglob("*.csv")]
    assert len(files) > 30
    for file in files:
        for cell in pd.read_csv(file, header=None, dtype=str).to_numpy().ravel():
            assert pd.isna(cell) or harmless(cell) == cell, file
    assert set(pd.read_csv(page.parent / "curves.csv")["error"]) == {-0.25}


@pytest.mark.parametrize("name", ["'=other", '"two\nlines"', "svm_low"])
def test_curves_are_joined_to_runs_by_id_whatever_names_their_files_bear(name):
    rows = "surrogate,epsilon,error\n{name},0,{error}\n{name},1,0.5\n"
    texts = {run: rows.format(name=name, error=error).encode() for run, error in (("a", 0.1), ("b", 0.2))}
    found = curves_frame(texts)
    assert found["run_id"].tolist() == ["a", "a", "b", "b"]
    assert found["error"].tolist() == [0.1, 0.5, 0.2, 0.5]


def read(run) -> tuple[dict, dict, dict, dict]:
    return dict(run.info), run.data.params, run.data.metrics, run.data.tags


def test_a_database_is_read_as_mlflow_reads_it(folder):
    uri = write_store(folder, "study", svm(), images=False, status={0: "FAILED"})
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("study").experiment_id
    for kind in ("study", "combination"):
        theirs = client.search_runs([experiment], f"tags.kind = '{kind}'", order_by=["attributes.start_time ASC"])
        ours = database.search(folder / "mlflow.db", experiment, kind, None)
        assert {run.info.run_id: read(run) for run in theirs} == {run.info.run_id: read(run) for run in ours}
    wanted = [run.info.run_id for run in ours[1:]]
    assert [run.info.run_id for run in store.search(store.connect(uri), experiment, "combination", wanted)] == wanted
    assert store.search(store.connect(uri), experiment, "study", wanted) == []
