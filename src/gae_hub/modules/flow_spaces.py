"""Spaces of flow matching: where noise is drawn, which paths lead from it to points, and how a field stays inside.

On the sphere (Chen & Lipman, 2024, arXiv:2302.03660), noise is uniform, paths are great circles, and a field is
tangent to the sphere and depends on the direction of a point only. So the trace of its Jacobian in all coordinates is
its divergence on the sphere. A solver's steps lead to a radius r beside 1: there, both the velocity of the direction
and the trace have the factor 1 / r, so that log densities stay right.
"""

__all__ = ["FlowSpace", "Sphere"]

from collections.abc import Callable

import torch
from torch import Tensor

from .couplings import compute_angle_costs, compute_distance_costs
from .noise import randn
from .posteriors import gaussian_log_prob
from .sphere import log_sphere_area, normalize, travel_great_circle


class FlowSpace:
    """Vectors of real numbers: noise is N(0, I), and paths are straight."""

    compute_costs = staticmethod(compute_distance_costs)

    def draw_noise(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(num, dim) noise, with the device and dtype of `like`."""
        return randn(shape, like, generator)

    def noise_log_prob(self, noise: Tensor) -> Tensor:
        """(num,) log density of noise (num, dim), in nats."""
        return gaussian_log_prob(noise).sum(1)

    def travel(self, noise: Tensor, points: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Places on the paths from noise to points at these times, and the velocities there.

        Args:
            noise, points: (num, dim) each.
            times: (num, 1), 0 at the noise and 1 at the points.
        """
        return torch.lerp(noise, points, times), points - noise

    def constrain(self, field: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        """Velocities of a field at points (num, dim), inside the space."""
        return field(points)


class Sphere(FlowSpace):
    """The unit sphere: noise is uniform, and paths are great circles."""

    compute_costs = staticmethod(compute_angle_costs)

    def draw_noise(self, shape: tuple[int, int], like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return normalize(randn(shape, like, generator))

    def noise_log_prob(self, noise: Tensor) -> Tensor:
        return torch.full_like(noise[:, 0], -log_sphere_area(noise.shape[1]))

    def travel(self, noise: Tensor, points: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        return travel_great_circle(noise, points, times)

    def constrain(self, field: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        directions = normalize(points)
        velocities = field(directions)
        return velocities - (velocities * directions).sum(1, keepdim=True) * directions
