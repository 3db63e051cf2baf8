"""Iterative attacks for transfer: every part against what it does to a gradient that is known by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import Linear, SmallModel
from small_world import combination
from test_network_attack import Passes, best_step, single
from torch import Tensor

from transfer_exp.attacks.iterative import Iterative
from transfer_exp.attacks.iterative_draws import Draws
from transfer_exp.attacks.iterative_inputs import Copies, Images, Known, gaussian_kernel, resizing, smoothed
from transfer_exp.learners import Ridge
from transfer_exp.learners.ensemble import EnsembleModel
from transfer_exp.scenarios import run
from transfer_exp.store import Store
from transfer_exp.types import Box, UserError

WIDE = 100.0
MORE = ("goals", "shape", "known")


class Score(SmallModel):
    """Two classes with a score f(x) of the test's: logits (-f/2, f/2). Points of class 0 go up f."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__(2, zero=np.zeros(1))
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        score = self.f(x)
        return torch.stack([-score / 2, score / 2], 1)


def craft(model: Any, x: Any, y: Any = None, *, epsilons: Sequence[float] = (1.0,), **options: Any) -> Any:
    """Offsets ``(n, d)`` at the last epsilon, in a wide box."""
    x = np.asarray(x, dtype=float)
    y = np.zeros(len(x), dtype=np.int64) if y is None else np.asarray(y)
    more = {name: options.pop(name) for name in MORE if name in options}
    box = Box(lower=np.full(x.shape[1], -WIDE), upper=np.full(x.shape[1], WIDE))
    return Iterative(**options).craft(model, x, y, epsilons=epsilons, box=box, **more).offsets[-1]


def one_step(model: Any, x: Any, **options: Any) -> np.ndarray:
    """The direction of the first step, its largest entry 1: the gradient, as all parts make it."""
    own = {name: value for name, value in options.items() if name not in ("y", "epsilons", *MORE)}
    n = Iterative(n_gradients=10**6, **own).gradients_per_step
    return np.asarray(craft(model, x, **options, step="normalised", norm="linf", n_gradients=n))


# The loop


@pytest.mark.parametrize("objective", ["cross_entropy", "margin", "logit"])
@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_a_linear_score_is_evaded_to_the_closed_form_with_the_box(norm: str, objective: Any) -> None:
    random = np.random.default_rng(0)
    weight, x, y = random.normal(size=30), random.random((20, 30)), np.arange(20) % 2
    x[random.random(x.shape) < 0.4] = 0.0
    box, attack = Box.uniform(30), Iterative(norm=norm, objective=objective, n_gradients=7)
    for epsilon in (0.05, 0.3, 2.0):
        made = attack.craft(Linear.score(weight, 0.3), x, y, epsilons=(epsilon,), box=box)
        best = np.stack([best_step((1 - 2 * y[i]) * weight, x[i], norm, epsilon) for i in range(len(x))])
        np.testing.assert_allclose(made.points(0, x, box), best, atol=1e-6)


def test_in_l2_too_where_the_box_is_wide() -> None:
    weight = np.array([3.0, -4.0])
    made = craft(Linear.score(weight, 0.0), np.zeros((2, 2)), [0, 1], norm="l2", epsilons=(0.5, 2.0))
    np.testing.assert_allclose(made, [[1.2, -1.6], [-1.2, 1.6]], rtol=1e-6)


def bent(x: Tensor) -> Tensor:
    """Its gradient is (1 - 6 x_1 ..., ...), whose signs change on the way."""
    return x[:, 0] - 3 * x[:, 0] ** 2 + torch.sin(4 * x[:, 1]) + x[:, 0] * x[:, 1]


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_the_first_step_of_momentum_is_the_plain_step(norm: str) -> None:
    x = np.random.default_rng(1).normal(size=(9, 2))
    plain, momentum, nesterov = (
        craft(Score(bent), x, norm=norm, n_gradients=1, momentum=m, nesterov=n)
        for m, n in ((0.0, False), (1.0, False), (1.0, True))
    )
    np.testing.assert_allclose(momentum, plain, rtol=1e-6)
    np.testing.assert_allclose(nesterov, plain, rtol=1e-6)


