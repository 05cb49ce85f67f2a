"""RHVAE's implicit steps: a bijection that preserves volume, whatever the step size; in float64 unless noted."""

import pytest
import torch
from adaptive_quadrature import integrate_adaptively, integrate_lines
from cases import generator, images

from gae_hub import RHVAEConfig, RHVAEModel
from gae_hub.modules.implicit_leapfrog import solve_implicit_step
from gae_hub.modules.posteriors import gaussian_log_prob

SHAPE = (1, 2, 2)
X = images(1, SHAPE, seed=4).double()


def build(dim, step_size, **fields):
    """A model whose decoder depends strongly on the latents."""
    torch.manual_seed(0)
    config = RHVAEConfig(
        **{
            "input_shape": SHAPE,
            "latent_dim": dim,
            "observation_std": 0.4,
            "num_centroids": 3,
            "metric_hidden_sizes": [8],
            "encoder_config": {"hidden_sizes": [8]},
            "decoder_config": {"hidden_sizes": []},
            "step_size": step_size,
            "num_leapfrog_steps": 1,
            **fields,
        }
    )
    model = RHVAEModel(config).double().train()
    model(images(3, SHAPE, seed=5).double())
    with torch.no_grad():
        model.decoder.net[0].weight.mul_(4)
    return model.eval()


def phase_points(model, num):
    """The metric at `num` points, and momenta."""
    z, noise = torch.randn(2, num, model.config.latent_dim, generator=generator(6), dtype=torch.float64)
    place = model.build_metric().at(2 * z)
    return place, 1.8 * place.sample_momentum(noise)


@pytest.mark.parametrize("step_size", [0.1, 0.3, 0.499])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_step_followed_by_a_change_of_sign_is_its_own_inverse(dim, step_size):
    """At every point, accepted or rejected: the step is then a bijection of the whole space."""
    model = build(dim, step_size, beta_zero=1, learn_beta_zero=False)
    place, momentum = phase_points(model, 5000)
    x = X.expand(5000, *SHAPE)
    there, reached, accepted = model.integrate_leapfrog(x, place, momentum)
    back, last, accepted_back = model.integrate_leapfrog(x, there, -reached)
    assert torch.equal(accepted, accepted_back)
    torch.testing.assert_close(back.z, place.z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(-last, momentum, rtol=1e-9, atol=1e-9)
    assert 0.3 < accepted.double().mean() <= 1
    assert (accepted.double().mean() < 1) == (step_size > 0.1 or (~accepted).any().item())
    moved = accepted[0]
    assert torch.equal(there.z[~moved], place.z[~moved]) and torch.equal(reached[~moved], -momentum[~moved])


def test_accepted_steps_preserve_volume():
    """|det| of the Jacobian by autograd, at 60 points, with another step size for each dimension."""
    model = build(2, 0.3, beta_zero=1, learn_beta_zero=False)
    with torch.no_grad():
        model.step_logits.add_(torch.tensor([0.5, -0.5]))
    metric = model.build_metric()

    def step(point):
        end, momentum, _ = model.integrate_leapfrog(X, metric.at(point[None, :2]), point[None, 2:])
        return torch.cat([end.z, momentum], 1)[0]

    place, momentum = phase_points(model, 60)
    for point in torch.cat([place.z, momentum], 1):
        determinant = torch.linalg.det(torch.autograd.functional.jacobian(step, point))
        torch.testing.assert_close(determinant.abs(), torch.ones((), dtype=torch.float64), rtol=1e-9, atol=0)


def test_gradients_of_the_solution():
    """By finite differences, with respect to point, momentum, step size, centroids and matrices."""
    model = build(2, 0.1)
    place, momentum = phase_points(model, 4)
    inputs = (place.z, momentum, torch.tensor([0.1, 0.15]).double(), model.centroids, model.matrices)

    def solve(z, pushed, step, centroids, matrices):
        symmetric = (matrices + matrices.mT) / 2
        solution = solve_implicit_step(model.build_metric(centroids, symmetric).at(z), pushed, step, 20)
        assert solution.accepted.all()
        return solution.half, solution.moved

    assert torch.autograd.gradcheck(solve, [value.detach().clone().requires_grad_() for value in inputs])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_steps_never_fail(dtype):
    """With huge forces, loss and gradients stay finite, and the output says how many steps were rejected."""
    model = build(3, 0.499, num_leapfrog_steps=3, observation_std=0.01, metric_regularization=0.001).to(dtype).train()
    out = model(images(40, SHAPE, seed=8).to(dtype), generator=generator())
    out.loss.backward()
    assert out.loss.isfinite() and all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert 0.3 < out.metrics["rejection_rate"] <= 1
    assert build(3, 0.001)(X).metrics["rejection_rate"] == 0


@pytest.mark.parametrize(
    "step_size", [0.02, 0.1, *(pytest.param(size, marks=pytest.mark.slow) for size in (0.2, 0.3, 0.499))]
)
def test_mean_of_the_weights_is_the_evidence(step_size):
    """E[w] = p(x) to 1e-6, by quadrature over z_0 and the momentum's noise, up to the largest step size."""
    model = build(1, step_size, num_centroids=1)
    base, metric, scale = model.encode(X).base, model.build_metric(), model.compute_tempering_scales()[0]
    with torch.no_grad():
        z = torch.linspace(-12, 12, 20_001, dtype=torch.float64).unsqueeze(1)
        log_p, _ = model.log_prob(X, z.unsqueeze(0))
        log_evidence = (log_p[0] + model.prior_log_prob(z)).logsumexp(0) + (z[1] - z[0]).log().squeeze()

    @torch.no_grad()
    def is_accepted(z, noise):
        place = metric.at(z.unsqueeze(1))
        momentum = scale * place.sample_momentum(noise.unsqueeze(1))
        pushed = momentum + 0.5 * model.compute_step_size() * model.compute_force(X.expand(len(z), *SHAPE), place.z)
        return solve_implicit_step(place, pushed, model.compute_step_size(), 10).accepted

    @torch.no_grad()
    def weigh(z, noise):
        """Density of z_0 and the noise, times w / p(x)."""
        z, noise, x = z.unsqueeze(1), noise.unsqueeze(1), X.expand(len(z), *SHAPE)
        moved, log_ratio, _ = model.evolve(x, z, noise, metric)
        log_p, _ = model.log_prob(x, moved)
        log_w = log_p + model.prior_log_prob(moved) - base.log_prob(z) - log_ratio
        return (log_w - log_evidence + base.log_prob(z) + gaussian_log_prob(noise).sum(-1)).exp()

    def integrate_noise(z):
        return integrate_lines(weigh, is_accepted, z, -8.0, 8.0, num_cells=40)

    assert abs(integrate_adaptively(integrate_noise, -9.0, 9.0, 4e-8, num_panels=12) - 1) < 1e-6
