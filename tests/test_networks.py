"""Networks of the user's: trained here or given, stored as arrays, never in training mode; broken ones are named."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import own_networks
import pytest
import torch
from scipy.special import softmax
from sklearn.dummy import DummyClassifier

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import CNN, Learner, Logistic, Pretrained, Sklearn, TorchModule
from transfer_exp.learners.ensemble import Ensemble
from transfer_exp.measures.base import Measure
from transfer_exp.scenarios import Combination, remarks, run
from transfer_exp.signature import file_checksum, signature
from transfer_exp.store import Store
from transfer_exp.tracking.recording import parameters, record, tags_of
from transfer_exp.types import Box, Dataset, Floats, Grid, Ints, Sizes, UserError
from transfer_exp.work import Work
from transfer_exp.work.fitted import fitted

CLASSES = (2, 3)


def images(n_classes: int = 3, n: int = 120) -> Dataset:
    """Images of 4 x 4 pixels, a brighter row for each class."""
    random = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    x = random.random((n, 4, 4)) * 0.5
    x[np.arange(n), y] += 0.5
    return Dataset(
        name="rows",
        x=x.reshape(n, 16),
        y=y,
        box=Box.uniform(16),
        sizes=Sizes(target=30, surrogate=30, test=20),
        test_pool=np.zeros(n, dtype=bool),
        checksum=f"rows {n_classes} {n}",
        shape=(4, 4),
    )


def fit(learner: Learner, data: Dataset, seed: int = 3) -> Any:
    return learner.on(data).fit(data.x, data.y, n_classes=data.n_classes, seed=seed)


LEARNERS: dict[str, Learner] = {
    "cnn": CNN(channels=(2, 3), hidden=5, n_epochs=2),
    "torch_module": TorchModule(module=partial(own_networks.Convolutional, width=3), n_epochs=2),
}


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("name", LEARNERS)
def test_a_network_is_restored_from_plain_arrays_to_the_last_bit(name: str, n_classes: int) -> None:
    data = images(n_classes)
    before = torch.random.get_rng_state()
    model = fit(LEARNERS[name], data)
    state = model.state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    again = LEARNERS[name].on(data).restore(state)
    assert again.logits(data.x).tobytes() == model.logits(data.x).tobytes()
    assert fit(LEARNERS[name], data).logits(data.x).tobytes() == model.logits(data.x).tobytes()
    assert not np.allclose(fit(LEARNERS[name], data, seed=4).logits(data.x), model.logits(data.x))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (again.precision, again.like.dtype, again.n_classes) == ("single", torch.float32, n_classes)


def test_a_network_learns_and_is_never_in_training_mode() -> None:
    data = images()
    model = fit(TorchModule(module=own_networks.Convolutional, n_epochs=60, learning_rate=0.02), data)
    assert (model.logits(data.x).argmax(1) == data.y).mean() > 0.9
    mean = dict(model.named_buffers())["network.norm.running_mean"].clone()
    model.train()
    assert not any(one.training for one in model.modules())
    assert np.array_equal(model.logits(data.x), model.logits(data.x))
    assert torch.equal(dict(model.named_buffers())["network.norm.running_mean"], mean)


def test_points_are_shown_in_their_shape_and_logits_differentiate_to_flat_points() -> None:
    data = images()
    model = fit(LEARNERS["cnn"], data)
    x = torch.tensor(data.x[:5], dtype=torch.float32, requires_grad=True)
    by_hand = model.network(x.reshape(5, 1, 4, 4))
    np.testing.assert_array_equal(model(x).detach(), by_hand.detach())
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    (expected,) = torch.autograd.grad(by_hand[:, 1].sum(), x)
    assert gradient.shape == (5, 16)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


def steps(x: Floats, y: Ints, rates: list[float], decay: float) -> tuple[Floats, Floats]:
    """Gradient descent on the mean cross-entropy of softmax regression from zero; decay of the weights alone."""
    weight, bias = np.zeros((3, 16)), np.zeros(3)
    for rate in rates:
        residual = softmax(x @ weight.T + bias, axis=1) - np.eye(3)[y]
        weight, bias = (
            weight - rate * (residual.T @ x / len(x) + decay * weight),
            bias - rate * residual.mean(0),
        )
    return weight, bias


def zeros(n_features: int, n_classes: int) -> torch.nn.Module:
    network = own_networks.Plain(n_features, n_classes)
    for one in network.parameters():
        torch.nn.init.zeros_(one)
    return network


def test_optimiser_schedule_and_weight_decay_are_those_asked_for() -> None:
    """Full batches: descent by hand, the learning rate halved after each epoch."""
    data = images()
    learner = TorchModule(
        module=zeros,
        n_epochs=3,
        batch_size=len(data.y),
        learning_rate=0.4,
        weight_decay=0.3,
        optimiser=torch.optim.SGD,
        schedule=partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
    )
    state = fit(learner, data).state()
    weight, bias = steps(data.x, data.y, [0.4, 0.2, 0.1], 0.3)
    np.testing.assert_allclose(state["network.layer.weight"], weight, atol=2e-6)
    np.testing.assert_allclose(state["network.layer.bias"], bias, atol=2e-6)


def test_of_two_classes_a_score_alone_will_do() -> None:
    data = images(2)
    model = fit(TorchModule(module=own_networks.OneOutput, n_epochs=20, learning_rate=0.05), data)
    logits = model.logits(data.x)
    assert logits.shape == (len(data.y), 2)
    np.testing.assert_array_equal(logits[:, 0], -logits[:, 1])
    assert (logits.argmax(1) == data.y).mean() > 0.9


def combination(data: Dataset, **parts: Any) -> Combination:
    learners = {"surrogate": Logistic(C=1.0), "target": Logistic(C=1.0), **parts}
    return Combination(
        dataset=data,
        attack=Evasion(norm="linf", n_walk=0, n_iter=3),
        epsilon=Grid(grid=(0, 0.1), reference=0.1, shown=(0.1,)),
        n_variability=2,
        **learners,
    )


BROKEN = {
    "NotFinite": "expected finite logits, got others for",
    "TooMany": r"expected logits of shape \(\d+, 3\), one for each of 3 classes, got \(\d+, 4\)",
    "Labels": "expected a tensor of real numbers, got torch.int64",
    "Random": "expected the same logits for the same points",
    "OfTheBatch": "expected logits that do not depend on the other points of a batch",
    "Elsewhere": "expected logits of points .*, got RuntimeError: .*device",
    "Enormous": "expected a torch.nn.Module, got RuntimeError: .*memory",
    "WithoutGradients": "expected logits with finite gradients in the points, got none",
    "Raises": "got KeyError: 'no such layer'",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_module_is_named_in_one_line_before_any_number(name: str, tmp_path: Path) -> None:
    data = images()
    weights = tmp_path / "weights.pt"
    torch.save(own_networks.Plain(16, 4 if name == "TooMany" else 3).state_dict(), weights)
    given = Pretrained(name="mine", module=getattr(own_networks, name), weights=str(weights))
    with pytest.raises(UserError, match=f"mine.*{BROKEN[name]}") as caught:
        run(combination(data, target=given), Store(tmp_path / "store"))
    assert "\n" not in str(caught.value)


def test_a_module_that_edits_its_input_changes_no_point(tmp_path: Path) -> None:
    data = images()
    clean = data.x.copy()
    learner = TorchModule(name="mine", module=own_networks.InPlace, n_epochs=1)
    with pytest.raises(UserError, match="mine: expected a module that leaves its input alone"):
        run(combination(data, target=learner), Store(tmp_path))
    np.testing.assert_array_equal(data.x, clean)
    torch.save(own_networks.Plain(16, 3).state_dict(), tmp_path / "weights.pt")
    given = Pretrained(module=own_networks.InPlace, weights=str(tmp_path / "weights.pt"))
    run(combination(data, target=given), Store(tmp_path))  # behind its preprocessing it has points of its own
    np.testing.assert_array_equal(data.x, clean)


def test_a_module_that_keeps_what_its_state_does_not_hold_is_refused() -> None:
    learner = TorchModule(name="mine", module=own_networks.Forgets, n_epochs=1)
    with pytest.raises(UserError, match=r"mine: expected a module whose parameters and buffers are all .*register_buffer"):
        fit(learner, images())


def test_a_training_that_diverges_is_refused() -> None:
    learner = TorchModule(name="mine", module=own_networks.NotFinite, n_epochs=1)
    with pytest.raises(UserError, match=r"mine: expected a finite training loss, got nan after 1 epoch; .*learning_rate"):
        fit(learner, images())


def test_a_cnn_wants_images() -> None:
    flat = Dataset(**{**vars(images()), "shape": None})
    with pytest.raises(UserError, match=r"CNN: expected images of 4 x 4 .*, got points of shape \(16,\) in rows"):
        combination(flat, target=CNN())


# Given weights


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    made = own_networks.Convolutional((1, 4, 4), 3)
    made.norm.running_mean.uniform_()
    return made.eval()


def saved(network: torch.nn.Module, folder: Path, kind: str) -> dict[str, Any]:
    """Options of a pretrained learner with this module's weights, saved in one of the ways that people have."""
    state = network.state_dict()
    if kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, folder / "w.safetensors")
        return {"weights": str(folder / "w.safetensors")}
    nested = {"epoch": 3, "nets": {"best": {f"module.{name}": value for name, value in state.items()}}}
    torch.save(nested, folder / "w.th")
    return {"weights": str(folder / "w.th"), "entry": "nets.best", "prefix": "module."}


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_given_weights_behind_their_preprocessing_give_the_modules_own_logits(
    kind: str, network: torch.nn.Module, tmp_path: Path
) -> None:
    data = images()
    options = saved(network, tmp_path, kind)
    learner = Pretrained(module=own_networks.Convolutional, mean=[0.3], std=[0.2], **options)
    found = fit(learner, data).logits(data.x)
    with torch.no_grad():
        shown = (torch.tensor(data.x, dtype=torch.float32).reshape(-1, 1, 4, 4) - 0.3) / 0.2
        np.testing.assert_allclose(found, network(shown), rtol=1e-5, atol=1e-6)


