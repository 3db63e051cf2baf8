"""Options of training: one step of each by hand, what they are for, and that each draws from the learner's seed alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import own_networks
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from torch import Tensor

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.learners import CNN, MLP, Learner, ResNet, TorchModule
from transfer_exp.learners.training_loss import Labels, Objective, point_losses
from transfer_exp.margin import margins
from transfer_exp.types import Box, Dataset, Floats, Ints, Sizes, UserError

N, D, SEED, RATE = 12, 5, 7, 0.5


def blobs(n_classes: int, n: int = N, d: int = D) -> tuple[Floats, Ints]:
    random = np.random.default_rng(1)
    y = np.arange(n) % n_classes
    return random.normal(size=(n, d)) + np.eye(n_classes, d)[y], y


def started(n_features: int, n_classes: int, scale: float = 0.3) -> torch.nn.Module:
    """Linear, with weights that are known beforehand."""
    network = own_networks.Plain(n_features, n_classes)
    with torch.no_grad():
        network.layer.weight.copy_(scale * torch.sin(torch.arange(n_classes * n_features)).reshape(n_classes, n_features))
        network.layer.bias.copy_(scale * torch.cos(torch.arange(n_classes)))
    return network


def start(n_classes: int) -> tuple[Floats, Floats]:
    layer: Any = started(D, n_classes).layer
    return layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()


def softmax_regression(**options: Any) -> TorchModule:
    """Full batches, plain gradient descent: steps that can be made by hand."""
    words = {"n_epochs": 1, "batch_size": N, "learning_rate": RATE, "optimiser": torch.optim.SGD, **options}
    return TorchModule(module=started, **words)


def weights_of(learner: Learner, x: Floats, y: Ints) -> tuple[Floats, Floats]:
    model: Any = learner.fit(x, y, n_classes=int(y.max()) + 1, seed=SEED)
    return model.network.layer.weight.numpy(), model.network.layer.bias.numpy()


def slope(x: Floats, targets: Floats, weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Gradient of the mean cross-entropy with the distributions ``targets`` ``(n, K)``."""
    residual = softmax(x @ weight.T + bias, axis=1) - targets
    return residual.T @ x / len(x), residual.mean(0)


