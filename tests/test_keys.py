"""Every field of whatever goes into a combination changes its signature; one key never stands for two contents."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from conftest import PACKAGE
from sklearn.naive_bayes import GaussianNB

from transfer_exp import learners, seeds
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.attacks.iterative import Iterative
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.attacks.poisoning_baselines import LabelFlips
from transfer_exp.attacks.prototypes import Prototypes
from transfer_exp.learners import MLP, Learner, Ridge
from transfer_exp.scenarios import Combination, run
from transfer_exp.signature import checksum, signature
from transfer_exp.store import Arrays, Store
from transfer_exp.types import Box, Dataset, Grid, Sizes, UserError
from transfer_exp.work import Work
from transfer_exp.work.crafted import crafted_key
from transfer_exp.work.fitted import fitted

N = 150
# Values that a rule by type cannot give; a new field of another type needs one here.
OTHERS: dict[str, Any] = {
    "Combination.surrogate_fraction": 0.5,
    "Combination.device": "auto",
    "Dataset.test_pool": np.arange(N) < 40,
    "Dataset.group": np.arange(N) // 2,
    "Dataset.shape": (2, 4),
    "Dataset.class_names": ("no", "yes"),
    "Dataset.notes": {"dropped": 1.0},
    "Dataset.n_selected": 3,
    "Dataset.checksum": "other",
    "Evasion.norm": "linf",
    "Evasion.goal": "next",
    "Evasion.stop_at": 0.5,
    "Iterative.norm": "l2",
    "Iterative.goal": "next",
    "Iterative.kernel_size": 3,
    "Iterative.resize_rate": 0.5,
    "EvasionAdd.fixed": (0,),
    "EvasionAdd.n_attacked": 5,
    "EvasionAdd.false_alarm_rate": 0.4,
    "Forest.max_depth": 3,
    "Grid.grid": lambda grid: (*grid.grid, 1.5 * grid.grid[-1]),
    "Grid.reference": lambda grid: grid.grid[1],
    "Grid.shown": lambda grid: grid.grid[1:],
    "MLP.hidden": (7,),
    "MLP.schedule": "cosine",
    "ResNet.schedule": "cosine",
    "CNN.channels": (2, 3),
    "CNN.optimiser": lambda _: torch.optim.SGD,
    "ResNet.depth": 14,
    "ResNet.optimiser": lambda _: torch.optim.SGD,
    "CNN.schedule": lambda _: torch.optim.lr_scheduler.LinearLR,
    "TorchModule.module": lambda _: partial(torch.nn.Linear, bias=False),
    "TorchModule.optimiser": lambda _: torch.optim.SGD,
    "TorchModule.schedule": lambda _: torch.optim.lr_scheduler.LinearLR,
    "Pretrained.module": lambda _: partial(torch.nn.Linear, bias=False),
    "Pretrained.entry": "state_dict",
    "Pretrained.prefix": "module.",
    "Pretrained.mean": (0.5,),
    "Pretrained.std": (0.5,),
    "Ensemble.members": lambda _: [Ridge(alpha=2.0)],
    "Tuned.tune": lambda _: [{"alpha": [1.0, 3.0]}],
    "Sanitised.share": 0.1,
    "Poisoning.expected_share": 0.1,
    "Onnx.input": "x",
    "Onnx.output": "scores",
    "Predictor.function": lambda _: partial(np.array, dtype=float),
    **{f"{kind}.classes": ("no", "yes") for kind in ("Onnx", "Predictor")},
    **{f"{kind}.shape": (2, 4) for kind in ("Onnx", "Predictor")},
}
# Options that have no default, where 1.0 is none.
NEEDED: dict[str, Any] = {"module": torch.nn.Linear, "weights": __file__, "file": __file__, "function": np.array}
NEEDED |= {"learner": Ridge(alpha=1.0), "tune": [{"alpha": [1.0, 2.0]}]}
NEEDED |= {"gives": "scores", "members": [Ridge(alpha=1.0)], "estimator": GaussianNB()}
DEFENCES = ("Sanitised", "Tuned", "Bagged")
# A name is for display; the checksum stands for the content of x and y.
REFUSED = {f"{kind}.scale" for kind in ("Pretrained", "Onnx", "Predictor", "Ensemble", *DEFENCES)}
REFUSED |= {"Iterative.nesterov"}  # without momentum: see the test below
NOT_COUNTED = {*REFUSED, "Dataset.name", "Dataset.made_by", "Dataset.x", "Dataset.y"}


def combination(attack: Evasion | EvasionAdd | Poisoning) -> Combination:
    random = np.random.default_rng(0)
    y = np.where(random.permutation(N) < N // 2, 1, 0)
    x = (random.random((N, 8)) < 0.5 + 0.15 * (2 * y[:, None] - 1)).astype(
        float
    )  # binary: features can be chosen, and added
    sizes = Sizes(target=16, surrogate=16, validation=18, test=18)
    pool = np.zeros(N, dtype=bool)
    data = Dataset(
        name="tiny",
        x=x,
        y=y,
        box=Box.uniform(8),
        sizes=sizes,
        test_pool=pool,
        checksum=signature(x=x, y=y),
        class_names=("0", "1"),
    )
    grid = (0.0, 1.0, 2.0) if isinstance(attack, EvasionAdd) else (0.0, 0.06, 0.12)  # of 16 points: 1 and 2 poison
    epsilon = Grid(grid=grid, reference=grid[2], shown=grid[2:])
    pair = {"surrogate": Ridge(alpha=1.0), "target": Ridge(alpha=5.0)}
    return Combination(dataset=data, attack=attack, epsilon=epsilon, n_variability=2, **pair)


ATTACKS = {
    "evasion": Evasion(batch_size=5),
    "evasion_add": EvasionAdd(false_alarm_rate=0.2, batch_size=5, n_attacked=6),
    "poisoning": Poisoning(n_iter=2, tolerance=0.5),
}


def options(hint: Any) -> list[Any]:
    """Every value that a hint lists."""
    return list(get_args(hint)) if get_origin(hint) is Literal else [v for part in get_args(hint) for v in options(part)]


def another(owner: Any, name: str) -> Any:
    value, key = getattr(owner, name), f"{type(owner).__name__}.{name}"
    listed = [v for v in options(get_type_hints(type(owner))[name]) if v != value]
    if key in OTHERS:
        return OTHERS[key](owner) if callable(OTHERS[key]) else OTHERS[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else 2 * value or 0.5
    if isinstance(value, np.ndarray):
        return value * 1.5 - 0.25  # bounds: wider on either side
    assert listed, f"{key}: no other value known; add one to OTHERS"
    return listed[0]


def variants(thing: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, the thing with one of its fields changed), through all dataclasses below it, less what it refuses."""
    for field in fields(thing):
        value, key = getattr(thing, field.name), f"{type(thing).__name__}.{field.name}"
        if not field.compare or not field.init or key in NOT_COUNTED:
            continue
        here = f"{path}.{field.name}".lstrip(".")
        if dataclasses.is_dataclass(value):
            for below, other in variants(value, here):
                with suppress(UserError):  # poisoning refuses learners that scale
                    yield below, replace(thing, **{field.name: other})
        else:
            yield here, replace(thing, **{field.name: another(thing, field.name)})