def test_a_checkpoint_with_code_in_it_is_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    for file, write in (("a.pt", torch.save), ("b.pt", lambda what, to: to.write_bytes(pickle.dumps(what)))):
        write({"state_dict": Bomb()}, tmp_path / file)
        learner = Pretrained(name="mine", module=own_networks.Convolutional, weights=str(tmp_path / file))
        with pytest.raises(UserError, match=r"mine.weights: expected plain tensors in .*; save model.state_dict\(\)"):
            fit(learner, images())
    assert not (tmp_path / "exploded").exists()


def test_weights_that_do_not_fit_are_refused_by_what_is_wrong(network: torch.nn.Module, tmp_path: Path) -> None:
    options = saved(network, tmp_path, "checkpoint")
    cases = {
        "entry: expected an entry of .*, got other; it has epoch, nets": {"entry": "other"},
        "entry: expected the entry that holds the weights, .* has epoch, nets": {"entry": None},
        "weights: expected those of Convolutional, got others: .*Missing key.*; set entry and prefix": {"prefix": ""},
    }
    for message, other in cases.items():
        learner = Pretrained(name="mine", module=own_networks.Convolutional, **{**options, **other})
        with pytest.raises(UserError, match=f"mine.{message}"):
            fit(learner, images())
    with pytest.raises(UserError, match=r"mine.weights: expected a file of weights, got none at nowhere.pt"):
        Pretrained(name="mine", module=own_networks.Convolutional, weights="nowhere.pt")
    with pytest.raises(UserError, match=r"mine.mean: expected one number, or one for each of 1 channels, got 3"):
        combination(images(), target=Pretrained(name="mine", module=own_networks.Plain, mean=[0, 0, 0], **options))


