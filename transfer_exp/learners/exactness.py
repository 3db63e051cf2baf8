"""How exactly networks are retrained; the symbols are those of ``retraining_network``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Exactness:
    """How exactly networks are retrained.

    damping, decay: of F. tolerance: largest norm of F's gradient. n_first_steps, n_steps: most steps of the first
    retraining, and of one that goes on from the one before; what ends above the tolerance is counted. n_step_products,
    n_adjoint_products: most products with the curvature for one step, and for one gradient. residual: of the adjoint system,
    relative, at which its solver stops. double: float64. exact: the whole second derivative.
    """

    damping: float = 3e-3
    decay: float = 0.0
    tolerance: float = 2e-2
    n_first_steps: int = 30
    n_steps: int = 3
    n_step_products: int = 6
    n_adjoint_products: int = 8
    residual: float = 0.05
    exact: bool = False
    double: bool = False
