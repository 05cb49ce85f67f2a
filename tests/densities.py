"""Known densities of the plane and of space, and grids to integrate over: for the tests of samplers."""

import torch
import torch.nn.functional as F
from cases import generator


def noise(*shape, seed=0, dtype=torch.float32):
    """Standard normal numbers."""
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


def plane(side=8.0, steps=401):
    """The points of a square grid of the plane, (steps ** 2, 2), and the area of its cells."""
    axis = torch.linspace(-side, side, steps, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2


def two_rings(num, seed):
    g = generator(seed)
    angle, radius = 2 * torch.pi * torch.rand(num, generator=g), 1.0 + (torch.rand(num, generator=g) < 0.5)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return points + 0.1 * torch.randn(num, 2, generator=g)


def three_clusters(num, seed):
    centres = 4 * noise(3, 3, seed=50)
    return centres[torch.randint(0, 3, (num,), generator=generator(seed))] + noise(num, 3, seed=seed + 1)


def two_moons(num, seed):
    g = generator(seed)
    angle, upper = torch.pi * torch.rand(num, generator=g), torch.rand(num, generator=g) < 0.5
    x, y = torch.where(upper, angle.cos(), 1 - angle.cos()), torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], 1) + 0.05 * torch.randn(num, 2, generator=g)


def sphere(num, seed):
    return F.normalize(noise(num, 3, seed=seed)) + 0.05 * noise(num, 3, seed=seed + 1)


def disc(num, seed):
    g = generator(seed)
    angle, radius = 2 * torch.pi * torch.rand(num, generator=g), torch.rand(num, generator=g).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