def concrete(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield from concrete(kind)
        if not inspect.isabstract(kind) and kind.__module__.startswith(learners.__name__):
            yield kind


def instance(kind: type) -> Any:
    """With its defaults, 1.0 where there is none."""
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    return kind(**{name: NEEDED.get(name, 1.0) for name in needed})


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_field_of_a_combination_changes_its_signature(attack: str) -> None:
    whole = combination(ATTACKS[attack])
    found = dict(variants(whole))
    assert {f.name for f in fields(Dataset)} == {p.split(".")[1] for p in found if p.startswith("dataset.")} | {
        "name",
        "made_by",
        "x",
        "y",
    }
    # Measures of the user's own change nothing else: which of them a run has is asked beside its signature.
    assert {f.name for f in fields(Combination)} == {path.split(".")[0] for path in found} | {"measures"}
    signatures = Counter([whole.signature(), *(other.signature() for other in found.values())])
    assert signatures.most_common(1)[0][1] == 1


@pytest.mark.parametrize(
    "part",
    [*concrete(Learner), Evasion, EvasionAdd, Iterative, Poisoning, LabelFlips, Prototypes],
    ids=lambda kind: kind.__name__,
)
def test_every_field_of_learners_and_attacks_changes_their_signature_but_the_name(part: type) -> None:
    whole = instance(part)
    found = list(variants(whole))
    assert {path.split(".")[0] for path, _ in found} == {
        f.name for f in fields(part) if f.init and f.compare and f"{part.__name__}.{f.name}" not in REFUSED
    }
    assert {f.name for f in fields(part) if f.init and not f.compare} <= {
        "name",
        "complexity",
        "weights",
        "file",
        "estimator",
    }
    signatures = Counter([signature(part=whole), *(signature(part=other) for _, other in found)])
    assert signatures.most_common(1)[0][1] == 1
    assert signature(part=replace(whole, name="shown")) == signature(part=whole)


def test_nesterov_counts() -> None:
    one, other = (Iterative(momentum=1.0, nesterov=nesterov) for nesterov in (False, True))
    assert signature(part=one) != signature(part=other)


@pytest.mark.parametrize("n_mixed", [0, 2])
def test_points_mixed_into_others_count_where_there_are_such(n_mixed: int, tmp_path: Path) -> None:
    """Of points made on a target, which no part of the surrogate's data takes part in otherwise."""
    whole = replace(combination(Evasion()), attack=Iterative(n_mixed=n_mixed))
    keys, rows = [], np.arange(20)
    for fraction in (1.0, 0.5):
        work = Work.of(replace(whole, surrogate_fraction=fraction), Store(tmp_path))
        target = fitted(work, whole.target, rows, seed=0, stream="target_training")
        keys.append(crafted_key(work, target, rows))
    assert (keys[0] == keys[1]) == (n_mixed == 0)


def test_learners_of_equal_options_are_told_apart() -> None:
    kinds = list(concrete(Learner))
    assert len(kinds) >= 6
    assert len({signature(part=instance(kind)) for kind in kinds}) == len(kinds)


class Memory(Store):
    """Keeps what one run makes."""

    def __init__(self) -> None:
        self.hits, self.misses = Counter(), Counter()
        self.made: dict[tuple[str, str], Arrays] = {}

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self.made

    def get(self, kind: str, key: str, make: Callable[[], Mapping[str, Any]]) -> Arrays:
        if (kind, key) not in self.made:
            self.made[kind, key] = {name: np.asarray(array) for name, array in make().items()}
        return self.made[kind, key]


class Watched(Memory):
    """Notes the files of the package whose code made each piece."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[tuple[str, str], set[str]] = {}

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self.made

    def get(self, kind: str, key: str, make: Callable[[], Mapping[str, Any]]) -> Arrays:
        def watched() -> Mapping[str, Any]:
            before, mine = sys.getprofile(), self.files.setdefault((kind, key), set())
            sys.setprofile(lambda frame, *_: mine.add(frame.f_code.co_filename))
            try:
                return make()
            finally:
                sys.setprofile(before)

        return super().get(kind, key, watched)


def made(whole: Combination) -> dict[tuple[str, str], str]:
    store = Memory()
    run(whole, store)
    contents = {
        entry: {name: array for name, array in arrays.items() if name != "seconds"}  # how long it took is no content
        for entry, arrays in store.made.items()
    }
    return {entry: signature(**arrays) for entry, arrays in contents.items()}


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_key_never_stands_for_two_contents(attack: str) -> None:
    """Every run makes everything anew: where two of them use one key, they must have made the same."""
    whole = combination(ATTACKS[attack])
    found = made(whole)
    other_points = replace(whole.dataset, x=1 - whole.dataset.x, checksum="reversed")
    finer = replace(whole.epsilon, grid=sorted([*whole.epsilon.grid, whole.epsilon.grid[1] / 2]))
    by_hand = [("x", replace(whole, dataset=other_points)), ("inner point of the grid", replace(whole, epsilon=finer))]
    for path, other in [*variants(whole), *by_hand]:
        for entry, content in made(other).items():
            assert found.setdefault(entry, content) == content, f"{entry[0]}: another {path} under the same key"


def test_another_seed_or_stream_is_another_fit(tmp_path: Path) -> None:
    store, whole, rows = Store(tmp_path), combination(Evasion()), np.arange(20)
    sources: list[tuple[int, seeds.Stream]] = [(0, "surrogate_training"), (1, "surrogate_training"), (0, "target_training")]
    learner = MLP(hidden=(3,), n_epochs=1)
    work = Work.of(whole, store)
    fits = [fitted(work, learner, rows, seed=seed, stream=stream) for seed, stream in sources]
    assert len({one.key for one in fits}) == len({checksum(one.model.state()["network.weight_0"]) for one in fits}) == 3


@pytest.mark.parametrize("attack", ATTACKS)
def test_keys_hold_the_version_of_all_code_that_took_part(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms_of: dict[str, set[str]] = {}

    def signed(**parts: Any) -> str:
        key = signature(**parts)
        inner = [rooms_of.get(str(part), set()) for part in parts.values()]  # the key of another piece holds its code
        rooms_of[key] = set(str(parts.get("code", "")).split()).union(*inner)
        return key

    for name, module in list(sys.modules.items()):
        if name.startswith(("transfer_exp.work", "transfer_exp.scenarios")):
            for function, other in (("code_version", lambda *rooms: " ".join(rooms)), ("signature", signed)):
                if hasattr(module, function):
                    monkeypatch.setattr(module, function, other)
    store = Watched()
    run(combination(ATTACKS[attack]), store)
    unknown = {}
    for (kind, key), files in store.files.items():
        used = {Path(file).relative_to(PACKAGE).as_posix() for file in files if Path(file).is_relative_to(PACKAGE)}
        unknown[kind] = sorted(file for file in used if not {file, file.split("/")[0]} & rooms_of[key])
    assert len(unknown) >= 4
    assert {
        kind: files
        for kind, files in unknown.items()
        if set(files) - {f"signature/{name}.py" for name in ("__init__", "modules", "outside")}
    } == {}