def close(found: tuple[Floats, Floats], expected: tuple[Floats, Floats]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_label_smoothing_is_cross_entropy_with_a_share_of_all_classes(n_classes: int) -> None:
    x, y = blobs(n_classes)
    weight, bias = start(n_classes)
    targets = 0.7 * np.eye(n_classes)[y] + 0.3 / n_classes
    of_weight, of_bias = slope(x, targets, weight, bias)
    close(weights_of(softmax_regression(label_smoothing=0.3), x, y), (weight - RATE * of_weight, bias - RATE * of_bias))
    logits = x @ weight.T + bias
    labels = torch.tensor(2.0 * y - 1) if n_classes == 2 else torch.tensor(y)
    found = point_losses(torch.tensor(logits), labels, 0.3)
    np.testing.assert_allclose(found, -(targets * log_softmax(logits, axis=1)).sum(1))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_mixup_mixes_points_and_losses_by_one_share_a_batch(n_classes: int) -> None:
    x, y = blobs(n_classes)
    torch.manual_seed(SEED)
    started(D, n_classes)  # draws, as in the training
    order = torch.randperm(N).numpy()
    random = np.random.default_rng(SEED)
    share, other = random.beta(0.4, 0.4), random.permutation(N)
    first = order, order[other]
    mixed = share * x[first[0]] + (1 - share) * x[first[1]]
    targets = share * np.eye(n_classes)[y[first[0]]] + (1 - share) * np.eye(n_classes)[y[first[1]]]
    weight, bias = start(n_classes)
    of_weight, of_bias = slope(mixed, targets, weight, bias)
    close(weights_of(softmax_regression(mixup=0.4), x, y), (weight - RATE * of_weight, bias - RATE * of_bias))


def test_sam_steps_along_the_gradient_uphill_of_the_weights() -> None:
    x, y = blobs(3)
    weight, bias = start(3)
    of_weight, of_bias = slope(x, np.eye(3)[y], weight, bias)
    size = np.sqrt((of_weight**2).sum() + (of_bias**2).sum())
    uphill = slope(x, np.eye(3)[y], weight + 0.8 * of_weight / size, bias + 0.8 * of_bias / size)
    found = weights_of(softmax_regression(sam_radius=0.8), x, y)
    close(found, (weight - RATE * uphill[0], bias - RATE * uphill[1]))
    assert np.abs(found[0] - (weight - RATE * of_weight)).max() > 0.01


def test_the_gradient_penalty_of_a_linear_score_is_known() -> None:
    """l = log(1 + exp(-y f)): its input gradient is -y w / (1 + exp(y f))."""
    x, y = blobs(2)
    signs, weight = 2.0 * y - 1, torch.tensor([0.3, -0.5, 0.2, 0.7, -0.1], dtype=torch.float64, requires_grad=True)

    def by_hand(w: Floats) -> float:
        f = x @ w
        return float((np.logaddexp(0, -signs * f) + 1.5 * expit(-signs * f) ** 2 * (w @ w)).mean())

    objective = Objective(MLP(gradient_penalty=1.5), lambda points: points @ weight, [])
    value = objective(torch.tensor(x), Labels(torch.tensor(signs)))
    (gradient,) = torch.autograd.grad(value, weight)
    at = weight.detach().numpy()
    assert float(value.detach()) == pytest.approx(by_hand(at))
    moved = [(by_hand(at + h) - by_hand(at - h)) / 2e-6 for h in 1e-6 * np.eye(D)]
    np.testing.assert_allclose(gradient, moved, rtol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("bounds", [None, (-0.1, 0.1)])
def test_the_worst_point_of_a_linear_score_is_known(norm: Any, bounds: tuple[float, float] | None) -> None:
    """Along the weights to the end of the ball; in l2 the worst of all starts ends at 0.96 of the way."""
    x, y = blobs(2)
    x = x if bounds is None else np.clip(x, *bounds)
    weight, signs = torch.tensor([0.3, -0.5, 0.2, 0.7, -0.1]), torch.tensor(2.0 * y - 1)
    learner = MLP(adversarial_radius=0.2, adversarial_norm=norm, adversarial_steps=30)
    learner = learner if bounds is None else learner._with(bounds=((bounds[0],) * D, (bounds[1],) * D))
    objective = Objective(learner, lambda points: points @ weight.double(), [np.random.default_rng(0)])
    moved, labels = objective.prepared(torch.tensor(x), signs, torch.nn.Identity())
    direction = -signs.numpy()[:, None] * weight.double().numpy() / np.linalg.norm(weight.double().numpy())
    offset = moved.numpy() - x
    assert np.linalg.norm(offset, axis=1, ord=np.inf if norm == "linf" else 2).max() <= 0.2 + 1e-6
    if norm == "linf":
        worst = x + 0.2 * np.sign(direction)
        np.testing.assert_allclose(moved, worst if bounds is None else np.clip(worst, *bounds), atol=1e-6)
    elif bounds is None:
        assert (offset * direction).sum(1).min() >= 0.95 * 0.2
    else:
        assert np.abs(moved.numpy()).max() <= bounds[1] + 1e-6
        assert (offset * direction).sum(1).min() >= 0
        assert (offset * direction).sum(1).max() > 0.1
    assert torch.equal(labels.own, signs)


def rates(found: list[float]) -> tuple[Floats, Floats]:
    x, y = blobs(3)
    weight, bias = start(3)
    for rate in found:
        of_weight, of_bias = slope(x, np.eye(3)[y], weight, bias)
        weight, bias = weight - rate * of_weight, bias - rate * of_bias
    return weight, bias


def test_schedules_are_those_of_their_names() -> None:
    x, y = blobs(3)
    tenths = [RATE, RATE, RATE / 10, RATE / 100]
    close(weights_of(softmax_regression(n_epochs=4, schedule="step"), x, y), rates(tenths))
    halved = [RATE * (1 + np.cos(np.pi * k / 4)) / 2 for k in range(4)]
    close(weights_of(softmax_regression(n_epochs=4, schedule="cosine"), x, y), rates(halved))


def test_means_of_weights_are_those_of_the_training_by_hand() -> None:
    x, y = blobs(3)
    passed = [rates([RATE] * k) for k in range(1, 5)]
    running = passed[0]
    for one in passed[1:]:
        running = running[0] * 0.6 + one[0] * 0.4, running[1] * 0.6 + one[1] * 0.4
    close(weights_of(softmax_regression(n_epochs=4, ema_decay=0.6), x, y), running)
    last = [np.mean([one[part] for one in passed[1:]], axis=0) for part in (0, 1)]
    close(weights_of(softmax_regression(n_epochs=4, swa_epochs=3), x, y), (last[0], last[1]))
    close(weights_of(softmax_regression(n_epochs=4, swa_epochs=3, checkpoint=1), x, y), passed[0])  # no mean yet
    before = [np.mean([one[part] for one in passed[1:3]], axis=0) for part in (0, 1)]
    close(weights_of(softmax_regression(n_epochs=4, swa_epochs=3, checkpoint=3), x, y), (before[0], before[1]))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(name="digits", classes=list(range(10)), split=Sizes(test=100))


def fitted(learner: Learner, data: Dataset, n: int = 300) -> Any:
    """On the first ``n`` images."""
    return learner.on(data).fit(data.x[:n], data.y[:n], n_classes=10, seed=SEED)


SMALL = MLP(hidden=(32,), n_epochs=15, learning_rate=3e-3)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_adversarial_training_lowers_the_worst_loss_at_its_radius(norm: Any, dual: int) -> None:
    """Of a linear score f the worst is known: y f - radius |w|. One feature always holds, another is wrong for a quarter."""
    y = np.arange(80) % 2
    signs, right = 2 * y - 1, np.where(np.arange(80) < 60, 1, -1)
    x = np.stack([signs, 1.2 * signs * right], axis=1).astype(float)
    errors, losses = [], []
    for radius in (0.0, 0.8):
        words: dict[str, Any] = {"adversarial_radius": radius, "adversarial_norm": norm, "adversarial_steps": 3}
        learner = TorchModule(module=partial(started, scale=0.0), n_epochs=30, learning_rate=0.05, **words)
        model: Any = learner.fit(x, y, n_classes=2, seed=SEED)
        weight = np.subtract(*model.network.layer.weight.numpy()[::-1])
        worst = signs * np.diff(model.logits(x), axis=1)[:, 0] - 0.8 * np.linalg.norm(weight, ord=dual)
        errors.append(float((worst <= 0).mean()))
        losses.append(float(np.logaddexp(0, -worst).mean()))
    assert losses[1] < losses[0] - 0.05
    assert norm == "l2" or errors == [0.25, 0.0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_points_are_moved_as_far_where_the_network_is_sure_of_them(norm: Any) -> None:
    """The slope there is 2e-26, of which the square is 0 in single precision."""
    options = MLP(adversarial_radius=0.5, adversarial_norm=norm, adversarial_steps=20)
    moved = []
    for lead in (0, 60):
        objective = Objective(options, lambda x, lead=lead: lead + x @ torch.tensor([3.0, -4.0]), [np.random.default_rng(0)])
        points, _ = objective.prepared(torch.zeros(6, 2), torch.ones(6), torch.nn.Identity())
        moved.append(points.numpy())
    np.testing.assert_allclose(moved[0] @ [3.0, -4.0], {"linf": -3.5, "l2": -2.5}[norm], rtol=0.05)
    np.testing.assert_allclose(moved[1], moved[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.1), ("l2", 0.5)])
def test_adversarial_training_lowers_the_white_box_error_of_a_network(digits: Dataset, norm: Any, radius: float) -> None:
    found = []
    for options in ({}, {"adversarial_radius": radius, "adversarial_norm": norm}):
        model = fitted(replace(SMALL, **options), digits, n=1000)
        x, y = digits.x[1000:1200], digits.y[1000:1200]
        made = Evasion(norm=norm).craft(model, x, y, epsilons=(radius,), box=digits.box)
        found.append(float((margins(model.logits(made.points(0, x, digits.box)), y) <= 0).mean()))
    assert found[1] < found[0] - 0.1


def test_the_penalty_makes_input_gradients_small(digits: Dataset) -> None:
    x, y = torch.tensor(digits.x[:300]), torch.tensor(digits.y[:300])

    def size(model: Any) -> float:
        at = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(at), y, reduction="sum"), at)
        return float(found.square().sum(1).mean())

    assert size(fitted(replace(SMALL, gradient_penalty=1.0), digits)) < size(fitted(SMALL, digits)) / 2


