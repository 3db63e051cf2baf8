"""A sweep's jobs are composed as Hydra composes them, with a fraction of the work."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import Container, DictConfig, OmegaConf
from omegaconf.base import Node

from transfer_exp.cli import composing
from transfer_exp.cli.composing import SweepLoader
from transfer_exp.cli.naming import CONFIG

WORDS = ["epsilon.grid=[0,0.5]", "+extra=1", "dataset.split={test: 20}", "hydra.job.chdir=false"]


def loader_of(folder: Path) -> ConfigLoader:
    with initialize_config_dir(str(folder), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


@pytest.fixture(scope="module")
def hydra() -> ConfigLoader:
    return loader_of(CONFIG)


@pytest.fixture(scope="module")
def master(hydra: ConfigLoader) -> DictConfig:
    return hydra.load_configuration("config", [*WORDS, "seed=1,2"], RunMode.MULTIRUN)


def seen(node: Any) -> Any:
    """All of a node: values as written, types, flags, in order."""
    assert isinstance(node, Node)
    flags = {name: node._get_flag(name) for name in ("readonly", "struct")}
    types = node._metadata.ref_type, node._metadata.object_type, node._metadata.optional
    if isinstance(node, DictConfig) and isinstance(node._value(), dict):
        inside: Any = [(key, seen(node._get_node(key))) for key in node]
    elif isinstance(node, Container) and isinstance(node._value(), list):
        inside = [seen(node._get_node(k)) for k in range(len(node._value()))]
    else:
        inside = node._value()
    return type(node), types, flags, inside


JOBS = {
    "values": [["seed=1", "n_variability=3"], ["seed=2", "n_variability=4"]],
    "groups": [["surrogate=svm_low", "seed=1"], ["surrogate=ridge_low", "seed=1"], ["surrogate=svm_low", "seed=2"]],
    "strengths": [["strength=quick", "seed=1"], ["strength=standard", "seed=1"], ["strength=quick", "attack.n_iter=7"]],
    "a list": [["epsilon.shown=[0.5]"], ["epsilon.shown=[0.5,0]"], ["epsilon.shown=[]"]],
    "text": [["study=a"], ["study='b c'"], ["study=${seed}"], ["study=null"]],
    "below a mapping": [["dataset.split={test: 30}", f"dataset.split.test={n}"] for n in (5, 6)],
    "before a mapping": [[f"dataset.split.test={n}", "dataset.split={test: 30}"] for n in (5, 6)],
    "added": [["+new=1", "seed=1"], ["+new=2", "seed=2"], ["+new=2", "seed=3"]],
    "taken away": [["~attack.n_iter", "seed=1"], ["~attack.n_iter", "seed=2"]],
    "a part for a value": [["attack.n_iter=3", "attack=evasion"], ["attack.n_iter=4", "attack=evasion"]],
}


@pytest.mark.parametrize("jobs", JOBS.values(), ids=JOBS)
def test_every_job_is_what_hydra_composes(jobs: list[list[str]], hydra: ConfigLoader, master: DictConfig) -> None:
    quick = SweepLoader.of(hydra)
    for job in jobs:
        words = [*(word for word in WORDS if not word.startswith("hydra.")), *job]
        found, expected = (loader.load_sweep_config(master, words) for loader in (quick, hydra))
        assert seen(found) == seen(expected)
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)


def test_a_second_job_parses_and_composes_nothing_again(
    hydra: ConfigLoader, master: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    read: list[str] = []
    composed: list[list[str]] = []
    parse, load, compose = OverridesParser.parse_rule, FileConfigSource.load_config, ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(OverridesParser, "parse_rule", lambda s, word, rule: parsed.append(word) or parse(s, word, rule))
    monkeypatch.setattr(
        FileConfigSource, "load_config", lambda s, config_path: read.append(config_path) or load(s, config_path)
    )
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_sweep_config", lambda s, m, words: composed.append(words) or compose(s, m, words)
    )
    quick = SweepLoader.of(hydra)
    worker = pickle.loads(pickle.dumps(quick))  # as a launcher hands it on
    jobs = [[f"surrogate={name}", "threads=1", f"seed={seed}"] for seed in range(40, 50) for name in ("svm_low", "rbf_low")]
    for k, job in enumerate(jobs):
        (quick, worker)[k % 2].load_sweep_config(master, job)
    assert composed == jobs[:2]
    assert len(read) == len(set(read))
    new = [f"seed={seed}" for seed in range(41, 50)]
    assert sorted(word for word in parsed if word in new) == new


def test_another_sweep_reads_the_files_again(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    for value in (1, 2):
        file.write_text(f"a: {value}\nb: 0")
        hydra = loader_of(tmp_path)
        master = hydra.load_configuration("config", [], RunMode.MULTIRUN)
        quick = SweepLoader.of(hydra)
        assert [quick.load_sweep_config(master, [f"b={b}"]).a for b in (3, 4)] == [value] * 2


@pytest.mark.parametrize("word", ["surrogate=none_such", "nothing=3", "hydra.job.num=a", "study='${'"])
def test_what_cannot_be_composed_is_said_as_hydra_says_it(word: str, hydra: ConfigLoader, master: DictConfig) -> None:
    said = []
    quick = SweepLoader.of(hydra)
    for known in ("surrogate=svm_low", "study=a"):
        quick.load_sweep_config(master, ["seed=1", known])
    for loader in (quick, hydra):
        with pytest.raises(Exception) as caught:  # noqa: PT011  (of whatever kind)
            loader.load_sweep_config(master, ["seed=1", word])
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


def test_copies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "_MOST_COPIES", 3)
    monkeypatch.setattr(composing, "_pickled", {})
    for k in range(10):
        assert composing._copy_of(k, lambda k=k: [k]) == [k]
        assert composing._copy_of(k, list) == [k]
        assert len(composing._pickled) <= 3
