r"""The implicit part of a generalised leapfrog step (Girolami & Calderhead, 2011).

With the kinetic energy :math:`K(z, \rho) = (\rho^\top G^{-1}(z) \rho + \log \det G(z)) / 2` and the force F, a step is

.. math::
    h = \rho + \tfrac{\epsilon}{2} (F(z) - \nabla_z K(z, h)), \quad
    z' = z + \tfrac{\epsilon}{2} (G^{-1}(z) + G^{-1}(z'))\, h, \quad
    \rho' = h + \tfrac{\epsilon}{2} (F(z') - \nabla_z K(z', h)).

The first two equations are implicit. Where Newton's method solves them, the step preserves volume, and the step from
:math:`(z', -\rho')` leads back to :math:`(z, -\rho)`, provided that both find the same solution. A step that does not
lead back is rejected: z stays, and the momentum changes its sign. Followed by a change of sign, the accepted steps are
a map that is its own inverse, and so is the identity on the other points. Together they are a bijection of the whole
space that preserves volume, whatever the step size.
"""

__all__ = ["ImplicitStep", "solve_implicit_step"]

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .precision import full_precision
from .riemannian_metric import LocalMetric

# maps points (*batch, d) to residuals (*batch, d), and to their Jacobians (*batch, d, d)
Equation = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass
class ImplicitStep:
    """The solution of the implicit part of a step.

    Args:
        half: (*batch, d), h; zeros where the step is rejected.
        moved: (*batch, d), z'; equal to z where the step is rejected.
        accepted: (*batch,) booleans.
    """

    half: Tensor
    moved: Tensor
    accepted: Tensor


def solve_implicit_step(place: LocalMetric, pushed: Tensor, step_size: Tensor | float, max_iterations: int):
    """Solve for h and z', and check that the reversed step leads back.

    Args:
        place: the metric at z, (*batch, d).
        pushed: (*batch, d), rho + step_size / 2 F(z).
        step_size: epsilon, a scalar or (d,).
        max_iterations: of Newton's method, for each equation.

    Returns:
        An [`ImplicitStep`]. Its gradients are those of the exact solutions, by the implicit function theorem.
    """
    with torch.no_grad(), full_precision(pushed):
        half, is_solved = _find_root(_kick_equation(place, pushed, step_size), pushed, max_iterations)
        moved, found = _find_root(_drift_equation(place, half, step_size), place.z, max_iterations)
        is_solved = is_solved & found
        end = place.metric.at(torch.where(is_solved.unsqueeze(-1), moved, place.z))
        # the reversed step, whose -rho' + step_size / 2 F(z') contains the force no more
        back = 0.5 * step_size * end.kinetic_gradient(half) - half
        half_back, found_half = _find_root(_kick_equation(end, back, step_size), back, max_iterations)
        start, found_start = _find_root(_drift_equation(end, half_back, step_size), end.z, max_iterations)
        is_back = _is_close(half_back, -half) & _is_close(start, place.z)
        accepted = is_solved & found_half & found_start & is_back
        half = torch.where(accepted.unsqueeze(-1), half, 0.0)
        moved = torch.where(accepted.unsqueeze(-1), moved, place.z)
    if torch.is_grad_enabled():
        with full_precision(pushed):
            half = _attach_gradient(_kick_equation(place, pushed, step_size), half, accepted, 0.0)
            moved = _attach_gradient(_drift_equation(place, half, step_size), moved, accepted, place.z)
    return ImplicitStep(half, moved, accepted)


def _kick_equation(place: LocalMetric, pushed: Tensor, step_size: Tensor | float) -> Equation:
    def equation(half: Tensor) -> tuple[Tensor, Tensor]:
        gradient, jacobian = place.kinetic_gradient_and_jacobian(half)
        return half + 0.5 * step_size * gradient - pushed, _add_identity(0.5 * _rows(step_size) * jacobian)

    return equation


def _drift_equation(place: LocalMetric, half: Tensor, step_size: Tensor | float) -> Equation:
    images = place.metric.apply_matrices(half)
    velocity = place.metric.combine(place.weights, images, half)

    def equation(moved: Tensor) -> tuple[Tensor, Tensor]:
        weights = place.metric.weights(moved)
        jacobian = place.metric.velocity_jacobian(moved, weights, images)
        residual = moved - place.z - 0.5 * step_size * (velocity + place.metric.combine(weights, images, half))
        return residual, _add_identity(-0.5 * _rows(step_size) * jacobian)

    return equation


def _find_root(equation: Equation, start: Tensor, max_iterations: int) -> tuple[Tensor, Tensor]:
    """Roots by Newton's method.

    Each step must be shorter than the step before, as it is wherever Kantorovich's theorem proves convergence.
    Otherwise the search fails: it would wander, and end at a root that depends on rounding errors.

    Args:
        equation: the equation of each point.
        start: (*batch, d).
        max_iterations: after which the search fails. Each point stops on its own.

    Returns:
        (*batch, d) points, and whether they are roots, (*batch,).
    """
    root, length = start, torch.full_like(start[..., 0], torch.inf)
    found, searching = torch.zeros_like(length, dtype=torch.bool), torch.ones_like(length, dtype=torch.bool)
    for _ in range(max_iterations):
        residual, jacobian = equation(root)
        change = _solve(jacobian, residual)
        previous, length = length, torch.linalg.vector_norm(change, dim=-1)
        searching = searching & (length < previous)
        root = torch.where(searching.unsqueeze(-1), root - change, root)
        is_last = searching & (length <= _tolerance(root))
        found, searching = found | is_last, searching & ~is_last
        if root.device.type == "cpu" and not searching.any():
            break  # on a GPU, this check would stall the device
    return root, found


def _attach_gradient(equation: Equation, root: Tensor, accepted: Tensor, otherwise: Tensor | float) -> Tensor:
    """A root with its gradient, by one step of Newton's method; `otherwise` where it is not accepted."""
    residual, jacobian = equation(root)
    jacobian = torch.where(accepted[..., None, None], jacobian.detach(), torch.eye(root.shape[-1]).to(root))
    return torch.where(accepted.unsqueeze(-1), root - _solve(jacobian, residual), otherwise)


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """(*batch, d): matrix^-1 vector. It is not finite where the matrix is singular; nothing is raised."""
    return torch.linalg.solve_ex(matrix, vector.unsqueeze(-1))[0].squeeze(-1)


def _tolerance(point: Tensor) -> Tensor:
    """(*batch,): half of the digits of points (*batch, d). Newton's next step would double them."""
    return torch.finfo(point.dtype).eps ** 0.5 * (1 + torch.linalg.vector_norm(point, dim=-1))


def _is_close(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vector_norm(a - b, dim=-1) <= _tolerance(b)


def _rows(step_size: Tensor | float) -> Tensor | float:
    return step_size.unsqueeze(-1) if isinstance(step_size, Tensor) and step_size.dim() else step_size


def _add_identity(matrix: Tensor) -> Tensor:
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