def test_momentum_and_nesterov_follow_their_papers_by_hand() -> None:
    """f = 3 x_1 - x_0^2 / 2 in linf, epsilon 4, two steps of 2. At the start the gradient is (0.5, 3), of mean size 1.75."""

    def f(x: Tensor) -> Tensor:
        return -(x[:, 0] ** 2) / 2 + 3 * x[:, 1]

    start, common = np.array([[-0.5, 0.0]]), {"objective": "margin", "epsilons": (4.0,), "n_gradients": 2}
    # plain: at (-0.5, 0): (0.5, 3), step (2, 2); at (1.5, 2): (-1.5, 3), step (-2, 2)
    np.testing.assert_allclose(craft(Score(f), start, **common), [[0, 4]])
    # momentum 1: 0.5 / 1.75 - 1.5 / 2.25 < 0, the same; momentum 3: 1.5 / 1.75 - 1.5 / 2.25 > 0
    np.testing.assert_allclose(craft(Score(f), start, momentum=1.0, **common), [[0, 4]])
    np.testing.assert_allclose(craft(Score(f), start, momentum=3.0, **common), [[4, 4]])
    # nesterov looks at 1.5 + m 2 (0.5 / 1.75) = 1.5 + m 4 / 7. m = 2.6: at 2.986, where the gradient is (-2.986, 3):
    # 1.3 / 1.75 = 0.743 against 2.986 / 2.993 = 0.998. Without the look ahead 0.743 against 0.667.
    np.testing.assert_allclose(craft(Score(f), start, momentum=2.6, **common), [[4, 4]])
    np.testing.assert_allclose(craft(Score(f), start, momentum=2.6, nesterov=True, **common), [[0, 4]])


def test_every_epsilon_is_attacked_by_itself() -> None:
    x = np.random.default_rng(2).normal(size=(5, 2))
    options: dict[str, Any] = {"momentum": 1.0, "n_neighbours": 3, "n_gradients": 40, "random_start": True}
    grid, alone = (craft(Score(bent), x, epsilons=e, **options) for e in ((0.0, 0.2, 0.7), (0.7,)))
    assert (grid == alone).all()


def test_all_steps_together_are_as_long_as_stated_and_end_at_the_balls_surface() -> None:
    seen: list[float] = []

    def f(x: Tensor) -> Tensor:
        seen.append(x.detach()[0, 0].item())
        return x.sum(1)

    craft(Score(f), np.zeros((1, 2)), length=1.5, n_gradients=3, epsilons=(0.4,))
    np.testing.assert_allclose(seen, [0, 0, 0.2, 0.4, 0.4])  # clean; before each of three steps of 0.2; the end


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("step", ["steepest", "sign", "normalised"])
def test_a_step_has_the_size_that_it_is_given(norm: str, step: Any) -> None:
    weight = np.array([1.0, -2.0, 0.5, 0.0])
    made = craft(Linear.score(weight, 0.0), np.zeros((1, 4)), norm=norm, step=step, epsilons=(0.3,), n_gradients=3)[0]
    direction = {"sign": np.sign(weight), "normalised": weight}.get(step)
    if direction is None:
        direction = {"l1": np.array([0, -1, 0, 0]), "l2": weight, "linf": np.sign(weight)}[norm]
    size = np.linalg.norm(direction, ord={"l1": 1, "l2": 2, "linf": np.inf}[norm])
    np.testing.assert_allclose(made, 0.3 * direction / size, rtol=1e-6)


def test_a_random_start_lies_in_the_ball_and_is_the_seeds_and_the_points_own() -> None:
    flat = Score(lambda x: 0 * x.sum(1))
    box, x, y = Box.uniform(1000), np.full((3, 1000), 0.5), np.zeros(3, dtype=np.int64)
    x[2, 0] = 0.4
    for norm, order in (("l1", 1), ("l2", 2), ("linf", np.inf)):
        first, other = (
            Iterative(norm=norm, random_start=True, seed=s).craft(flat, x, y, epsilons=(0.1,), box=box) for s in (0, 1)
        )
        start = first.offsets[0][0]
        assert 0.099 < np.linalg.norm(start, ord=order) <= 0.1 + 1e-6
        assert (first.offsets[0][1] == start).all()  # the same point
        assert abs(np.corrcoef(first.offsets[0][2], start)[0, 1]) < 5 / np.sqrt(1000)
        assert (other.offsets[0][0] != start).all()
        assert first.zero_gradient.all()
    assert abs(start.mean()) < 5 * 0.1 / np.sqrt(3 * 1000)  # uniform: of variance epsilon^2 / 3
    assert start.var() == pytest.approx(0.01 / 3, rel=0.15)