def test_sam_lowers_sharpness(digits: Dataset) -> None:
    """The rise of the training loss at the end of a step of 0.3 uphill; a fifth of the labels is noise."""
    random = np.random.default_rng(0)
    y = np.where(random.random(300) < 0.2, random.integers(0, 10, 300), digits.y[:300])
    found = []
    for radius in (0.0, 0.3):
        learner = MLP(hidden=(16,), n_epochs=20, learning_rate=1e-2, sam_radius=radius)
        model: Any = learner.fit(digits.x[:300], y, n_classes=10, seed=SEED)
        weights = [one.requires_grad_() for one in model.network.parameters()]
        points, labels = torch.tensor(digits.x[:300]), torch.tensor(y)
        loss = torch.nn.functional.cross_entropy(model(points), labels)
        slopes = torch.autograd.grad(loss, weights)
        size = torch.stack([one.square().sum() for one in slopes]).sum().sqrt()
        with torch.no_grad():
            for one, step in zip(weights, slopes, strict=True):
                one.add_(0.3 * step / size)
            found.append(
                float(torch.nn.functional.cross_entropy(model(torch.tensor(digits.x[:300])), torch.tensor(y)) - loss)
            )
    assert 0 < found[1] < found[0] / 2


ALL: dict[str, Any] = {
    "schedule": "cosine",
    "label_smoothing": 0.1,
    "mixup": 0.3,
    "gradient_penalty": 0.01,
    "sam_radius": 0.05,
    "adversarial_radius": 0.05,
    "adversarial_steps": 2,
    "ema_decay": 0.9,
    "weight_decay": 1e-3,
}
NETWORKS: dict[str, Callable[..., Learner]] = {
    "mlp": partial(MLP, hidden=(9,), batch_norm=True, dropout=0.2),
    "cnn": partial(CNN, width=2, batch_norm=True, dropout=0.2),
    "resnet": partial(ResNet, width=2, dropout=0.2),
    "torch_module": partial(TorchModule, module=partial(own_networks.Convolutional, width=3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_all_options_work_together_draw_from_the_seed_alone_and_are_restored(digits: Dataset, name: str) -> None:
    learner = NETWORKS[name](n_epochs=2, **ALL)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    model = fitted(learner, digits, n=65)  # the last batch of one point
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    torch.manual_seed(99)
    logits = model.logits(digits.x)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(fitted(learner, digits, n=65).logits(digits.x), logits)
    np.testing.assert_array_equal(learner.on(digits).restore(model.state()).logits(digits.x), logits)
    np.testing.assert_allclose(model.logits(digits.x[:1]), logits[:1], rtol=1e-4, atol=1e-5)  # alone, as in a batch


@pytest.mark.parametrize("option", [*ALL, "swa_epochs", "dropout", "batch_norm", "width", "depth"])
def test_each_option_changes_the_training_and_none_by_default(digits: Dataset, option: str) -> None:
    values = {**ALL, "swa_epochs": 2, "dropout": 0.5, "batch_norm": True, "width": 7, "depth": 2}
    values["adversarial_steps"] = 1
    beside = {"adversarial_radius": 0.05} if option == "adversarial_steps" else {}
    for make in (partial(MLP, hidden=(9,)), partial(CNN, channels=(2, 3), hidden=5)):
        plain, changed = (fitted(make(n_epochs=2, **beside, **one), digits, 64) for one in ({}, {option: values[option]}))
        assert not np.array_equal(plain.logits(digits.x[:9]), changed.logits(digits.x[:9]))


def test_dropout_and_batch_norm_work_in_training_alone(digits: Dataset) -> None:
    learner = MLP(hidden=(50,), dropout=0.5, batch_norm=True, n_epochs=1, batch_size=50).on(digits)
    network: Any = learner._network(64, 10).train()
    points = torch.tensor(digits.x[:400], dtype=torch.float32)
    inside: list[Tensor] = []
    network.dropout.register_forward_hook(lambda _, given, found: inside.extend([given[0], found]))
    network(points)
    given, found = inside
    active = given > 0
    assert float((found[active] == 0).float().mean()) == pytest.approx(0.5, abs=0.02)  # of 10,000
    torch.testing.assert_close(found[found > 0], 2 * given[found > 0])
    model = fitted(learner, digits, n=100)
    hidden = torch.nn.functional.linear(points, network.weight_0, network.bias_0)
    mean = 0.1 * hidden.mean(0)  # momentum, from zero
    torch.testing.assert_close(network.norms[0].running_mean, mean)
    assert {"network.norms.0.running_mean", "network.norms.0.running_var"} <= set(model.state())


@pytest.mark.parametrize("option", ["ema_decay", "swa_epochs"])
def test_statistics_of_batch_norm_are_those_of_the_mean_weights(digits: Dataset, option: str) -> None:
    learner = MLP(hidden=(6,), batch_norm=True, n_epochs=3, batch_size=50, **{option: 0.5 if option == "ema_decay" else 2})
    state = fitted(learner, digits, n=200).state()
    hidden = digits.x[:200] @ state["network.weight_0"].T + state["network.bias_0"]
    np.testing.assert_allclose(state["network.norms.0.running_mean"], hidden.mean(0), rtol=1e-4, atol=1e-5)
    within = hidden.reshape(4, 50, 6).var(1, ddof=1).mean(0)
    np.testing.assert_allclose(state["network.norms.0.running_var"], within, rtol=1e-4)


def test_sam_and_attacked_batches_leave_the_statistics_of_a_batch_alone(digits: Dataset) -> None:
    words: dict[str, Any] = {"hidden": (6,), "batch_norm": True, "n_epochs": 1, "batch_size": 100}
    plain, sam = (fitted(MLP(**words, **one), digits, 100).state() for one in ({}, {"sam_radius": 0.1}))
    np.testing.assert_array_equal(sam["network.norms.0.running_mean"], plain["network.norms.0.running_mean"])
    moved = fitted(MLP(**words, adversarial_radius=0.05), digits, 100).state()
    assert moved["network.norms.0.num_batches_tracked"] == sam["network.norms.0.num_batches_tracked"] == 1


def test_width_and_depth_are_those_asked_for() -> None:
    assert MLP(hidden=(8, 5)).layers == [8, 5]
    assert MLP(hidden=(8, 5), width=7).layers == [7, 7]
    assert MLP(hidden=(8, 5), depth=4).layers == [8, 5, 5, 5]
    assert MLP(hidden=(8, 5), depth=1).layers == [8]
    convolutions = {
        name: [one.out_channels for one in made.modules() if isinstance(one, torch.nn.Conv2d)]
        for name, made in {
            "cnn": CNN(width=3, depth=2)._with(shape=(1, 8, 8))._network(64, 10),
            "resnet": ResNet(width=3, depth=14)._with(shape=(1, 8, 8))._network(64, 10),
        }.items()
    }
    assert sorted(convolutions["cnn"]) == [3, 3, 6, 6]
    assert convolutions["resnet"] == [3] * 5 + [6] * 4 + [12] * 4  # and the last layer: 14


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (1, 28, 28)])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_residual_network_takes_images_of_any_size(shape: tuple[int, ...], batch_norm: bool) -> None:
    network: Any = ResNet(depth=8, width=4, batch_norm=batch_norm)._with(shape=shape)._network(0, 3).eval()
    x = torch.rand(2, *shape)
    assert network(x).shape == (2, 3)
    if not batch_norm:  # it starts as its first convolution, every fourth pixel of it
        first = torch.relu(network.first(x))[:, :, ::4, ::4].mean((2, 3))
        torch.testing.assert_close(network(x), network.last(torch.nn.functional.pad(first, (0, 12))))


def test_a_residual_network_learns(digits: Dataset) -> None:
    for batch_norm in (True, False):
        model = fitted(ResNet(width=4, batch_norm=batch_norm, n_epochs=6, learning_rate=1e-2), digits)
        assert (model.logits(digits.x[:300]).argmax(1) == digits.y[:300]).mean() > 0.5  # of ten classes


@pytest.mark.parametrize(
    ("make", "words", "told"),
    [
        (MLP, {"label_smoothing": 1.0}, "label_smoothing: expected a number from 0 to below 1, got 1.0"),
        (MLP, {"mixup": -0.1}, "mixup: expected a number >= 0, got -0.1"),
        (MLP, {"sam_radius": float("nan")}, "sam_radius: expected a number >= 0, got nan"),
        (MLP, {"checkpoint": 31}, "checkpoint: expected 0 (off) to n_epochs=30, got 31"),
        (MLP, {"schedule": "linear"}, "schedule: expected cosine, step, null or a function of the optimiser, got linear"),
        (MLP, {"adversarial_norm": "l1"}, "adversarial_norm: expected l2 or linf, got l1"),
        (MLP, {"ema_decay": 0.9, "swa_epochs": 2}, "swa_epochs: expected 0 beside ema_decay"),
        (MLP, {"adversarial_radius": 0.1, "scale": "standard"}, "adversarial_radius: expected 0 beside scale=standard"),
        (MLP, {"adversarial_steps": 0}, "adversarial_steps: expected a number above 0, got 0"),
        (MLP, {"dropout": 1.0}, "dropout: expected a number from 0 to below 1, got 1.0"),
        (CNN, {"depth": -1}, "depth: expected a whole number >= 0, got -1"),
        (ResNet, {"depth": 9}, "depth: expected 8, 14, 20 or another 6 n + 2, got 9"),
        (ResNet, {"width": 0}, "width: expected at least 1 channel, got 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make: Any, words: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        make(**words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batch_norm_of_single_points_is_refused_and_points_are_no_images(digits: Dataset) -> None:
    with pytest.raises(UserError, match="batch_size: expected 2 or more for a network with batch norm, got 1"):
        fitted(MLP(batch_norm=True, batch_size=1), digits)
    flat = replace(digits, shape=None, box=Box.uniform(64))
    with pytest.raises(UserError, match="expected images, got points of shape"):
        ResNet().on(flat)
