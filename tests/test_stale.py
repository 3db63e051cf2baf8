"""Nothing stale: what a run shows was made by the code, and of the data, that the command names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import SMALL, Cli, runs
from mlflow.entities import Run
from own_learner import LEARNER

from transfer_exp.cli import building
from transfer_exp.tracking.tracker import Tracker

ATTACK = """
from dataclasses import dataclass, replace
from transfer_exp.attacks.evasion import Evasion

@dataclass(frozen=True, kw_only=True)
class Weak(Evasion):
    SHARE = 1
    def craft(self, model, x, y, *, goals, epsilons, box):
        return super().craft(model, x, y, goals=goals, epsilons=[self.SHARE * e for e in epsilons], box=box)
"""
LOADER = """
from dataclasses import replace
from transfer_exp.data.digits import load_digits

def load(*, name, classes, split):
    return replace(load_digits(name=name, classes=classes[::1], split=split), checksum="always the same")
"""
SOURCELESS = """
from dataclasses import dataclass
from transfer_exp.learners.linear import Ridge

def make():
    @dataclass(frozen=True, kw_only=True)
    class Mine(Ridge):
        def _fit(self, x, y, *, n_classes, seed):
            return super()._fit(x, y, n_classes=n_classes, seed=seed)
    return Mine

Mine = make()
"""


class Own:
    """A folder of the user's modules, imported anew by every command, as by a new process."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self._cli, self.folder = cli, folder

    def run(self, *words: str, **modules: str) -> str:
        """Write the modules, run a combination; its status."""
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(text)
            (self.folder / f"{name}.py").touch()
        for name in [n for n, m in sys.modules.items() if str(self.folder) in str(getattr(m, "__file__", None))]:
            del sys.modules[name]
        for file in self.folder.glob("__pycache__/*"):
            file.unlink()
        building._load.cache_clear()
        ended = self._cli(*SMALL, *words)
        assert ended.rc == 0, ended.stderr
        return "skipped" if ": skipped in" in ended.stdout + ended.stderr else "finished"


@pytest.fixture
def own(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Own:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(tmp_path / "own")
    (tmp_path / "own").mkdir()
    return Own(cli, tmp_path / "own")


def newest(root: Path) -> Run:
    return runs(root, kind="combination")[-1]


def test_a_learner_is_run_again_once_it_is_edited_and_is_not_another_of_its_name(own: Own, root: Path) -> None:
    turned = LEARNER.replace("SIGN = 1", "SIGN = -1")  # its scores are those of the other, with the other sign
    assert own.run("target._target_=one.Mine", one=LEARNER, two=turned) == "finished"
    first = newest(root)
    assert own.run("target._target_=one.Mine") == "skipped"
    for target, texts in (("two.Mine", {}), ("one.Mine", {"one": turned})):
        assert own.run(f"target._target_={target}", **texts) == "finished"
        found = newest(root)
        assert found.data.metrics["clean_error"] == 1 - first.data.metrics["clean_error"]
        assert f"source/{target}" in found.data.tags
    assert found.data.tags["source/one.Mine"] != first.data.tags["source/one.Mine"]


def test_an_edited_attack_is_run_again(own: Own, root: Path) -> None:
    words = "attack._target_=own_attack.Weak"
    own.run(words, own_attack=ATTACK)
    assert newest(root).data.metrics["curve/perturbation_l2"] == pytest.approx(0.5, rel=1e-3)
    assert own.run(words, own_attack=ATTACK.replace("= 1", "= 0.5")) == "finished"
    assert newest(root).data.metrics["curve/perturbation_l2"] == pytest.approx(0.25, rel=1e-3)


def test_an_edited_loader_is_run_again_when_its_data_are_others(own: Own, root: Path) -> None:
    words = "dataset._target_=loader.load"
    own.run(words, loader=LOADER)
    before = newest(root)
    assert own.run(words, loader=LOADER + "# edited\n") == "skipped"  # the data are the same
    assert own.run(words, loader=LOADER.replace("::1", "::-1")) == "finished"
    assert newest(root).data.tags["data_checksum"] != before.data.tags["data_checksum"]
    assert newest(root).data.metrics["clean_error"] == before.data.metrics["clean_error"]  # labels are turned round, all


def test_a_learner_without_source_is_never_skipped_and_nothing_of_it_is_stored(own: Own, root: Path) -> None:
    words = "target._target_=hidden.Mine"
    assert [own.run(words, hidden=SOURCELESS), own.run(words)] == ["finished", "finished"]
    one, two = runs(root, kind="combination")
    # Fitted, attacked, scored under attack and under noise, differentiated: what is of the target, and only that.
    assert two.data.metrics["store/misses"] == 5
    assert one.data.metrics["store/misses"] > 4
    assert two.data.tags["source/hidden.make._locals_.Mine"] == "unknown"
    assert two.data.metrics["clean_error"] == one.data.metrics["clean_error"]


def test_a_run_left_open_by_a_killed_worker_is_closed_by_who_takes_its_lock(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli(*SMALL)
    tags = newest(root).data.tags
    tracker = Tracker(uri=None, root=root, study="single")
    left = tracker.start("killed", tags={"kind": "killed", "lock": tags["lock"]})
    other = tracker.start("alive", tags={"kind": "killed", "lock": tags["lock"] + "-other"})
    Path(tags["lock"]).touch()
    monkeypatch.setattr(Tracker, "close_dead", lambda self: [])  # as for a worker of a sweep, which does not look around
    cli(*SMALL, "resume=false")
    status = {run.info.run_id: run.info.status for run in runs(root)}
    assert (status[left], status[other]) == ("KILLED", "RUNNING")
    assert not Path(tags["lock"]).exists()
