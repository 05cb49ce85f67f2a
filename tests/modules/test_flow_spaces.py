"""Spaces of flow matching: velocities are derivatives of the paths, and fields stay on the sphere."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from cases import generator

from gae_hub.modules.couplings import pair_optimally
from gae_hub.modules.flow_spaces import FlowSpace, Sphere
from gae_hub.modules.jacobian_trace import draw_probes, trace_jacobian
from gae_hub.modules.ode import solve_heun
from gae_hub.modules.sphere import great_circle, log_sphere_area

SPACES = [FlowSpace(), Sphere()]


def draw(space, num, dim, seed=0):
    return space.draw_noise((num, dim), torch.empty(0, dtype=torch.float64), generator(seed))


@pytest.mark.parametrize("space", SPACES, ids=["vectors", "sphere"])
@pytest.mark.parametrize("dim", [2, 5])
def test_velocities_are_the_derivatives_of_paths(space, dim):
    noise, points = draw(space, 20, dim), draw(space, 20, dim, 1)
    times = torch.rand(20, 1, dtype=torch.float64, generator=generator())
    places, velocities = space.travel(noise, points, times)
    step = 1e-5
    ahead, behind = (space.travel(noise, points, times + sign * step)[0] for sign in (1, -1))
    torch.testing.assert_close(velocities, (ahead - behind) / (2 * step), atol=1e-8, rtol=1e-8)
    for time, end in ((0.0, noise), (1.0, points)):
        torch.testing.assert_close(space.travel(noise, points, torch.full_like(times, time))[0], end)
    if space is SPACES[1]:
        torch.testing.assert_close(places, great_circle(noise, points, times))
        torch.testing.assert_close((places * velocities).sum(1), torch.zeros(20, dtype=torch.float64))
        angles = (noise * points).sum(1).acos()
        torch.testing.assert_close(velocities.norm(dim=1), angles)


def test_the_trace_of_a_tangent_field_is_its_divergence():
    """For the gradient of a x, the divergence on the sphere in d dimensions is -(d - 1) a x."""
    space, dim = Sphere(), 4
    points, a = draw(space, 10, dim), torch.tensor([0.3, -2.0, 0.5, 1.0], dtype=torch.float64)

    def field(x):
        return space.constrain(lambda directions: a.expand_as(directions), x)

    values, traces = trace_jacobian(field, points, torch.eye(dim, dtype=torch.float64))
    torch.testing.assert_close((values * points).sum(1), torch.zeros(10, dtype=torch.float64))
    torch.testing.assert_close(traces, -(dim - 1) * points @ a)
    probes = draw_probes(20_000, points, 0)
    torch.testing.assert_close(trace_jacobian(field, points, probes)[1], traces, atol=0.15, rtol=0)


def test_the_flow_of_a_tangent_field_stays_on_the_sphere_and_its_density_is_known():
    """The gradient of x_1 carries the uniform density to one with a closed form: tanh adds up along the axis."""
    space = Sphere()
    start = draw(space, 50, 3)
    axis = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)

    def field(times, states, rows):
        points = states[:, :3]
        values, traces = trace_jacobian(
            lambda x: space.constrain(lambda directions: axis.expand_as(directions), x),
            points,
            torch.eye(3, dtype=torch.float64),
        )
        return torch.cat([values, traces[:, None]], 1)

    end = solve_heun(field, F.pad(start, (0, 1)), 0.0, 1.0, 400)
    torch.testing.assert_close(end[:, :3].norm(dim=1), torch.ones(50, dtype=torch.float64), atol=1e-6, rtol=0)
    heights = (start[:, 0].atanh() + 1).tanh()
    torch.testing.assert_close(end[:, 0], heights, atol=1e-5, rtol=0)
    # heights of uniform points on the sphere in three dimensions are uniform, so the density is the slope of the map
    expected = ((1 - start[:, 0].square()) / (1 - heights.square())).log()
    torch.testing.assert_close(-end[:, 3], expected, atol=1e-4, rtol=0)
    assert space.noise_log_prob(start).tolist() == pytest.approx([-log_sphere_area(3)] * 50)


@pytest.mark.parametrize("space", SPACES, ids=["vectors", "sphere"])
def test_the_pairing_has_the_smallest_sum_of_squared_distances(space):
    noise, points = draw(space, 6, 3), draw(space, 6, 3, 1)

    def cost(rows):
        found = noise[list(rows)]
        if space is SPACES[1]:
            return (found * points).sum(1).acos().square().sum().item()
        return (found - points).square().sum().item()

    paired = pair_optimally(noise, points, compute_costs=space.compute_costs)
    rows = [(noise == row).all(1).nonzero().item() for row in paired]
    assert cost(rows) == pytest.approx(min(map(cost, permutations(range(6)))))