# What is raised


THREE = np.array([[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, -1.0], [0.0, 0.0, 1.0, 0.5]])


def test_objectives_have_the_gradients_of_their_definitions() -> None:
    model, x = Linear(THREE, np.array([0.0, 0.5, 1.0])), np.array([[0.2, -0.1, 0.3, 0.1]])
    z = (x @ THREE.T + [0.0, 0.5, 1.0])[0]
    p = np.exp(z) / np.exp(z).sum()
    towards = {  # class 0 is left; the largest other logit is that of class 2
        "cross_entropy": p @ THREE - THREE[0],
        "margin": THREE[2] - THREE[0],
        "logit": -THREE[0],
    }
    reaching = {  # class 1 is reached
        "cross_entropy": THREE[1] - p @ THREE,
        "margin": THREE[1] - THREE[2],
        "logit": THREE[1],
    }
    for objective in ("cross_entropy", "margin", "logit"):
        for expected, goals in ((towards, None), (reaching, np.array([1]))):
            found = one_step(model, x, objective=objective, goals=goals)[0]
            direction = expected[objective]
            np.testing.assert_allclose(found, direction / np.abs(direction).max(), rtol=1e-6)


@pytest.mark.parametrize("lead", [5.0, 20.0, 60.0])
def test_the_direction_is_right_where_a_network_in_single_precision_is_sure(lead: float) -> None:
    """1 - p is lost in p there: of p - 1 nothing is left, and the gradient would lack what lowers the own logit."""
    model = Linear(THREE, np.array([lead, 0.0, 1.0])).float()
    odds = np.exp([0.0, 1.0]) / np.exp([0.0, 1.0]).sum()
    for goals, direction in ((None, odds @ THREE[1:] - THREE[0]), (np.array([1]), THREE[1] - THREE[0])):
        found = one_step(model, np.zeros((1, 4)), goals=goals)[0]
        np.testing.assert_allclose(found, direction / np.abs(direction).max(), atol=0.02)


@pytest.mark.parametrize("momentum", [0.0, 1.0])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_steps_are_as_long_where_it_is_sure_as_elsewhere(norm: str, momentum: float) -> None:
    """Squares of gradients of 1e-26 are 0 in single precision."""
    sizes = [
        np.linalg.norm(
            craft(Linear(THREE, np.array([lead, 0.0, 1.0])).float(), np.zeros((1, 4)), norm=norm, momentum=momentum)[0],
            ord={"l1": 1, "l2": 2, "linf": np.inf}[norm],
        )
        for lead in (5.0, 60.0, 90.0)
    ]
    np.testing.assert_allclose(sizes, 1, rtol=0.01)


def test_several_surrogates_by_their_mean_logit_or_by_their_mean_loss() -> None:
    sure, unsure = np.array([3.0, 1.0]), np.array([-0.2, 0.4])
    members: list[Any] = [Linear.score(sure, -4.0), Linear.score(unsure, 0.0)]
    for one in members:
        one.loss_name, one.gives = "cross_entropy", "logits"
    both = EnsembleModel(members, "mean_logit")
    x = np.array([[0.5, 0.5]])
    p = [1 / (1 + np.exp(-(w @ x[0] + b))) for w, b in ((sure, -4.0), (unsure, 0.0))]
    expected = {"logits": sure + unsure, "losses": p[0] * sure + p[1] * unsure}
    for average, direction in expected.items():
        found = one_step(both, x, average=average)[0]
        np.testing.assert_allclose(found, direction / np.abs(direction).max(), rtol=1e-6)


# What is shown to the model instead of the point


