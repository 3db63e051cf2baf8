import torch

from transfer_exp.optim.ascent import ascend
from transfer_exp.optim.state import unmoved


class Bowl:
    """A = -|x - top|^2; remembers where it was asked."""

    def __init__(self, top):
        self.top = torch.tensor(top, dtype=torch.float64)
        self.asked, self.gradients = [], []

    def value(self, x, rows):
        self.asked += x.tolist()
        return -((x - self.top) ** 2).sum(1)

    def gradient(self, x, rows):
        self.gradients.append(len(x))
        return -2 * (x - self.top)


class Square:
    """[-1, 1]^2."""

    def project(self, x, rows):
        return x.clamp(-1, 1)

    def farthest(self, direction, rows):
        return direction.sign()


def run(bowl, starts, **options):
    x = torch.tensor(starts, dtype=torch.float64)
    value = bowl.value(x, torch.arange(len(x)))
    one = torch.ones_like(value)
    return ascend(bowl, Square(), start=unmoved(x, value), baseline=value, step=one, n_iter=50, tolerance=1e-6, **options)


def test_it_tries_a_corner_that_no_step_reaches_and_ends_at_the_top():
    bowl = Bowl([0.5, 0.25])
    result = run(bowl, [[0.0, 0.0]])
    torch.testing.assert_close(result.x, bowl.top[None], atol=1e-3, rtol=0)
    assert [1.0, 1.0] in bowl.asked


def test_it_reaches_the_best_corner_where_the_top_lies_outside_the_set():
    assert run(Bowl([3.0, 2.0]), [[0.0, 0.0]]).x.tolist() == [[1.0, 1.0]]


def test_finished_points_cost_nothing_more_and_an_empty_batch_is_never_asked_about():
    bowl = Bowl([0.5, 0.25])
    run(bowl, [[0.0, 0.0], [0.5, 0.25], [-1.0, 0.0]])
    assert bowl.gradients[0] == 3
    assert sorted(bowl.gradients, reverse=True) == bowl.gradients
    assert bowl.gradients[-1] >= 1


class Valley(Bowl):
    """A = -x0^2 - 100 (x1 - x0 / 3)^2, top at 0."""

    def value(self, x, rows):
        self.asked += x.tolist()
        return -(x[:, 0] ** 2) - 100 * (x[:, 1] - x[:, 0] / 3) ** 2

    def gradient(self, x, rows):
        across = 200 * (x[:, 1] - x[:, 0] / 3)
        return torch.stack([-2 * x[:, 0] + across / 3, -across], 1)


def test_steps_from_the_curvature_do_not_zigzag_down_a_narrow_valley():
    """As steepest ascent does, even with the best step along every gradient (A = -x'Mx: g'g / 2g'Mg)."""
    valley, x = Valley([0.0, 0.0]), torch.tensor([[0.9, -0.5]]).double()
    found = run(valley, x.tolist())
    curvature = torch.tensor([[1 + 100 / 9, -100 / 3], [-100 / 3, 100]]).double()
    for _ in valley.gradients:
        gradient = -2 * x @ curvature
        x = x + gradient * gradient.square().sum() / (2 * gradient @ curvature @ gradient.T)
    assert found.value.item() > -1e-6 > -1e-3 > Valley([0.0, 0.0]).value(x, None).item()


def test_an_ascent_that_goes_on_takes_no_gradient_twice():
    bowl = Bowl([3.0, 2.0])
    first = run(bowl, [[0.0, 0.0], [0.5, -1.0]])
    asked = len(bowl.gradients)
    again = ascend(
        bowl, Square(), start=first, baseline=torch.full((2,), -13.0), step=torch.ones(2).double(), n_iter=50, tolerance=1e-6
    )
    assert again.x.tolist() == first.x.tolist() == [[1.0, 1.0]] * 2
    assert len(bowl.gradients) == asked
    assert again.effort.gradient_rows == 0


def test_gradients_that_are_remembered_are_those_of_the_points():
    bowl = Bowl([0.5, 0.25])
    result = run(bowl, [[0.0, 0.0], [-1.0, 0.5]])
    rows = torch.arange(2)
    torch.testing.assert_close(result.gradient(bowl, rows), -2 * (result.x - bowl.top))
    result.move(rows[:1], torch.tensor([[1.0, 1.0]]).double(), torch.tensor([0.0]).double())
    torch.testing.assert_close(result.gradient(bowl, rows[:1]), -2 * (torch.tensor([[1.0, 1.0]]) - bowl.top))
