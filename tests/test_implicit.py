import numpy as np
import pytest

from transfer_exp.optim.implicit import SaddleSolver, factorise, solve_bordered


def definite(rng, n):
    root = rng.normal(size=(n, n))
    return root @ root.T + np.eye(n)


def test_a_factor_solves_and_grows_by_a_row():
    rng = np.random.default_rng(0)
    full = definite(rng, 9)
    factor = factorise(full[:8, :8].copy()).append(full[8, :8], full[8, 8])
    right = rng.normal(size=(9, 2))
    np.testing.assert_allclose(full @ factor.solve(right), right, atol=1e-12)


def test_a_factor_grows_from_nothing():
    factor = factorise(np.zeros((0, 0))).append(np.zeros(0), 4.0)
    np.testing.assert_allclose(factor.solve(np.array([2.0])), [0.5])


def test_damping_is_what_is_stated():
    matrix = definite(np.random.default_rng(1), 5)
    right = np.arange(5.0)
    damped = factorise(matrix.copy(), damping=0.5).solve(right)
    np.testing.assert_allclose((matrix + 0.5 * np.eye(5)) @ damped, right, atol=1e-12)


def test_an_indefinite_matrix_is_refused():
    with pytest.raises(np.linalg.LinAlgError):
        factorise(np.diag([1.0, -1.0]))
    with pytest.raises(np.linalg.LinAlgError):
        factorise(np.eye(1)).append(np.array([2.0]), 1.0)


def test_a_bordered_system_is_that_of_its_blocks():
    rng = np.random.default_rng(2)
    A, W, E = definite(rng, 6), rng.normal(size=(6, 2)), np.array([[1.0, 2.0], [2.0, 0.0]])
    r, s = rng.normal(size=6), rng.normal(size=2)
    factor = factorise(A.copy())
    p, t = solve_bordered(factor, W, factor.solve(W), E, r, s)
    np.testing.assert_allclose(np.block([[A, W], [W.T, E]]) @ np.concatenate([p, t]), np.concatenate([r, s]), atol=1e-11)


@pytest.mark.parametrize("width", [0, 3, 40])
def test_a_saddle_solver_follows_a_growing_matrix(width):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(25, 30))
    solver = SaddleSolver(width=width)
    for n in range(8, 25):
        for _ in range(2):
            x[n - 1] = rng.normal(size=30)
            K = x[:n] @ x[:n].T
            solver.set_matrix(K)
            free = rng.random(n) < 0.8
            free[:2] = True
            right = rng.normal(size=n)
            p, t = solver.solve(free, right, 1.0)
            np.testing.assert_allclose((K @ p + t)[free], right[free], atol=1e-8)


@pytest.mark.parametrize("width", [0, 3, 40])
def test_a_saddle_solver_follows_a_changing_set_and_a_moving_last_row(width):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 20))
    solver = SaddleSolver(width=width)
    free = np.ones(12, dtype=bool)
    for _ in range(30):
        x[-1] = rng.normal(size=20)
        K = x @ x.T
        solver.set_matrix(K)
        for _ in range(3):
            free[rng.integers(12)] ^= True
            free[0] = True
            right, total = rng.normal(size=12), rng.normal()
            p, t = solver.solve(free, right, total)
            assert not p[~free].any()
            np.testing.assert_allclose((K @ p + t)[free], right[free], atol=1e-8)
            assert p.sum() == pytest.approx(total, abs=1e-9)


def test_a_wide_border_saves_factorisations():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 40))
    counts = {}
    for width in (0, 40):
        solver = SaddleSolver(width=width)
        solver.set_matrix(x @ x.T)
        for k in range(10, 20):
            solver.solve(np.arange(30) < k, np.ones(30), 0.0)
        counts[width] = solver.n_factorisations
    assert counts == {0: 10, 40: 1}


def test_a_singular_kernel_is_solved_where_the_system_has_one_solution():
    # Three points on a line: K has rank 2, and with the sum given the system has one solution.
    x = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
    K = x @ x.T
    solver = SaddleSolver()
    solver.set_matrix(K)
    p, t = solver.solve(np.ones(3, dtype=bool), np.array([1.0, -1.0, 1.0]), 0.0)
    expected = np.linalg.solve(np.block([[K, np.ones((3, 1))], [np.ones((1, 3)), np.zeros((1, 1))]]), [1, -1, 1, 0])
    np.testing.assert_allclose(np.append(p, t), expected, atol=1e-8)