def square(x: Tensor) -> Tensor:
    """Gradient (1, x_1)."""
    return x[:, 0] + x[:, 1] ** 2 / 2


def test_scaled_copies_count_alike() -> None:
    """Of the copy x / 2^i the gradient is (2^-i, 4^-i x_1)."""
    found = one_step(Score(square), [[0.0, 0.5]], objective="logit", n_scales=3)[0]
    np.testing.assert_allclose(found, [1.0, 0.5 * (1 + 1 / 4 + 1 / 16) / (1 + 1 / 2 + 1 / 4)], rtol=1e-6)


def test_points_of_another_class_are_mixed_in() -> None:
    """Class 0 has known points with x_1 = 1 only, class 1 with x_1 = 3 only."""
    known = np.array([[9.0, 1.0], [8.0, 1.0], [7.0, 3.0]]), np.array([0, 0, 1])
    x, common = [[0.0, 0.1], [0.0, 0.1]], {"objective": "logit", "known": known}
    found = one_step(Score(square), x, y=[0, 1], n_mixed=2, mix_share=0.2, **common)
    np.testing.assert_allclose(found, [[1.0, 0.1 + 0.2 * 3], [-1.0, -(0.1 + 0.2 * 1)]], rtol=1e-6)
    with pytest.raises(UserError, match="expected known points to mix in, got none"):
        one_step(Score(square), x, n_mixed=2)
    with pytest.raises(UserError, match="expected known points of two or more classes to mix in"):
        one_step(Score(square), x, n_mixed=2, known=(known[0][:2], known[1][:2]))


def test_what_is_mixed_in_is_drawn_from_all_known_points_of_other_classes() -> None:
    known = Known(torch.arange(7.0)[:, None], torch.tensor([1, 0, 2, 1, 0, 2, 2]))
    draws = Draws(0, np.arange(3.0)[:, None])
    drawn = np.stack([known.drawn(torch.tensor([0, 1, 2]), draws)[:, 0].numpy() for _ in range(400)])
    for column, expected in zip(drawn.T, ({0, 2, 3, 5, 6}, {1, 2, 4, 5, 6}, {0, 1, 3, 4}), strict=True):
        values, counts = np.unique(column, return_counts=True)
        assert set(values) == expected
        assert np.abs(counts - 400 / len(expected)).max() < 5 * np.sqrt(400 / len(expected))
    assert (drawn[:, 0] != drawn[:, 1]).mean() > 0.5  # each point draws for itself


def copies(**options: Any) -> Copies:
    return Copies(**{"n_scales": 1, "n_mixed": 0, "mix_share": 0.2, "diversity": 1.0, "resize_rate": 0.7, **options})


def test_diversity_shows_smaller_images_at_any_place_with_its_probability() -> None:
    ones, images = torch.ones(500, 3 * 100), Images.of((3, 10, 10))
    draws = Draws(0, np.arange(500.0)[:, None])
    (shown,) = copies().of(ones, torch.zeros(500), None, images, draws)
    boxes = set()
    for image in images(shown):
        assert (image == image[:1]).all()
        rows, columns = (torch.where(image[0].amax(k) > 0)[0].tolist() for k in (1, 0))
        np.testing.assert_allclose(image[0][rows][:, columns], 1, rtol=1e-6)  # ones within, zeros around
        boxes.add((len(rows), rows[0], columns[0]))
    assert boxes == {(h, top, left) for h in (7, 8, 9) for top in range(11 - h) for left in range(11 - h)}
    changed = [(next(copies(diversity=0.3).of(ones, ones, None, images, draws)) != ones).any(1) for _ in range(2)]
    for each in changed:
        assert abs(each.double().mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 500)
    assert (changed[0] != changed[1]).any()


@pytest.mark.parametrize("full", [5, 28, 32])
def test_images_are_resized_as_torch_does_it(full: int) -> None:
    image = torch.rand((full, full), generator=torch.Generator().manual_seed(0))
    for size in range(1, full + 1):
        start = (full - size) // 2
        found = resizing(np.array([size]), np.array([start]), full)[0]
        small = torch.nn.functional.interpolate(image[None, None], size=(size, size), mode="bilinear")[0, 0]
        expected = torch.zeros(full, full)
        expected[start : start + size, start : start + size] = small
        np.testing.assert_allclose(found @ image @ found.T, expected, atol=1e-5)


