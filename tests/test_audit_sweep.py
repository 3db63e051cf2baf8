"""The sweep of an audit: who attacks with what follows from the data, and is said before it begins."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from conftest import Cli, runs
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, read_write

from transfer_exp.cli.audit import prepare_audit
from transfer_exp.cli.naming import CONFIG
from transfer_exp.types import UserError

TINY = (
    *("seed=0,1", "dataset.split.test=20", "n_variability=2", "epsilon.shares=[0,0.2]", "epsilon.reference_share=0.2"),
    *(
        "hydra/launcher=basic",
        "epsilon.shown_shares=[0.2]",
        "audit.panel=[ridge_high,ridge_low]",
        "audit.of_images=[]",
        "audit.shares=[1.0,0.5]",
    ),
)


@pytest.fixture(autouse=True)
def _own_root(root):
    return root


def prepared(*overrides):
    """The configuration of an audit's sweep."""
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        config = compose("config", ["experiment=audit", *overrides], return_hydra_config=True)
    prepare_audit(config)
    return config


def params(*overrides):
    return OmegaConf.to_container(prepared(*overrides).hydra.sweeper.params)


def test_images_are_attacked_by_a_convolutional_network_too(tmp_path):
    own = tmp_path / "own.npz"
    random = np.random.default_rng(0)
    np.savez(own, X=random.random((600, 3)), y=np.arange(600) % 2)
    images, table = params("dataset=digits"), params("dataset=arrays", f"dataset.file={own}")
    assert images["surrogate"] == f"{table['surrogate']},cnn"
    assert len(table["surrogate"].split(",")) >= 8
    assert images["surrogate_fraction"] == table["surrogate_fraction"] == "1.0,0.2,0.05"


def test_shares_without_a_point_of_each_class_are_left_out(tmp_path):
    own = tmp_path / "own.npz"
    np.savez(own, X=np.random.default_rng(0).random((60, 3)), y=np.arange(60) % 2)
    # 20 for the test, half of 40 for the attacker: 5% of 20 are one point for two classes
    assert params("dataset=arrays", f"dataset.file={own}", "dataset.split.test=20")["surrogate_fraction"] == "1.0,0.2"


def test_the_study_is_named_by_what_is_audited_unless_it_has_a_name():
    assert prepared("target=svm_low").study == params("target=svm_low")["study"] == "audit_digits_svm_low"
    assert prepared("audit.compare=[svm_low,svm_high]").study == "audit_digits_svm_low_svm_high"
    assert prepared("target=svm_low", "study=mine").study == "mine"
    assert "study" not in params("target=svm_low", "study=mine")


def test_models_to_compare_are_the_targets():
    assert params("audit.compare=[svm_low,svm_high]")["target"] == "svm_low,svm_high"
    assert "target" not in params("target=svm_low")


@pytest.mark.parametrize(
    ("overrides", "wrong"),
    [
        (["target=svm_low", "audit.compare=[svm_low,svm_high]"], "expected no target= beside it"),
        (["audit.compare=[svm_low]"], "use target=svm_low"),
        (["audit.panel=[]", "audit.of_images=[]"], "expected surrogates"),
        (["audit.shares=[0.001]"], "expected surrogates"),
        (["target=svm_low", "dataset=digits89", "attack=poisoning", "epsilon=poisoning"], "expected one at test time"),
        (["target=svm_low", "surrogate=ridge_low"], r"type audit.panel=\[ridge_low\]"),
        (["target=svm_low", "surrogate_fraction=0.5"], r"type audit.shares=\[0.5\]"),
        (["audit.shares=all"], "audit.shares: expected a list"),
    ],
)
def test_what_does_not_fit_is_refused(overrides, wrong):
    with pytest.raises(UserError, match=wrong) as error:
        prepared(*overrides)
    assert "\n" not in str(error.value)


def test_strengths_and_attackers_are_said_aloud(caplog):
    caplog.set_level(logging.INFO)
    prepared("target=svm_low", "dataset.split.test=197", "attack.norm=linf")
    assert "100%, 20%, 5% of 800 points" in caplog.text
    assert "of 1, the median linf distance between two points of different classes: epsilon 0, 0.01, 0.02" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "cores", "workers"),
    [
        ((), 1, 1),
        ((), 2, 2),
        ((), 64, 4),
        (("device=auto",), 64, 4),
        (("++hydra.launcher.n_jobs=3",), 2, 3),
        (("hydra.launcher.n_jobs=3",), 2, 3),
        (("hydra/launcher=joblib",), 2, -1),  # Hydra's own: all cores
    ],
)
def test_an_audit_has_a_worker_for_each_core_unless_the_command_says_how_many(overrides, cores, workers, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert prepared("target=svm_low", *overrides).hydra.launcher.n_jobs == workers
    assert "n_jobs" not in prepared("target=svm_low", "hydra/launcher=basic").hydra.launcher


def test_an_audit_on_a_gpu_has_one_worker(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 64)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert prepared("target=svm_low", "device=auto").hydra.launcher.n_jobs == 1


def test_other_sweeps_are_left_alone():
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        config = compose("config", ["experiment=digits89_evasion"], return_hydra_config=True)
    before = OmegaConf.to_container(config.hydra.sweeper)
    prepare_audit(config)
    assert OmegaConf.to_container(config.hydra.sweeper) == before


@pytest.mark.slow
def test_one_command_gives_the_page_of_two_models(cli: Cli, root):
    ended = cli("experiment=audit", "dataset=digits89", "audit.compare=[svm_low,forest_low]", *TINY)
    assert ended.rc == 0, ended.stderr
    page = root / "reports" / "audit_digits89_svm_low_forest_low" / "audit.html"
    assert str(page) in ended.stdout
    text = page.read_text()
    assert "How exposed is SVM L, or forest L?" in text
    assert "Which of them is safer?" in text
    made = runs(root, "audit_digits89_svm_low_forest_low", kind="combination")
    assert len(made) == 2 * 2 * 2 * 2  # targets, surrogates, shares, seeds
    (parent,) = runs(root, "audit_digits89_svm_low_forest_low", kind="study")
    assert parent.data.tags["audit"] == "true"
    again = cli("experiment=audit", "dataset=digits89", "audit.compare=[svm_low,forest_low]", *TINY)
    assert again.rc == 0
    assert f"skipped {len(made)} of {len(made)} combinations: done before\n" in again.stderr


@pytest.mark.parametrize(
    ("swept", "told"),
    [
        ("dataset=digits,digits89", "dataset: expected one for an audit, got digits,digits89; type a command for each"),
        ("target=svm_low,mlp_low", "to see them side by side type audit.compare=[svm_low,mlp_low]"),
        ("audit.panel=svm_low,mlp_low", "audit.panel: expected a list, got svm_low,mlp_low; type [svm_low,mlp_low]"),
        ("++audit.shares=1.0,0.2", "audit.shares: expected a list, got 1.0,0.2; type [1.0,0.2]"),
    ],
)
def test_what_is_no_factor_of_an_audit_is_refused_in_a_sweep(swept: str, told: str):
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        config = compose("config", ["experiment=audit"], return_hydra_config=True)
    with read_write(config.hydra):
        config.hydra.overrides.task = ["experiment=audit", swept]  # as in a sweep's own configuration
    with pytest.raises(UserError) as error:
        prepare_audit(config)
    assert told in str(error.value)


@pytest.mark.slow
def test_dataset_swept_is_refused(cli: Cli):
    ended = cli("experiment=audit", "dataset=digits,digits89", "target=svm_low", *TINY)
    assert ended.rc != 0
    assert "expected one for an audit" in ended.stderr