def test_weights_that_change_on_the_way_are_refused(network: torch.nn.Module, tmp_path: Path) -> None:
    options = saved(network, tmp_path, "safetensors")
    learner = Pretrained(name="mine", module=own_networks.Convolutional, **options)
    fit(learner, images())
    network.last.bias.data += 1
    saved(network, tmp_path, "safetensors")
    with pytest.raises(UserError, match=r"mine.weights: expected .* to stay as it was"):
        fit(learner, images())


def test_equal_modules_of_an_ensemble_are_trained_with_seeds_of_their_own() -> None:
    members = {k: TorchModule(module=partial(own_networks.Convolutional, width=3), n_epochs=1) for k in "abc"}
    seeds = [seed for _, seed in Ensemble(members=members).on(images()).seeded(7)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 3
    other = TorchModule(module=partial(own_networks.Convolutional, width=4), n_epochs=1)
    assert [seed for _, seed in Ensemble(members={"a": members["a"], "b": other}).on(images()).seeded(7)] == [7, 7]


def test_what_cannot_be_known_of_given_weights_is_said_and_not_zero(
    network: torch.nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remarks.log_once.cache_clear()
    learner = Pretrained(name="mine", module=own_networks.Convolutional, **saved(network, tmp_path, "safetensors"))
    whole = combination(images(), surrogate=learner, target=learner)
    outcome = run(whole, Store(tmp_path / "store"))
    assert not [name for name in outcome.metrics if "variability" in name]
    assert "gradient_alignment" in outcome.metrics
    assert "whitebox_error" in outcome.curves
    said = tags_of(whole)["not_known"]
    assert "V of mine is unknown" in said
    assert "target mine is given: whether its training data are disjoint" in said
    assert "V of mine is unknown" in caplog.text
    assert not combination(images()).unknown


def test_given_weights_count_by_content_and_are_the_same_every_time(network: torch.nn.Module, tmp_path: Path) -> None:
    data, options = images(), saved(network, tmp_path, "safetensors")
    elsewhere = shutil.copy(options["weights"], tmp_path / "moved.safetensors")
    first, moved = (
        Pretrained(module=own_networks.Convolutional, weights=str(file)) for file in (options["weights"], elsewhere)
    )
    assert signature(learner=first) == signature(learner=moved)
    recorded = [parameters({}, {}, combination(data, target=learner)) for learner in (first, moved)]
    assert recorded[0] == recorded[1]
    assert recorded[0]["target.checksum"] == file_checksum(elsewhere)
    work = Work.of(combination(data, target=first), Store(tmp_path / "store"))
    keys = {fitted(work, first.on(data), np.arange(9), seed=k, stream="target_training").key for k in (0, 1)}
    assert len(keys) == 1
    network.last.bias.data += 1
    other = saved(network, tmp_path, "safetensors")
    assert signature(learner=Pretrained(module=own_networks.Convolutional, **other)) != signature(learner=first)


def test_images_in_colour_are_shown_and_drawn_as_they_are(tmp_path: Path) -> None:
    random, y = np.random.default_rng(1), np.arange(90) % 3
    parts = {"x": random.random((90, 48)), "y": y, "box": Box.uniform(48), "shape": (3, 4, 4), "checksum": "colours"}
    data = Dataset(**{**vars(images(n=90)), **parts})
    whole = combination(data, target=CNN(n_epochs=1))
    store = Store(tmp_path)
    outcome = run(whole, store)
    assert outcome.examples is not None
    rows = Work.of(whole, None).split.test[outcome.examples.index]
    np.testing.assert_array_equal(outcome.examples.clean, data.x[rows].reshape(-1, 3, 4, 4).astype(np.float32))
    assert outcome.examples.adversarial.shape == (1, 3, 3, 4, 4)
    assert record(whole, outcome, store, {"study": "s"}).files["examples.png"].startswith(b"\x89PNG")


def edits_gradients(context: Any) -> Floats:
    gradients = context.surrogate_gradients
    gradients /= 2
    return gradients[:, 0]


def edits_logits(context: Any) -> Floats:
    logits = context.target_logits
    logits -= 1
    return logits[-1, :, 0]


@pytest.mark.parametrize("compute", [edits_gradients, edits_logits])
def test_a_measure_that_edits_what_others_measure_is_refused(compute: Callable[..., Any], tmp_path: Path) -> None:
    measure = Measure(name="mine", heading="edits", of="pair", compute=compute)
    with pytest.raises(UserError, match=r"measures.mine: expected values, got ValueError: .*read-only"):
        run(combination(images(), measures=[measure]), Store(tmp_path))


def test_answers_of_a_poisoned_target_are_looked_at(tmp_path: Path) -> None:
    data = Dataset(**{**vars(images(2)), "sizes": Sizes(target=20, surrogate=20, validation=20, test=20)})
    whole = Combination(
        dataset=data,
        surrogate=Logistic(C=1.0),
        target=Sklearn(name="mine", estimator=DummyClassifier(strategy="stratified")),
        attack=Poisoning(n_iter=1),
        epsilon=Grid(grid=(0, 0.1), reference=0.1, shown=(0.1,)),
        n_variability=2,
    )
    with pytest.raises(UserError, match="DummyClassifier: expected logits that do not depend on the other points"):
        run(whole, Store(tmp_path))