def test_gradients_go_through_diversity_to_the_pixels() -> None:
    """The sum of all pixels of a copy: bilinear weights of an 8 x 8 image in one of 7 x 7, by finite differences."""
    images = Images.of((8, 8))

    def shown(x: Tensor) -> Tensor:
        (copy,) = copies(resize_rate=0.9).of(x, torch.zeros(1), None, images, Draws(3, np.zeros((1, 1))))
        return copy.sum()

    x = torch.rand((1, 64), generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(shown(x), x)
    steps = torch.eye(64, dtype=torch.float64) * 1e-3
    differences = torch.stack([(shown(x + one) - shown(x - one)) / 2e-3 for one in steps])
    np.testing.assert_allclose(gradient[0].numpy(), differences.detach().numpy(), atol=1e-9)
    assert gradient.std() > 0.01


@pytest.fixture
def picture() -> tuple[SmallModel, np.ndarray]:
    random = np.random.default_rng(5)
    weight = torch.from_numpy(random.normal(size=(2, 64)))
    model = Score(lambda x: torch.tanh(x @ weight[0].to(x)) + torch.sin(x @ weight[1].to(x)))
    return model, random.random((6, 64))


ALL: dict[str, Any] = {
    "momentum": 1.0,
    "nesterov": True,
    "diversity": 0.7,
    "kernel_size": 3,
    "n_scales": 2,
    "n_mixed": 2,
    "n_neighbours": 2,
    "random_start": True,
    "n_gradients": 40,
    "shape": (8, 8),
}


def test_draws_are_the_attacks_own(picture: Any) -> None:
    """Whatever the global generators are; other ones with another seed; the globals stay as they are."""
    model, x = picture
    known = x[::-1].copy(), np.arange(6) % 2
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
        made.append(craft(model, x, known=known, **ALL))
        assert (torch.get_rng_state() == states[0]).all()
        assert (np.random.get_state()[1] == states[1]).all()  # type: ignore[index]  # noqa: NPY002
    assert (made[0] == made[1]).all()
    for part in ({"diversity": 0.7}, {"n_mixed": 2}, {"n_neighbours": 2}, {"random_start": True}):
        common = {"known": known, "shape": (8, 8), "n_gradients": 6, "step": "normalised"}
        one, other = (craft(model, x, seed=s, **common, **part) for s in (0, 1))
        assert (one != other).any(), part


def test_what_becomes_of_a_point_does_not_depend_on_the_others(picture: Any) -> None:
    model, x = picture
    y, known = np.arange(6) % 2, (x[::-1].copy(), np.arange(6) % 2)
    whole = craft(model, x, y, known=known, **ALL)
    np.testing.assert_allclose(craft(model, x, y, known=known, batch_size=4, **ALL), whole, atol=1e-9)
    np.testing.assert_allclose(craft(model, x[::-1].copy(), y[::-1].copy(), known=known, **ALL)[::-1], whole, atol=1e-9)
    for i in range(6):
        np.testing.assert_allclose(craft(model, x[i : i + 1], y[i : i + 1], known=known, **ALL)[0], whole[i], atol=1e-9)


# Smoothing


def test_the_kernel_is_a_normal_density_of_sum_1() -> None:
    kernel = gaussian_kernel(15, 3.0)
    assert kernel.sum().item() == pytest.approx(1)
    deviation = 7 / 3  # pixels from centre to edge, over three
    for i, j in ((0, 0), (7, 3), (10, 14)):
        apart = (i - 7) ** 2 + (j - 7) ** 2
        assert (kernel[i, j] / kernel[7, 7]).item() == pytest.approx(np.exp(-apart / (2 * deviation**2)))


def test_smoothing_is_a_sum_over_shifted_images() -> None:
    random = np.random.default_rng(0)
    gradient, kernel = random.normal(size=(2, 2, 4, 5)), gaussian_kernel(3, 2.0).numpy()
    padded = np.pad(gradient, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = sum(kernel[i, j] * padded[:, :, i : i + 4, j : j + 5] for i in range(3) for j in range(3))
    found = smoothed(torch.from_numpy(gradient).reshape(2, 40), torch.from_numpy(kernel), Images.of((2, 4, 5)))
    np.testing.assert_allclose(found.numpy(), expected.reshape(2, 40))


def test_a_slope_in_one_pixel_moves_those_around_it() -> None:
    weight = np.zeros(49)
    weight[24] = 2.0
    found = one_step(Linear.score(weight, 0.0), np.zeros((1, 49)), kernel_size=5, shape=(7, 7))[0].reshape(7, 7)
    kernel = gaussian_kernel(5, 3.0).numpy()
    np.testing.assert_allclose(found[1:6, 1:6], kernel / kernel.max(), rtol=1e-6)
    assert (found[0] == 0).all()


# Neighbours


def kink(x: Tensor) -> Tensor:
    """Gradient (1, sign x_1); its mean over x_1 + r u, u uniform in [-1, 1], is (1, x_1 / r) where |x_1| < r."""
    return x[:, 0] + x[:, 1].abs()


def test_gradients_are_averaged_over_random_neighbours() -> None:
    n = 400
    around: dict[str, Any] = {"neighbours": "mean", "n_neighbours": n, "neighbour_radius": 2.0}
    found = one_step(Score(kink), [[0.0, 0.5]], epsilons=(0.4,), objective="logit", **around)[0]
    np.testing.assert_allclose(found / 0.4, [1.0, 0.5 / 0.8], atol=5 * 0.78 / np.sqrt(n))


def test_variance_tuning_adds_what_the_neighbourhood_of_the_last_point_said() -> None:
    """The second step goes along g(u_1) + mean of g around u_0 - g(u_0), where both g are (1, 1)."""
    n = 400
    attack: dict[str, Any] = {"objective": "logit", "n_neighbours": n, "neighbour_radius": 1.5, "step": "normalised"}
    made = craft(Score(kink), [[0.0, 0.5]], epsilons=(1.0,), n_gradients=2 * (n + 1), **attack)[0]
    np.testing.assert_allclose(made, [0.5 + 0.5, 0.5 + 0.5 * (0.5 / 1.5)], atol=5 * 0.47 / np.sqrt(n))


def test_where_gradients_are_the_same_everywhere_there_is_no_variance() -> None:
    weight, x = np.array([0.3, -2.0, 1.0]), np.zeros((1, 3))
    common: dict[str, Any] = {"norm": "l2", "objective": "logit", "momentum": 1.0}
    tuned = craft(Linear.score(weight, 0.0), x, n_neighbours=4, n_gradients=50, **common)
    np.testing.assert_allclose(tuned, craft(Linear.score(weight, 0.0), x, n_gradients=10, **common), rtol=1e-6)


@pytest.mark.parametrize(("norm", "order"), [("l1", 1), ("l2", 2)])
def test_neighbours_lie_on_the_sphere_of_their_radius(norm: str, order: int) -> None:
    seen: list[Tensor] = []

    def f(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.sum(1)

    craft(Score(f), np.zeros((1, 6)), norm=norm, n_neighbours=3, n_gradients=4, epsilons=(0.2,))
    sizes = [np.linalg.norm(one[0].numpy(), ord=order) for one in seen]  # clean, point, three neighbours, end
    np.testing.assert_allclose(sizes, [0, 0, 0.3, 0.3, 0.3, 0.2], rtol=1e-6, atol=1e-12)


# Budget


@pytest.mark.parametrize(
    ("options", "per_step"),
    [
        ({}, 1),
        ({"momentum": 1.0, "nesterov": True}, 1),
        ({"n_scales": 5}, 5),
        ({"n_scales": 5, "n_mixed": 3}, 15),
        ({"n_neighbours": 5}, 6),
        ({"n_neighbours": 5, "neighbours": "mean"}, 5),
        ({"n_neighbours": 2, "n_scales": 3}, 9),
    ],
)
def test_no_more_gradients_than_the_budget_and_all_are_told(options: Any, per_step: int) -> None:
    x, y = np.random.default_rng(0).random((7, 4)), np.zeros(7, dtype=np.int64)
    model = single(Linear.score(np.arange(4.0), 0.0))
    passes, known = Passes(model), (x, np.arange(7) % 2)
    attack = Iterative(n_gradients=31, batch_size=4, **options)
    box = Box.uniform(4)
    made = attack.craft(model, x, y, epsilons=(0.0, 0.1, 0.2), box=box, known=known)
    gradients = 31 // per_step * per_step
    assert (attack.n_steps, attack.gradients_per_step) == (31 // per_step, per_step)
    assert passes.rows == 7 * (1 + 2 * (gradients + 1))  # the margin of the clean points, and of the last ones
    assert max(passes.sizes) == 4
    gradient_calls, score_calls, gradient_rows, score_rows = made.effort.sum(0)
    assert (gradient_rows, score_rows) == (7 * 2 * gradients, 7 * 3)
    assert gradient_calls + score_calls == len(passes.sizes)
    health = made.health(x, epsilons=(0.0, 0.1, 0.2), norm="linf", box=box)
    assert (health["n_steps"], health["gradients_per_step"]) == (31 // per_step, per_step)
    with pytest.raises(UserError, match=rf"^attack\.n_gradients: expected (a number >=|at least) {per_step},"):
        Iterative(n_gradients=per_step - 1, **options)


def test_a_run_tells_how_the_budget_was_spent(tmp_path: Path) -> None:
    """Admix too: what is mixed in are the surrogate's training points."""
    attack = Iterative(norm="l2", n_gradients=20, n_scales=2, n_mixed=3)
    found = run(combination(Ridge(alpha=3.0), n_classes=3, attack=attack), Store(tmp_path)).metrics
    assert (found["health/n_steps"], found["health/gradients_per_step"]) == (3, 6)
    assert (found["effort/gradient_calls"], found["effort/gradient_rows"]) == (2 * 18, 2 * 18 * 30)
    assert (found["health/violation"], found["health/zero_gradient"]) == (pytest.approx(0, abs=1e-6), 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_are_attacked_in_the_models_own_precision(dtype: torch.dtype, picture: Any) -> None:
    _, x = picture
    seen = set()
    model = Linear.score(np.ones(64), 0.0).to(dtype)
    model.register_forward_hook(lambda _, points, __: seen.add(points[0].dtype))
    known = x, np.arange(6) % 2
    craft(model, x, known=known, **ALL)
    assert seen == {dtype}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l0"}, "norm: expected one of l1, l2, linf, got l0"),
        ({"objective": "hinge"}, "objective: expected one of cross_entropy, margin, logit, got hinge"),
        ({"average": "votes"}, "average: expected one of logits, losses, got votes"),
        ({"step": "long"}, "step: expected one of steepest, sign, normalised, got long"),
        ({"neighbours": "all"}, "neighbours: expected one of variance, mean, got all"),
        ({"length": 0.5}, "length: expected a number >= 1, got 0.5"),
        ({"diversity": 1.5}, "diversity: expected a number >= 0 and <= 1, got 1.5"),
        ({"kernel_size": 4}, "kernel_size: expected an odd number of pixels, got 4"),
        ({"nesterov": True}, "nesterov: expected momentum above 0"),
        ({"momentum": float("nan")}, "momentum: expected a number >= 0, got nan"),
        ({"n_scales": 0}, "n_scales: expected a number >= 1, got 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^attack\.{message}"):
        Iterative(**options)


@pytest.mark.parametrize("options", [{"diversity": 0.5}, {"kernel_size": 3}])
def test_points_that_are_no_images_are_refused_where_images_are_needed(options: Any) -> None:
    with pytest.raises(UserError, match=r"^attack: expected images for diversity or kernel_size, got points of shape None"):
        craft(Linear.score(np.ones(3), 0.0), np.zeros((1, 3)), **options)
    assert Iterative().require_images(None) is None


def test_a_model_that_gives_no_numbers_is_named() -> None:
    broken = Score(lambda x: torch.sqrt(x).sum(1))
    broken.label = "my_net"  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"^my_net: expected finite gradients of attacked points, got others for 1 of 2"):
        craft(broken, [[0.0], [0.5]])
