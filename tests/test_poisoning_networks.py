"""Networks as surrogates of poisoning: gradients against retraining and closed forms, what the attack promises."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from transfer_exp.attacks.poisoning import Poisoning, validation_gradients
from transfer_exp.attacks.retraining_check import cosine_with_retraining
from transfer_exp.learners import CNN, MLP, Logistic, TorchModule
from transfer_exp.learners.exactness import Exactness
from transfer_exp.learners.retraining_network import NetworkRetraining
from transfer_exp.optim.conjugate_gradients import conjugate_gradients
from transfer_exp.seeds import seeded
from transfer_exp.types import Box, UserError

EXACT = Exactness(
    damping=0.05,
    decay=0.01,
    tolerance=1e-9,
    n_first_steps=60,
    n_steps=60,
    n_step_products=80,
    n_adjoint_products=200,
    residual=1e-11,
    exact=True,
    double=True,
)


def sample(n, n_classes, *, seed, d=4):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    return rng.normal(size=(n, d)) + y[:, None] * np.eye(d)[0], y


def smooth(n_classes, d=4, hidden=5):
    n_outputs = 1 if n_classes == 2 else n_classes
    return torch.nn.Sequential(torch.nn.Linear(d, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, n_outputs))


def network(module, n_classes, how=EXACT, n=20):
    data = (*sample(n, n_classes, seed=1), *sample(30, n_classes, seed=2))
    return NetworkRetraining(module, MLP(), *data, n_classes, None, how)


def by_retraining(one, points, labels, h):
    """Central differences of J in each coordinate, retrained from the same weights."""
    centre, slopes = one.weights, np.zeros_like(points)
    for at in np.ndindex(points.shape):
        ends = []
        for sign in (1, -1):
            moved = points.copy()
            moved[at] += sign * h
            one.weights = centre
            ends.append(one.retrain(moved, labels))
        slopes[at] = (ends[0] - ends[1]) / (2 * h)
    one.weights = centre
    return slopes


def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_gradient_is_that_of_retraining_at_shifted_points(n_classes):
    with seeded(3):
        one = network(smooth(n_classes), n_classes)
    points, labels = np.random.default_rng(5).normal(size=(2, 4)), np.array([1, 0])
    one.retrain(points, labels)
    assert one.gradient_norm <= EXACT.tolerance
    gradient, residual = one.gradient()
    assert residual <= 1e-10
    assert cosine(gradient, by_retraining(one, points, labels, 1e-4)) > 0.999


def test_gauss_newton_without_a_hidden_layer_is_the_gradient_of_logistic_regression():
    """C of logistic regression is 1 / (N decay); its bias is not damped, so that of the network is not, but for 1e-9."""
    (x, y), (x_val, y_val), decay = sample(40, 2, seed=1), sample(30, 2, seed=2), 0.05
    point, label = np.array([[0.5, -1.0, 0.2, 0.3]]), np.array([1])
    how = Exactness(
        damping=1e-9,
        decay=decay,
        tolerance=1e-10,
        n_first_steps=40,
        n_step_products=30,
        n_adjoint_products=60,
        residual=1e-12,
        double=True,
    )
    one = NetworkRetraining(torch.nn.Linear(4, 1), MLP(), x, y, x_val, y_val, 2, None, how)
    loss = one.retrain(point, label)
    logistic = Logistic(C=1 / (41 * decay))
    expected = validation_gradients(logistic, x, y, x_val, y_val, points=point, labels=label)
    assert loss == pytest.approx(logistic.retraining(x, y, x_val, y_val, room=0).retrain(point[0], 1).loss, rel=1e-6)
    np.testing.assert_allclose(one.gradient()[0], expected, rtol=1e-4)


def test_a_retraining_is_a_function_of_the_points():
    with seeded(3):
        one = network(smooth(2), 2)
    points, labels = np.random.default_rng(5).normal(size=(2, 4)), np.array([1, 0])
    first = one.retrain(points, labels)
    there = one.retrain(points + 0.1, labels)
    assert abs(there - first) > 1e-4
    assert one.retrain(points, labels) == pytest.approx(first, abs=1e-7)


@pytest.mark.slow
def test_the_health_number_is_the_cosine_with_retraining_and_leaves_the_network_as_it_was(monkeypatch):
    with seeded(3):
        one = network(smooth(2), 2)
    points, labels, size = np.random.default_rng(5).normal(size=(2, 4)), np.array([1, 0]), np.full(4, 0.01)
    one.retrain(points, labels)
    weights, counts, (gradient, _) = one.weights, replace(one.counts, gradients=1), one.gradient()

    def health(returned):
        monkeypatch.setattr(one, "gradient", lambda: (returned, 0.0))
        return cosine_with_retraining(one, points, labels, size=size, seed=0)

    assert health(gradient) > 0.999
    assert health(-gradient) < -0.999
    assert np.isnan(health(np.zeros((2, 4))))
    assert one.weights is weights
    assert one.counts == counts
    assert one.how is EXACT


@pytest.mark.slow
def test_relu_and_single_precision_point_nearly_where_retraining_does():
    """On average: units that switch on or off between the two retrainings are what the gradient does not see."""
    point, label, found = np.array([[2.5, 0.5, -0.5, 0.3]]), np.array([0]), []
    for seed in range(3):
        with seeded(seed):
            module = torch.nn.Sequential(torch.nn.Linear(4, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
        how = Exactness(
            damping=0.05,
            tolerance=1e-4,
            n_first_steps=40,
            n_steps=8,
            n_step_products=20,
            n_adjoint_products=60,
            residual=1e-4,
        )
        one = network(module, 2, how, n=40)
        one.retrain(point, label)
        found.append(cosine(one.gradient()[0], by_retraining(one, point, label, 0.1)))
    assert np.mean(found) > 0.95


def test_at_weights_just_trained_the_gradient_is_the_slope_of_one_damped_newton_step():
    """Those of an early stop: F has a gradient there, and nobody retrains. G by hand: J_f^T diag(p (1 - p)) J_f / N."""
    (x, y), (x_val, y_val), damping = sample(20, 2, seed=1), sample(30, 2, seed=2), 0.05
    points, labels = np.random.default_rng(5).normal(size=(2, 4)), np.array([1, 0])
    how = Exactness(damping=damping, n_adjoint_products=400, residual=1e-12, double=True)
    learner = TorchModule(module=lambda n_classes: smooth(n_classes), n_epochs=5)._with(shape=(4,))
    one = learner.network_retraining(x, y, x_val, y_val, seed=3, how=how, moving=(points, labels))
    everything = torch.as_tensor(np.vstack([x, points]))
    sign = torch.as_tensor(2.0 * np.concatenate([y, labels]) - 1)

    def slope(rows):
        w = one.start.clone().requires_grad_()
        return torch.autograd.grad(torch.nn.functional.softplus(-sign * one.outputs(w, rows)).mean(), w)[0]

    def harm(moved):
        rows = torch.as_tensor(np.vstack([x, moved]))
        step = -torch.linalg.solve(curvature, slope(rows))
        return float(step @ upwards)

    jacobian = torch.autograd.functional.jacobian(lambda w: one.outputs(w, everything), one.start)
    p = torch.sigmoid(one.outputs(one.start, everything))
    curvature = jacobian.T @ ((p * (1 - p))[:, None] * jacobian) / len(p) + damping * torch.eye(len(one.start))
    w = one.start.clone().requires_grad_()
    sign_val = torch.as_tensor(2.0 * y_val - 1)
    loss = torch.nn.functional.softplus(-sign_val * one.outputs(w, torch.as_tensor(x_val))).mean()
    (upwards,) = torch.autograd.grad(loss, w)
    expected = np.zeros_like(points)
    for at in np.ndindex(points.shape):
        shift = np.zeros_like(points)
        shift[at] = 1e-4
        expected[at] = (harm(points + shift) - harm(points - shift)) / 2e-4
    assert float(slope(everything).norm()) > 0.01  # no stationary point
    np.testing.assert_allclose(one.gradient()[0], expected, rtol=1e-4, atol=1e-7)


def test_a_network_is_trained_with_the_points_that_move_and_takes_them():
    (x, y), (x_val, y_val) = sample(24, 2, seed=1), sample(30, 2, seed=2)
    learner, points, labels = MLP(hidden=(6,), n_epochs=5), x[:3] + 1, 1 - y[:3]
    one = learner.network_retraining(x, y, x_val, y_val, seed=3, how=Exactness(), moving=(points, labels))
    trained = learner.fit(np.vstack([x, points]), np.concatenate([y, labels]), n_classes=2, seed=3)
    found = one.outputs(one.weights, torch.as_tensor(x_val, dtype=torch.float32)).numpy()
    logits = trained.logits(x_val)
    np.testing.assert_allclose(found, logits[:, 1] - logits[:, 0], rtol=1e-4, atol=1e-5)
    assert one.gradient()[0].shape == points.shape


@pytest.mark.slow
def test_points_harm_trainings_from_other_draws_more_than_their_starts():
    (x, y), (x_val, y_val), (x_test, y_test) = (sample(n, 2, seed=n) for n in (40, 200, 400))
    learner, box = MLP(hidden=(20,), n_epochs=60, learning_rate=0.01), Box.uniform(4, -4.0, 4.0)
    made = Poisoning(n_networks=2, n_rounds=6, step=0.05).craft(learner, x, y, x_val, y_val, n_points=6, box=box, seed=7)

    def loss(points):
        data = np.vstack([x, points]), np.concatenate([y, made.labels])
        logits = [model.logits(x_test) for model in learner.fit_many([(*data, seed) for seed in range(20, 28)], n_classes=2)]
        margins = np.stack(logits)[..., 1] - np.stack(logits)[..., 0]
        return np.logaddexp(0, -(2 * y_test - 1) * margins).mean(1)

    assert loss(made.points).mean() > 1.2 * loss(made.start_points).mean()


def test_conjugate_gradients_solve_and_see_a_direction_that_is_not_positive():
    rng = np.random.default_rng(0)
    root = torch.as_tensor(rng.normal(size=(6, 6)))
    matrix, right = root @ root.T + torch.eye(6), torch.as_tensor(rng.normal(size=6))
    solved = conjugate_gradients(lambda v: matrix @ v, right, most=50, residual=1e-12)
    torch.testing.assert_close(solved.x, torch.linalg.solve(matrix, right))
    again = conjugate_gradients(lambda v: matrix @ v, right, most=0, residual=1e-6, start=solved.x)
    assert again.residual < 1e-10
    assert not conjugate_gradients(lambda v: -v, right, most=5, residual=1e-6).positive
    assert conjugate_gradients(lambda v: v, torch.zeros(3), most=5, residual=0.1).residual == 0


def small_attack(**options):
    return Poisoning(**{"n_networks": 2, "n_rounds": 3, **options})


def poison(learner, attack, n_classes=2, n_points=4, d=4):
    (x, y), (x_val, y_val) = sample(24, n_classes, seed=1, d=d), sample(30, n_classes, seed=2, d=d)
    box = Box.uniform(d, -8.0, 8.0)
    return attack.craft(learner, x, y, x_val, y_val, n_points=n_points, box=box, seed=7, starts=(x, y)), (x, y, box)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_objective_never_falls_and_groups_before_stay(n_classes):
    learner = MLP(hidden=(6,), learning_rate=0.01)
    made, (x, y, box) = poison(learner, small_attack(n_together=2, step=0.1), n_classes)
    assert (made.objective >= made.objective_start).all()
    assert (made.objective > made.objective_start).any()
    np.testing.assert_array_equal(made.stayed, made.objective == made.objective_start)  # a group that gains nothing
    assert ((made.points >= box.lower) & (made.points <= box.upper)).all()
    assert (made.labels != y[made.start_rows]).all()
    np.testing.assert_array_equal(made.start_points, x[made.start_rows])
    fewer, _ = poison(learner, small_attack(n_together=2, step=0.1), n_classes, n_points=2)
    np.testing.assert_array_equal(made.points[:2], fewer.points)
    assert made.retrainings.tolist() == [8, 0, 8, 0]
    assert {"own_network_error", "fresh_network_error", "implicit_damping", "gradient_cosine"} <= made.health().keys()


def test_points_that_hardly_move_gain_nothing_by_chance():
    """Start and end are judged by trainings from the same draws; over four attacks some would gain much by others."""
    learner = MLP(hidden=(6,), learning_rate=0.01)
    for seed in range(4):
        (x, y), (x_val, y_val) = sample(24, 2, seed=1), sample(30, 2, seed=2)
        attack = small_attack(n_rounds=2, step=1e-9)
        made = attack.craft(learner, x, y, x_val, y_val, n_points=4, box=Box.uniform(4, -8.0, 8.0), seed=seed)
        np.testing.assert_allclose(made.objective, made.objective_start, rtol=1e-4)


def test_own_networks_are_those_of_the_first_draws_trained_with_the_placed_points(monkeypatch):
    drawn = []
    train = MLP.network_retraining

    def noted(self, *args, seed, moving, **options):
        made = train(self, *args, seed=seed, moving=moving, **options)
        drawn.append((seed, moving[0].copy(), made.validation_error()))
        return made

    monkeypatch.setattr(MLP, "network_retraining", noted)
    made, _ = poison(MLP(hidden=(6,), learning_rate=0.01), small_attack(step=0.1))
    seeds = [seed for seed, *_ in drawn]
    assert seeds[6:8] == seeds[:2]
    assert len(set(seeds)) == len(seeds) - 2  # all others are new
    assert made.own.tolist() == [
        error for seed, points, error in drawn if seed in seeds[:2] and (points == made.points).all()
    ]
    assert made.fresh.tolist() == [error for seed, *_, error in drawn if seed in seeds[8:]]


def test_a_retraining_has_the_penalty_that_the_network_was_trained_with():
    """After a long training of one batch the penalised loss is flat; without its penalty it would fall along the weights."""
    learner = MLP(hidden=(6,), weight_decay=0.1, n_epochs=1500, batch_size=20, learning_rate=0.01)
    data = (*sample(20, 2, seed=1), *sample(30, 2, seed=2))
    made = learner.network_retraining(*data, seed=0, how=replace(EXACT, decay=0.0))
    made.take(data[0][:0], data[1][:0])
    flat = float(made._value_and_slope(made.weights)[1].norm())
    penalty = float((made._decay * made.weights).norm())
    assert penalty > 0.05
    assert flat < 0.2 * penalty


def test_a_short_retraining_of_one_point_costs_its_gradient_little_and_is_counted():
    """Beside the same gradient after a retraining to the end in double precision."""
    learner = TorchModule(module=lambda: smooth(2, hidden=16), n_epochs=60, learning_rate=0.01)
    data = (*sample(60, 2, seed=1), *sample(60, 2, seed=2))
    training = learner.retraining(*data, room=0)
    how = replace(EXACT, damping=training.network.how.damping, decay=0.0, exact=False)
    short = 0
    for row in range(6):
        point, label = data[0][row : row + 1] + 0.5, 1 - data[1][row : row + 1]
        found, _ = training.gradient(training.retrain(point[0], int(label[0])))
        short += training.network.gradient_norm > training.network.how.tolerance
        exact = NetworkRetraining(deepcopy(training.network.network), learner, *data, 2, None, how)
        exact.retrain(point, label)
        assert cosine(found, exact.gradient()[0][0]) > 0.9
    assert training.counts.fallbacks == short


def test_a_network_refuses_what_a_classical_learner_refuses():
    (x, y), (x_val, y_val) = sample(24, 3, seed=1), sample(30, 3, seed=2)
    kept = y != 1
    for learner, data, told in (
        (MLP(scale="standard"), (x, y), "surrogate.scale: expected none for poisoning"),
        (MLP(), (x[kept], y[kept]), "poisoning: expected training points of every class"),
    ):
        with pytest.raises(UserError, match=told):
            Poisoning().craft(learner, *data, x_val, y_val, n_points=2, box=Box.uniform(4, -8.0, 8.0), seed=0)


@pytest.mark.parametrize(("n_classes", "label"), [(2, "random"), (3, "random"), (3, "second"), (3, "most_harmful")])
def test_points_start_where_those_of_classical_learners_do(n_classes, label):
    options = {"label": label, "n_labels": 1} if label == "most_harmful" else {"label": label}
    network, (x, y, _) = poison(MLP(hidden=(6,)), small_attack(n_rounds=1, **options), n_classes, n_points=5)
    logistic, _ = poison(Logistic(C=1.0), Poisoning(n_iter=1, **options), n_classes, n_points=5)
    np.testing.assert_array_equal(network.start_rows, logistic.start_rows)
    np.testing.assert_array_equal(network.start_points, x[logistic.start_rows])
    if label != "second":  # which class is second depends on the learner
        np.testing.assert_array_equal(network.labels, logistic.labels)
    assert (network.labels != y[network.start_rows]).all()


@pytest.mark.slow
def test_of_several_starts_a_network_takes_the_one_that_harms_it_most():
    learner, (x, y), (x_val, y_val) = MLP(hidden=(6,)), sample(24, 3, seed=1), sample(30, 3, seed=2)
    made, _ = poison(learner, small_attack(n_rounds=1, n_starts=24, label="most_harmful", n_labels=2), 3, n_points=1)
    alone = learner.retraining(x, y, x_val, y_val, room=0)
    every = {(k, c): alone.retrain(x[k], c).loss for k in range(24) for c in range(3) if c != y[k]}
    assert (made.start_rows[0], made.labels[0]) == max(every, key=every.get)
    assert made.retrainings[0] == len(every) + 4


@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_moving_point_is_retrained_from_the_fixed_ones_whatever_was_asked_before(n_classes):
    (x, y), (x_val, y_val) = sample(24, n_classes, seed=1), sample(30, n_classes, seed=2)
    learner = MLP(hidden=(6,), n_epochs=5)
    one = learner.retraining(x, y, x_val, y_val, room=2)
    first = one.retrain(x[0], 1)
    there = one.retrain(x[0] + 3, 1)
    assert there.loss != first.loss
    assert one.retrain(x[0], 1).loss == first.loss
    assert one.counts.retrainings == 3
    one.gradient(there)
    gradient, _ = one.gradient(first)
    np.testing.assert_array_equal(gradient, learner.retraining(x, y, x_val, y_val, room=0).gradient(first)[0])
    one.place(first)
    assert one.retrain(x[1], 0).loss != learner.retraining(x, y, x_val, y_val, room=0).retrain(x[1], 0).loss


def test_the_margin_gradient_is_the_slope_of_the_points_log_probability():
    (x, y), (x_val, y_val) = sample(24, 3, seed=1), sample(30, 3, seed=2)
    one = MLP(hidden=(6,), n_epochs=5).retraining(x, y, x_val, y_val, room=0)
    fitted, h = one.retrain(x[0], 1), 1e-2
    one.retrain(x[1], 2)  # so that it has to go back
    found = one.margin_gradient(fitted)
    ends = torch.as_tensor(np.vstack([x[0] + h * np.eye(4), x[0] - h * np.eye(4)]), dtype=torch.float32)
    log_probability = one.network.outputs(fitted.weights, ends).double().log_softmax(-1)[:, 1].numpy()
    np.testing.assert_allclose(found, (log_probability[:4] - log_probability[4:]) / (2 * h), rtol=0.02, atol=1e-3)


@pytest.mark.slow
def test_convolutions_and_modules_of_the_users_are_poisoned():
    (x, y), (x_val, y_val) = sample(24, 2, seed=1, d=16), sample(30, 2, seed=2, d=16)
    user = TorchModule(module=lambda n_classes: smooth(n_classes, 16), learning_rate=0.01)
    for learner in (CNN(channels=(2, 2), hidden=4, learning_rate=0.01)._with(shape=(1, 4, 4)), user._with(shape=(16,))):
        made = small_attack(step=0.05).craft(
            learner, x, y, x_val, y_val, n_points=2, box=Box.uniform(16, -8.0, 8.0), seed=7, starts=(x, y)
        )
        assert (made.objective >= made.objective_start).all()
        assert not made.stayed.all()


def test_a_network_is_poisoned_within_bounds_only():
    (x, y), endless = sample(24, 2, seed=1), Box.uniform(4, -np.inf, np.inf)
    with pytest.raises(UserError, match="finite bounds"):
        small_attack().craft(MLP(), x, y, x, y, n_points=2, box=endless, seed=0)


@pytest.mark.parametrize("bad", [{"n_networks": 0}, {"n_rounds": 0}, {"n_together": -1}, {"step": 0.0}])
def test_budgets_of_networks_are_checked(bad):
    with pytest.raises(UserError, match="n_networks and n_rounds"):
        Poisoning(**bad)
