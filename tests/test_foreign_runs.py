"""Combinations with attacks of others: identity, health, what is recorded, a sweep beside our own attack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_libraries as fake
import numpy as np
import pytest
from conftest import SMALL, SOURCE, Cli, runs
from test_origin import Write, write  # noqa: F401  (a fixture)
from test_scenarios import GRID, combination, equal

from transfer_exp.attacks import foreign_named
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.foreign import Foreign
from transfer_exp.data.digits import load_digits
from transfer_exp.report.__main__ import main as report
from transfer_exp.scenarios import run
from transfer_exp.signature import Key, signature
from transfer_exp.store import Store
from transfer_exp.tracking.recording import tags_of
from transfer_exp.types import Box, Dataset, Sizes, UserError

FUNCTION = """
def f(model, x, y, *, epsilon, goals, share=1.0):
    return x + {step} * epsilon * share
"""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_digits(name="digits89", classes=[8, 9], split=Sizes(test=30))


def key(attack: str, **options: Any) -> Key:
    return signature(attack=Foreign(attack=attack, **options))


def test_a_function_counts_by_its_source_and_options(write: Write) -> None:  # noqa: F811
    write(FUNCTION.format(step=1))
    first = key("mine:f")
    assert first.storable
    assert key("mine:f") == first == key("mine:f", name="another")
    others = [{"options": {"share": 0.5}}, {"norm": "linf"}, {"goal": "next"}, {"batch_size": 3}, {"seed": 1}]
    keys = {first, *(key("mine:f", **one) for one in others)}
    write(FUNCTION.format(step=2))
    keys.add(key("mine:f"))
    write(FUNCTION.format(step=1))
    assert key("mine:f") == first
    write("from theirs import f", theirs=FUNCTION.format(step=1))
    keys.add(key("mine:f"))
    assert len(keys) == len(others) + 3


def test_an_attack_of_a_library_counts_by_the_version(monkeypatch: pytest.MonkeyPatch, data: Dataset) -> None:
    fake.plant(monkeypatch)
    keys = []
    for version in ("3.5.1", "3.5.2"):
        monkeypatch.setattr(foreign_named, "library_version", lambda top, version=version: version)
        keys += [key("torchattacks:MIFGSM", norm="linf") for _ in range(2)]
        tags = tags_of(combination(data, attack=Foreign(attack="torchattacks:MIFGSM", norm="linf")))
        assert tags["version/torchattacks"] == version
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert keys[0] != key("torchattacks:APGD", norm="linf")


def test_a_function_of_the_users_is_recorded_by_its_source(data: Dataset) -> None:
    tags = tags_of(combination(data, attack=Foreign(attack="foreign_attacks:l2_step")))
    assert len(tags["source/foreign_attacks.l2_step"]) == 16


def test_what_the_attack_cannot_take_is_refused_before_anything_is_trained(data: Dataset, monkeypatch: Any) -> None:
    fake.plant(monkeypatch)
    with pytest.raises(UserError, match=r"attack torchattacks:TIFGSM: expected images of 3 channels, got shape \(1, 8, 8\)"):
        combination(data, attack=Foreign(attack="torchattacks:TIFGSM", norm="linf"))
    uneven = replace(data, box=Box(lower=np.zeros(64), upper=np.arange(1.0, 65)))
    with pytest.raises(UserError, match="expected a box that is as wide in every feature"):
        combination(uneven, attack=Foreign(attack="foreign_attacks:l2_step"))
    assert combination(uneven, attack=Foreign(attack="foreign_attacks:one_feature", norm="l0")).attack.norm == "l0"


def test_a_hostile_attack_is_told_and_changes_no_other_number(
    data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    hostile = {name: combination(data, attack=Foreign(attack=f"foreign_attacks:{name}")) for name in HOSTILE}
    outcomes = {name: run(one, store) for name, one in hostile.items()}
    ours = run(combination(data, attack=Evasion()), store)
    assert equal(ours, run(combination(data, attack=Evasion()), Store(tmp_path / "fresh")))
    for name, outcome in outcomes.items():
        for same in ("clean_error", "surrogate_clean_error", "gradient_size", "gradient_alignment", "loss_variability"):
            assert outcome.metrics[same] == ours.metrics[same], (name, same)
        assert outcome.curves["noise_error"] == ours.curves["noise_error"]
        assert outcome.metrics["health/violation"] < 1e-6
        assert not {"health/zero_gradient", "health/iterations_exhausted"} & set(outcome.metrics)
        # What it made is told: the share that is not finite, and by how much it left ball or box.
        not_finite, outside = (outcome.metrics[f"health/foreign_{one}"] for one in ("not_finite", "outside"))
        assert (not_finite > 0, outside > 1) == HOSTILE[name]
        for wrong, kind in ((not_finite > 0, "not_finite"), (outside > 1, "outside")):
            assert (f"health: foreign_{kind} = " in caplog.text) or not wrong
        assert np.isfinite(outcome.curves["error"]).all()
    # An attack that makes nothing has done no harm, whatever it says.
    still = outcomes["changes_the_model"]
    assert still.curves["error"] == [still.metrics["clean_error"]] * len(GRID.grid)


HOSTILE = {
    "edits_its_input": (False, True),
    "changes_the_model": (False, False),
    "not_finite": (True, True),
    "leaves_the_ball": (False, True),
}


@pytest.mark.slow
def test_a_sweep_beside_our_own_attack_has_the_attack_as_a_factor(cli: Cli, root: Path) -> None:
    blocks = (
        "hydra.sweeper.blocks=[{attack:evasion},"
        '{attack:foreign,attack.attack:"foreign_attacks:l2_step,foreign_attacks:one_feature"},'
        '{attack:foreign,attack.attack:"foreign_attacks:l2_step",+attack.options.length:"0.5"}]'
    )
    small = [one for one in SMALL if not one.startswith("attack.")]
    ended = cli("-m", *small, "study=mixed", blocks)
    print(ended.stdout)
    assert ended.rc == 0, ended.stderr
    done = runs(root, "mixed", kind="combination")
    found = {(one.data.params["attack"], one.data.params.get("attack.options.length")) for one in done}
    assert found == {
        ("evasion", None),
        ("foreign_attacks:l2_step", None),
        ("foreign_attacks:one_feature", None),
        ("foreign_attacks:l2_step", "0.5"),
    }
    assert len({one.data.tags["signature"] for one in done}) == 4
    for attack in ("evasion", "foreign_attacks:l2_step", "foreign_attacks:one_feature"):
        assert f"attack {attack}" in ended.stdout
    assert "attack.options.length 0.5" in ended.stdout
    assert "attack.options absent" not in ended.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_example_runs_with_the_libraries_themselves(cli: Cli, root: Path) -> None:
    for library in ("torchattacks", "foolbox", "art"):
        pytest.importorskip(library, reason=f"needs {library}: see conf/attack/foreign.yaml")
    small = ("dataset=digits", "dataset.split={target:200,surrogate:200,test:30}", "target=cnn,ridge_low", "surrogate=cnn")
    folder = SOURCE / "examples" / "foreign_attacks" / "conf"
    ended = cli(f"--config-dir={folder}", "experiment=mnist_attacks", *small, "surrogate.n_epochs=4")
    assert ended.rc == 0, ended.stderr
    done = runs(root, "mnist_attacks", kind="combination")
    assert len(done) == 2 * 6
    for one in done:
        still = one.data.metrics["health/not_rising"]
        assert still < 0.05, one.data.params["attack"]
        if one.data.params["attack"] != "evasion":
            assert one.data.metrics["health/foreign_outside"] < 1e-4
            assert one.data.metrics["health/foreign_not_finite"] == 0
    assert report(["study=mnist_attacks", f"root={root}", "where=attack=torchattacks:MIFGSM"]) == 0
    (page,) = (root / "reports").glob("mnist_attacks-*/report.html")
    assert "torchattacks:MIFGSM" in page.read_text()


def test_the_shipped_file_says_what_is_missing(cli: Cli) -> None:
    assert (SOURCE / "conf" / "attack" / "foreign.yaml").is_file()
    ended = cli(*[one for one in SMALL if not one.startswith("attack.")], "attack=foreign")
    assert ended.rc == 1
    assert "attack.attack: expected module:name" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
