"""The configuration: all that is shipped composes, is what it says, and refuses what it does not know."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import yaml
from conftest import SOURCE
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from transfer_exp.cli.building import build
from transfer_exp.cli.configuration import identity, settings_of
from transfer_exp.cli.naming import dataset_name
from transfer_exp.combination import Combination
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Forest
from transfer_exp.tracking.settings import leaves
from transfer_exp.types import UserError, dense

CONF = SOURCE / "conf"
PICKED = (
    "dataset",
    "surrogate",
    "target",
    "attack",
    "epsilon",
    "tracking",
    "experiment",
    "hyperparameters",
    "strength",
    "objective",
    "measures",
)
REAL_DATA = ("mnist", "mnist89", "fashion_mnist", "drebin215", "drebin_sample", "lfw")
NOT_THERE = ("drebin", "cifar10")  # on request or large: read from made files in test_drebin.py and test_image_sets.py
OWN_FILES = ("arrays", "image_folder")

# What is the user's own has no default.
OWN = {
    "torch_module": ["module._target_=torch.nn.Linear"],
    "pretrained": ["module._target_=torch.nn.Linear", "weights=own.safetensors"],
    "predictor": ["function._target_=numpy.sum", "gives=labels"],
    "onnx": ["file=own.onnx", "gives=labels"],
}
NETWORKS = {"cnn", "resnet8", "resnet20", "torch_module", "pretrained"}
BLACK_BOXES = {"sklearn", "predictor", "onnx"}
AROUND = {"ensemble", "sanitised", "tuned", "bagged"}

# paper.md, 4.1, by hand.
PAPER = {
    "svm": ({"C": 100}, {"C": 0.01}),
    "rbf": ({"C": 100, "gamma": 0.01}, {"C": 1, "gamma": 0.01}),
    "logistic": ({"C": 10}, {"C": 1}),
    "ridge": ({"alpha": 1}, {"alpha": 10}),
    "mlp": ({"hidden": (50, 50), "weight_decay": 0}, {"hidden": (50, 50), "weight_decay": 0.01}),
    "forest": ({"n_trees": 30, "max_depth": None}, {"n_trees": 30, "max_depth": 8}),
}
PAPER_TABLE = {f"{family}_{level}": h_l[k] for family, h_l in PAPER.items() for k, level in enumerate(("high", "low"))}


# paper.md, 4.2, by hand: what differs from 4.1.
PAPER_DREBIN = {
    "mlp_high": {"hidden": (200, 200), "weight_decay": 0},
    "mlp_low": {"hidden": (200, 200), "weight_decay": 0.005},
    "forest_low": {"n_trees": 30, "max_depth": 59},
}


def choices(group: str) -> list[str]:
    found = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    assert found, group
    return found


def composed(*overrides: str, hydra: bool = False) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=hydra)


def built(*overrides: str) -> Combination:
    return build(composed(*overrides))


@pytest.fixture(autouse=True)
def _own_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFER_EXP_ROOT", str(tmp_path))


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in PICKED for name in choices(group)])
def test_every_shipped_choice_composes_and_resolves(group: str, name: str) -> None:
    config = composed(f"{group}={name}", *(f"{group}.{word}" for word in OWN.get(name, ())))
    assert OmegaConf.to_container(config, resolve=True)


def test_every_folder_of_the_configuration_is_looked_at() -> None:
    assert {folder.name for folder in CONF.iterdir() if folder.is_dir()} == {*PICKED, "learner", "measures", "hydra"}
    assert set(choices("target")) == set(choices("learner")) == {*PAPER_TABLE, *NETWORKS, *BLACK_BOXES, *AROUND}
    without_gradients = {name for name in choices("target") if name.startswith("forest")} | BLACK_BOXES
    assert set(choices("surrogate")) == set(choices("target")) - without_gradients


OF_THE_PAPER = [(role, name) for role in ("surrogate", "target") for name in choices(role) if name in PAPER_TABLE]


@pytest.mark.parametrize(("role", "name"), OF_THE_PAPER)
def test_learners_have_the_hyperparameters_of_the_paper(role: str, name: str) -> None:
    learner = getattr(built(f"{role}={name}"), role)
    assert learner.name == name == f"{learner.family}_{learner.complexity}"
    assert {key: getattr(learner, key) for key in PAPER_TABLE[name]} == PAPER_TABLE[name]


@pytest.mark.parametrize(("role", "name"), OF_THE_PAPER)
def test_learners_have_the_hyperparameters_of_the_papers_drebin_study(role: str, name: str) -> None:
    learner = getattr(built(f"{role}={name}", "hyperparameters=drebin_evasion"), role)
    expected = PAPER_TABLE[name] | PAPER_DREBIN.get(name, {})
    assert {key: getattr(learner, key) for key in expected} == expected


def test_what_the_paper_leaves_open_of_an_mlp_is_in_the_table_or_has_its_default() -> None:
    learners: Any = [built("target=mlp_low", *words).target for words in ([], ["hyperparameters=drebin_evasion"])]
    assert [(learner.n_epochs, learner.batch_size) for learner in learners] == [(30, 32), (30, 128)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.data) if name in REAL_DATA else name
        for name in choices("dataset")
        if name not in NOT_THERE
    ],
)
def test_every_data_set_loads(name: str, tmp_path: Path) -> None:
    words = [f"dataset={name}"]
    if name == "arrays":
        np.savez(tmp_path / "own.npz", X=np.eye(8), y=np.arange(8) % 2)
        words += [f"dataset.file={tmp_path / 'own.npz'}", "dataset.split.test=2"]
    if name == "image_folder":
        for place in itertools.product(("train", "test"), ("cat", "dog")):
            folder = tmp_path.joinpath("own", *place)
            folder.mkdir(parents=True)
            for k in range(4):
                Image.new("L", (3, 2), 60 * k).save(folder / f"{k}.png")
        words += [f"dataset.path={tmp_path / 'own'}", "dataset.split.test=2"]
    dataset = built(*words).dataset
    assert dataset.name == ("own" if name in OWN_FILES else name)
    assert set(dataset.y) == set(range(dataset.n_classes))
    rows = np.arange(0, len(dataset.y), 10)
    points = dataset.x[rows]
    for which in ("min", "max"):  # of sparse points: sparse
        values = dense(getattr(points, which)(axis=0)).ravel()
        assert (values >= dataset.box.lower).all()
        assert (values <= dataset.box.upper).all()
    make_split(dataset, seed=0)  # its sizes fit


@pytest.mark.parametrize(("name", "title"), [("drebin", "DREBIN"), ("cifar10", "CIFAR-10")])
def test_a_data_set_that_is_not_there_is_asked_for(
    name: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr(pooch, "retrieve", no_network)
    with pytest.raises(UserError, match=f"^{title}: expected .* in .*put (it|its .*) there, or set"):
        built(f"dataset={name}", f"paths.data={tmp_path}")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["dataset=digits89", "dataset.classes=[4,9]"], "digits49"),
        (["dataset=digits", "dataset.classes=[4,7,9]"], "digits479"),
        (["dataset=mnist89", "dataset.classes=[9,8]"], "mnist98"),
        (["dataset=mnist89", "dataset.classes=null"], "mnist"),
        (["dataset=mnist"], "mnist"),
        (["dataset=mnist", "dataset.classes=[8,9]"], "mnist89"),
        (["dataset=fashion_mnist", "dataset.classes=[Coat,Shirt]"], "fashion_mnist (classes Coat Shirt)"),
        (["dataset=mnist89", "dataset.split.test=500", "paths.data=/elsewhere"], "mnist89"),
        (["dataset=mnist89", "dataset.classes=7"], "mnist (classes 7)"),
        (["dataset=mnist89", "dataset.name=mine", "dataset.classes=[4,9]"], "mine"),
        (["dataset=drebin215", "dataset.n_features=50"], "drebin215 (n_features 50)"),
        (["dataset=synthetic", "dataset.n_points=600", "dataset.separation=1"], "synthetic (n_points 600, separation 1)"),
        (["dataset=arrays", "dataset.file=some/folder/spam.v2.npz"], "spam.v2"),
        (["dataset=arrays", "dataset.file=spam.npz", "dataset.group_equal=false"], "spam (group_equal False)"),
        (["dataset=image_folder", "dataset.path=some/pets.v2/", "dataset.size=[32,32]"], "pets.v2 (size 32 32)"),
        (["dataset=lfw", "~dataset"], None),
    ],
)
def test_a_data_set_is_named_by_what_makes_it(words: list[str], name: str | None) -> None:
    assert identity(composed(*words)).get("dataset") == name


def test_a_loader_of_ones_own_has_the_name_that_it_is_given_or_none() -> None:
    assert dataset_name({"_target_": "mine.load", "name": "spam"}) == "spam"
    assert dataset_name({"_target_": "mine.load"}) is None


@pytest.mark.parametrize("name", choices("attack"))
def test_every_attack_is_made(name: str) -> None:
    dataset = "synthetic" if name == "evasion_add" else "digits89"
    function = ["attack.attack=foreign_attacks:sign_step"] if name == "foreign" else []
    made = built(f"attack={name}", f"dataset={dataset}", *function).attack
    assert made.name == (name if name != "foreign" else "foreign_attacks:sign_step")


@pytest.mark.parametrize("name", choices("epsilon"))
def test_every_grid_is_made(name: str) -> None:
    assert built(f"epsilon={name}").epsilon.grid[0] == 0


@pytest.mark.parametrize("name", choices("experiment"))
def test_every_experiment_is_made_of_shipped_choices(name: str) -> None:
    config = composed(f"experiment={name}", hydra=True)
    assert config.study == name
    for block in config.hydra.sweeper.blocks or [{}]:
        swept = {key: str(values).split(",") for key, values in {**config.hydra.sweeper.params, **block}.items()}
        if "audit" in config:  # its sweep is completed when the data are known
            swept |= {"surrogate": [*config.audit.panel, *config.audit.of_images], "target": []}
        for role in ("surrogate", "target"):
            assert set(swept[role]) <= set(choices(role))
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    assert [word for word in ("# What:", "# Command:", "# Expect:") if word not in text] == []
    dataset = "synthetic" if config.attack.name == "evasion_add" else "digits89"
    assert built(f"experiment={name}", f"dataset={dataset}").attack.name == config.attack.name


def test_the_study_of_the_paper_is_the_papers() -> None:
    config = composed("experiment=mnist89_evasion", hydra=True)
    params = config.hydra.sweeper.params
    assert params.seed == "range(0,10)"
    assert set(params.target.split(",")) == set(PAPER_TABLE)
    assert set(params.surrogate.split(",")) == {name for name in PAPER_TABLE if not name.startswith("forest")}
    assert [float(f) for f in params.surrogate_fraction.split(",")] == [1.0, 0.2]
    assert list(config.epsilon.grid) == [k / 2 for k in range(11)]
    assert list(config.epsilon.shown) == [1, 2, 5]
    assert (config.dataset.split.test, config.attack.norm, list(config.dataset.classes)) == (1000, "l2", [8, 9])


@pytest.mark.parametrize("role", ["surrogate", "target"])
def test_the_paths_are_swept_in_both_roles_against_fixed_panels(role: str) -> None:
    sweeper = composed("experiment=mnist89_paths", hydra=True).hydra.sweeper
    other = "target" if role == "surrogate" else "surrogate"
    own = [block for block in sweeper.blocks if any(key.startswith(f"{role}.") for key in block)]
    assert len({block[other] for block in own}) == 1
    assert sweeper.params.seed == "range(0,6)"
    swept = {
        (block[role], key.removeprefix(f"{role}."), *(str(values).split(",")[k] for k in (0, -1)))
        for block in own
        for key, values in block.items()
        if key.startswith(f"{role}.")
    }
    assert {one for one in swept if one[1] != "hidden"} == {
        ("svm_low", "C", "1e-4", "100"),
        ("logistic_low", "C", "1e-4", "100"),
        ("ridge_low", "alpha", "0.1", "10000"),
        ("rbf_low", "C", "1", "1000"),
        ("rbf_low", "gamma", "0.001", "0.03"),
        ("mlp_high", "weight_decay", "1e-5", "0.1"),
    }
    assert {one[:2] for one in swept} >= {("mlp_high", "hidden")}


@pytest.mark.parametrize("name", ["drebin_evasion", "drebin215_evasion"])
def test_the_drebin_studies_are_the_papers(name: str) -> None:
    config = composed(f"experiment={name}", hydra=True)
    params = config.hydra.sweeper.params
    assert params.seed == "range(0,10)"
    assert set(params.target.split(",")) == set(PAPER_TABLE)
    assert set(params.surrogate.split(",")) == {name for name in PAPER_TABLE if not name.startswith("forest")}
    assert [float(f) for f in params.surrogate_fraction.split(",")] == [1.0, 0.2]
    assert list(config.epsilon.grid) == list(range(31))
    attack = config.attack
    assert (attack.change, attack.n_attacked, attack.false_alarm_rate, list(attack.fixed)) == ("add", 1000, 0.005, [])
    assert config.hyperparameters.forest_low.max_depth == 59


def test_the_drebin_study_has_the_papers_sizes() -> None:
    config = composed("experiment=drebin_evasion")
    data, split = config.dataset, config.dataset.split
    assert (data.n_features, split.target, split.surrogate, split.test) == (5000, 30_000, 30_000, 66_944)
    assert split.target + split.surrogate + split.validation + split.test == 129_013  # all apps of the distribution
    assert list(config.epsilon.shown) == [5, 10, 30]


def test_self_comes_first_so_that_an_experiment_has_the_last_word() -> None:
    defaults = yaml.safe_load((CONF / "config.yaml").read_text())["defaults"]
    assert defaults[0] == "_self_"
    assert composed().study == "single"
    assert composed("experiment=digits89_evasion").study == "digits89_evasion"


def test_an_override_reaches_the_surrogate_and_leaves_the_target() -> None:
    combination: Any = built("surrogate=svm_high", "target=svm_high", "surrogate.C=3")
    assert (combination.surrogate.C, combination.target.C) == (3, 100)


def test_the_table_of_hyperparameters_reaches_both_roles() -> None:
    combination: Any = built("surrogate=svm_high", "target=svm_high", "hyperparameters.svm_high.C=7")
    assert (combination.surrogate.C, combination.target.C) == (7, 7)


# What every attack was given before there was a choice of strengths: runs from before and after it are comparable.
STANDARD = {
    "evasion": {"n_iter": 30, "n_walk": 16, "n_restarts": 3, "n_runner_ups": 3, "n_gradients": 30},
    "evasion_add": {"n_tries": 5},
    "poisoning": {"n_starts": 1, "n_iter": 40, "n_trials": 8, "n_rounds": 4},
    "mifgsm": {"n_gradients": 60},
}
_DATA = {"evasion_add": "dataset=synthetic"}


def budget(attack: str, *words: str) -> dict[str, int]:
    made = built(f"attack={attack}", _DATA.get(attack, "dataset=digits89"), *words).attack
    return {name: getattr(made, name) for name in STANDARD[attack]}


@pytest.mark.parametrize("attack", STANDARD)
def test_the_standard_strength_is_what_an_attack_does_without_a_choice(attack: str) -> None:
    assert budget(attack) == budget(attack, "strength=standard") == STANDARD[attack]
    assert {name: getattr(type(built(f"attack={attack}", _DATA.get(attack, "dataset=digits89")).attack)(), name)
            for name in STANDARD[attack]} == STANDARD[attack]  # fmt: skip


@pytest.mark.parametrize("attack", STANDARD)
def test_one_word_chooses_all_budgets_of_an_attack(attack: str) -> None:
    quick, exhaustive = (budget(attack, f"strength={word}") for word in ("quick", "exhaustive"))
    assert all(quick[name] <= STANDARD[attack][name] < exhaustive[name] for name in STANDARD[attack])
    assert quick != STANDARD[attack]


PRESETS = ("admix", "difgsm", "iterative", "mifgsm", "nifgsm", "pgd", "sinifgsm", "tifgsm", "vmifgsm")


@pytest.mark.parametrize("strength", ["quick", "standard", "exhaustive"])
def test_all_transfer_attacks_have_one_budget_at_every_strength(strength: str) -> None:
    made = [built(f"attack={name}", "dataset=digits", f"strength={strength}").attack for name in PRESETS]
    assert len({one.n_gradients for one in made}) == 1
    assert all(one.n_steps * one.gradients_per_step > 0.9 * one.n_gradients - 1 for one in made)


def test_presets_have_the_settings_of_their_papers() -> None:
    made = {name: built(f"attack={name}", "dataset=digits", "strength=exhaustive").attack for name in PRESETS}
    assert {name for name, one in made.items() if one.momentum == 1} == set(PRESETS) - {"iterative", "pgd", "difgsm"}
    assert {name for name, one in made.items() if one.nesterov} == {"nifgsm", "sinifgsm"}
    assert (made["difgsm"].diversity, made["tifgsm"].kernel_size, made["tifgsm"].kernel_reach) == (0.5, 15, 3)
    assert (made["admix"].n_scales, made["admix"].n_mixed, made["admix"].mix_share) == (5, 3, 0.2)
    tuned = made["vmifgsm"]
    assert (tuned.n_neighbours, tuned.neighbour_radius, tuned.n_steps) == (20, 1.5, 10)
    assert made["sinifgsm"].n_scales == 5
    assert all(one.norm == "linf" and one.objective == "cross_entropy" for one in made.values())


def test_a_single_budget_overrides_the_strength() -> None:
    quick = budget("evasion", "strength=quick")
    assert budget("evasion", "strength=quick", "attack.n_iter=50") == quick | {"n_iter": 50}
    assert budget("evasion", "attack.n_iter=50", "strength=quick") == quick | {"n_iter": 50}


def test_the_strength_is_recorded_once_as_the_budgets_that_it_sets() -> None:
    plain: Any = [OmegaConf.to_container(composed(*words), resolve=True) for words in ([], ["strength=quick"])]
    standard, quick = map(leaves, plain)
    changed = {name for name in {*standard, *quick} if standard.get(name) != quick.get(name)}
    assert changed == {f"attack.{name}" for name in STANDARD["evasion"]}
    assert [set(settings_of(composed(*words))) & {"strength"} for words in ([], ["strength=quick"])] == [set(), set()]


def test_one_key_scales_every_learner_and_another_only_one() -> None:
    both: Any = built("scale=standard", "surrogate=rbf_low", "target=forest_low", "surrogate.gamma=scale")
    assert (both.surrogate.scale, both.target.scale, both.surrogate.gamma) == ("standard", "standard", "scale")
    one: Any = built("target.scale=minmax")
    assert (one.surrogate.scale, one.target.scale) == ("none", "minmax")


def test_other_digits_by_one_key() -> None:
    assert len(built("dataset.classes=[4,9]").dataset.y) == 181 + 180  # fours and nines of scikit-learn's digits


@pytest.mark.data
def test_other_mnist_digits_by_one_key() -> None:
    dataset = built("dataset=mnist89", "dataset.classes=[4,9]").dataset
    # The counts of MNIST: 5,842 + 5,949 training and 982 + 1,009 test images.
    assert np.bincount(dataset.y[~dataset.test_pool]).tolist() == [5842, 5949]
    assert np.bincount(dataset.y[dataset.test_pool]).tolist() == [982, 1009]


@pytest.mark.parametrize("key", ["nothing=1", "surrogate.alpha=1", "dataset.split.tests=3", "attack.norms=l2"])
def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigCompositionException, match="Could not override"):
        composed("surrogate=svm_low", key)


def test_an_added_key_that_nothing_takes_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"surrogate\.gamma: expected one of name, complexity, scale, C, tolerance, got an unknown key"
    ):
        built("surrogate=svm_low", "+surrogate.gamma=1")


def test_a_forest_is_no_surrogate_and_the_choices_are_listed() -> None:
    with pytest.raises(MissingConfigException, match=r"(?s)surrogate/forest_high.*ridge_high\s+ridge_low"):
        composed("surrogate=forest_high")


def test_a_forest_is_no_surrogate_from_python() -> None:
    combination = built()
    with pytest.raises(UserError, match="surrogate: expected a learner with input gradients, got trees"):
        Combination(
            dataset=combination.dataset,
            surrogate=Forest(name="trees"),
            target=combination.target,
            attack=combination.attack,
            epsilon=combination.epsilon,
        )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=abc", "seed: expected a whole number, got 'abc'"),
        ("seed=1.5", "seed: expected a whole number, got 1.5"),
        ("seed=null", "seed: expected a whole number, got None"),
        ("seed=true", "seed: expected a whole number, got True"),
        ("surrogate_fraction=all", "surrogate_fraction: expected a number, got 'all'"),
        ("attack.n_iter=1.5", "attack.n_iter: expected a whole number, got 1.5"),
        ("attack.norm=l3", "attack.norm: expected one of l0, l1, l2, linf, got l3"),
        ("epsilon.grid=3", "epsilon.grid: expected a list, each a number, got 3"),
        ("epsilon.grid=[0,a]", "epsilon.grid: expected a list, each a number, got [0, 'a']"),
        ("dataset.classes=7", "dataset.classes: expected a list, each a whole number or text or null, got 7"),
        ("dataset.split.target=1.5", "dataset.split.target: expected a whole number or null, got 1.5"),
        ("target.hidden=50", "target.hidden: expected a list, each a whole number, got 50"),
        ("surrogate.C=low", "surrogate.C: expected a number, got 'low'"),
        ("target.scale=robust", "target.scale: expected one of none, standard, minmax, got 'robust'"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        built(override)
    assert str(caught.value) == message
