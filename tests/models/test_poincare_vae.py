"""Both normal densities of the hyperbolic space, from two dimensions to 256 and over six orders of scale."""

from math import exp, log, pi, sqrt

import mpmath
import numpy as np
import pytest
import torch
from cases import IWAE, NETWORKS, SHAPE, generator, images
from scipy import integrate, stats
from torch.distributions import MultivariateNormal

from gae_hub import AutoGAE, PoincareVAEConfig, PoincareVAEModel
from gae_hub.modules import hyperbolic_posteriors
from gae_hub.modules.hyperbolic_posteriors import RiemannianNormal, WrappedNormal
from gae_hub.modules.hyperbolic_space import hyperbolic_distance, hyperbolic_translate, log_sinhc
from gae_hub.modules.sphere import log_sphere_area

X = images(4)
FAMILIES = pytest.mark.parametrize("family", [WrappedNormal, RiemannianNormal])
NAMES = pytest.mark.parametrize("name", ["wrapped_normal", "riemannian_normal"])


def posterior(family, dim, scale, curvature=1.0, mean=None):
    mean = torch.zeros(1, dim) if mean is None else mean
    size = dim if family is WrappedNormal else 1
    return family(mean.double(), torch.full((1, size), 2 * log(scale), dtype=torch.float64), curvature)


def build(**fields):
    torch.manual_seed(0)
    return PoincareVAEModel(PoincareVAEConfig(**{"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, **fields}))


@FAMILIES
@pytest.mark.parametrize("mean", [[0.0, 0.0], [1.0, -0.5], [3.0, 2.0]])
@pytest.mark.parametrize("curvature", [0.4, 1.7])
def test_the_density_integrates_to_one_in_the_plane(family, mean, curvature):
    """Over normal coordinates, with their volume element, and wherever the mean is."""
    q = posterior(family, 2, 0.6, curvature, torch.tensor([mean]))
    if family is WrappedNormal:
        q.log_var = torch.tensor([[log(0.5), log(0.2)]], dtype=torch.float64)
    line = torch.linspace(-9, 9, 901, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    volume = log_sinhc(curvature**0.5 * grid.norm(dim=-1))
    density = (q.log_prob(grid.unsqueeze(0))[0] + volume).exp().view(901, 901)
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1, abs=3e-3)


@FAMILIES
@pytest.mark.parametrize("dim", [1, 2, 16, 64, 256])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0])
def test_the_density_integrates_to_one_by_its_radius(family, dim, scale):
    """In any dimension, from the origin: spheres have area (sinh r)^(d - 1) times that of the unit one."""
    q = posterior(family, dim, scale)
    power = dim - 1
    if family is WrappedNormal:
        peak = scale * sqrt(power)
    else:
        peak = scale**2 * power / 2 + sqrt((scale**2 * power / 2) ** 2 + scale**2 * power)
    r = torch.linspace(max(0.0, peak - 15 * scale), peak + 15 * scale, 40_001, dtype=torch.float64)[1:]
    r = torch.cat([r[:1] * 1e-9, r]) if peak < 15 * scale else r
    direction = torch.zeros(dim, dtype=torch.float64)
    direction[0] = 1
    area = log_sphere_area(dim) + power * (log_sinhc(r) + r.log())
    density = (q.centred_log_prob((r[:, None] * direction).unsqueeze(0))[0] + area).exp()
    assert torch.trapezoid(density, r).item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(("dim", "scale", "curvature"), [(2, 0.5, 1.0), (5, 2.0, 0.3), (16, 1.0, 2.0), (40, 0.7, 1.0)])
def test_the_riemannian_normaliser_to_high_precision(dim, scale, curvature):
    with mpmath.workdps(30):
        root = mpmath.sqrt(curvature)

        def f(r):
            return mpmath.exp(-(r**2) / (2 * mpmath.mpf(scale) ** 2)) * (mpmath.sinh(root * r) / root) ** (dim - 1)

        edge = scale**2 * (dim - 1) * float(root) + sqrt(dim - 1) * scale + 15 * scale
        exact = float(mpmath.log(mpmath.quad(f, mpmath.linspace(0, edge, 16)))) + log_sphere_area(dim)
    q = posterior(RiemannianNormal, dim, scale, curvature)
    found = -q.centred_log_prob(torch.zeros(1, dim, dtype=torch.float64)).item()
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_its_gradient_is_the_mean_square():
    """d log Z / d log sigma is E[r^2] / sigma^2, an identity of exponential families."""
    log_var = torch.tensor([[2 * log(0.8)]], dtype=torch.float64, requires_grad=True)
    q = RiemannianNormal(torch.zeros(1, 6, dtype=torch.float64), log_var, 1.0)
    zero = torch.zeros(1, 6, dtype=torch.float64)
    (slope,) = torch.autograd.grad(-q.centred_log_prob(zero).sum(), log_var)
    r = q.rsample(30_000, generator=generator()).norm(dim=-1)
    assert 2 * slope.item() == pytest.approx(r.square().mean().item() / 0.64, rel=0.02)


@pytest.mark.parametrize(("dim", "scale"), [(2, 0.5), (8, 1.5), (64, 0.3), (256, 1.0)])
def test_radii_follow_their_density(dim, scale):
    q = posterior(RiemannianNormal, dim, scale)
    r = q.rsample(4000, generator=generator())[0].norm(dim=-1).numpy()
    grid = np.linspace(max(1e-9, r.min() - 5 * scale), r.max() + 5 * scale, 20_001)
    log_p = -(grid**2) / (2 * scale**2) + (dim - 1) * (grid + np.log1p(-np.exp(-2 * grid)))
    cdf = np.concatenate([[0], integrate.cumulative_trapezoid(np.exp(log_p - log_p.max()), grid)])
    assert stats.kstest(r, lambda x: np.interp(x, grid, cdf / cdf[-1])).pvalue > 0.01


def test_gradients_by_the_scale_are_whole():
    """The mean of dr / d sigma is the derivative of the mean radius, by quadrature."""
    log_var = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    q = RiemannianNormal(torch.zeros(1, 5, dtype=torch.float64), log_var, 1.0)
    (slope,) = torch.autograd.grad(q.rsample(50_000, generator=generator()).norm(dim=-1).mean(), log_var)

    def mean(sigma):
        def f(r):
            return exp(-(r**2) / (2 * sigma**2)) * np.sinh(r) ** 4

        return integrate.quad(lambda r: r * f(r), 0, 20)[0] / integrate.quad(f, 0, 20)[0]

    exact = (mean(1.001) - mean(0.999)) / 0.002 / 2  # by log sigma^2
    assert slope.item() == pytest.approx(exact, rel=0.02)


@FAMILIES
@pytest.mark.parametrize("dim", [2, 64])
def test_a_draws_own_density_is_the_density_at_the_draw(family, dim):
    q = posterior(family, dim, 0.4, 0.8, torch.randn(1, dim, generator=generator()) / dim**0.5)
    z, log_q = q.rsample_and_log_prob(50, generator=generator())
    torch.testing.assert_close(q.log_prob(z), log_q, rtol=1e-6, atol=1e-6)


@FAMILIES
def test_a_mean_away_from_the_origin_moves_the_density_there(family):
    """An isometry preserves volume: q(z; mean) is q(-mean + z; 0)."""
    mean = torch.randn(1, 3, generator=generator(), dtype=torch.float64)
    moved, still = posterior(family, 3, 0.7, 1.2, mean), posterior(family, 3, 0.7, 1.2)
    z = torch.randn(1, 20, 3, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(moved.log_prob(z), still.log_prob(hyperbolic_translate(-mean, z, 1.2)))


def test_the_wrapped_normal_is_a_gaussian_in_tangent_space():
    """By its definition: the volume of the exponential map divides the Gaussian's density."""
    tangent = torch.randn(1, 9, 4, generator=generator(), dtype=torch.float64)
    log_var = torch.tensor([[0.1, -0.5, 0.3, 0.0]], dtype=torch.float64)
    q = WrappedNormal(torch.zeros(1, 4, dtype=torch.float64), log_var, 0.6)
    flat = MultivariateNormal(torch.zeros(4, dtype=torch.float64), log_var[0].exp().diag()).log_prob(tangent)
    r = sqrt(0.6) * tangent.norm(dim=-1)
    torch.testing.assert_close(q.centred_log_prob(tangent), flat - 3 * (r.sinh() / r).log())


@NAMES
@pytest.mark.parametrize("dim", [2, 16, 64, 256])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2])
def test_loss_and_gradients_are_finite_everywhere(name, dim, scale):
    for size in (0.0, 1.0, 1e3):
        model = build(latent_dim=dim, posterior=name, prior=name)
        with torch.no_grad():
            model.head.weight[:dim] *= size
            model.head.bias[:dim] *= size
            model.head.bias[dim:] = 2 * log(scale)
        out = model(X, generator=generator())
        out.loss.backward()
        assert out.loss.isfinite() and out.latents.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters())


@NAMES
@pytest.mark.parametrize("dim", [2, 16, 256])
def test_the_posterior_at_the_prior_costs_nothing(name, dim):
    model = build(latent_dim=dim, posterior=name, prior=name, prior_scale=0.7)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias[:dim] = 0
        model.head.bias[dim:] = 2 * log(0.7)
    assert model(X).losses["kl"].abs() < 1e-3 * dim


@NAMES
def test_the_kl_is_positive_on_average_between_families(name):
    model = build(posterior=name, prior="riemannian_normal" if name == "wrapped_normal" else "wrapped_normal").double()
    kl = torch.stack([model(X.double(), generator=generator(seed)).losses["kl"] for seed in range(200)])
    assert kl.mean() > 3 * kl.std() / 200**0.5


@NAMES
def test_the_likelihood_is_the_integral_over_the_plane(name):
    model = build(latent_dim=2, posterior=name, prior=name, prior_scale=0.5).double()
    x = X.double()
    line = torch.linspace(-5, 5, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    log_p = torch.cat([model.log_prob(x[:1], part.unsqueeze(0))[0] for part in grid.split(20_000)], 1)[0]
    joint = log_p + model.prior_log_prob(grid.unsqueeze(0))[0] + log_sinhc(grid.norm(dim=-1))
    exact = joint.logsumexp(0) + 2 * log(10 / 400) + model.likelihood.constant()
    estimate = model.log_likelihood(x[:1], 20_000, generator=generator(), batch_size=20_000)
    torch.testing.assert_close(estimate, exact.detach().view(1), atol=0.02, rtol=0)


@NAMES
def test_draws_of_the_prior_have_its_radius(name):
    model = build(latent_dim=4, prior=name, prior_scale=0.8)
    z = model.sample_prior(20_000, generator())
    mean = z.norm(dim=-1).mean().item()
    r = np.linspace(1e-6, 15, 20_001)
    stretch = 1 if name == "wrapped_normal" else (np.sinh(r) / r) ** 3
    density = np.exp(-(r**2) / (2 * 0.64)) * r**3 * stretch
    assert mean == pytest.approx(np.trapezoid(r * density, r) / np.trapezoid(density, r), rel=0.01)
    assert z.mean(0).abs().max() < 0.1


def test_interpolation_is_along_geodesics():
    model = build(curvature=0.7).double()
    a, b = model.embed(X[:2].double()) * 20, model.embed(X[2:].double()) * 20
    path = model.interpolate_latents(a, b, torch.linspace(0, 1, 7, dtype=torch.float64))
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    steps = hyperbolic_distance(path[:, 1:], path[:, :-1], 0.7)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), rtol=1e-6, atol=1e-9)


def test_points_of_the_ball():
    model = build(curvature=4.0)
    latents = torch.randn(100, 3) * 3
    ball = model.to_ball(latents)
    assert ball.norm(dim=-1).max() <= 0.5
    torch.testing.assert_close(ball[0], torch.tanh(latents[0].norm()) / 2 * latents[0] / latents[0].norm())


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 7.0, 100.0])
def test_the_riemannian_normaliser_in_closed_form(scale):
    """(2 pi)^(3/2) s / 2 times e^(s^2 / 2) erf(s / sqrt 2) in two dimensions, and e^(2 s^2) - 1 in three."""
    s = mpmath.mpf(scale)
    factors = {2: mpmath.exp(s**2 / 2) * mpmath.erf(s / mpmath.sqrt(2)), 3: mpmath.expm1(2 * s**2)}
    for dim, factor in factors.items():
        found = -posterior(RiemannianNormal, dim, scale).centred_log_prob(torch.zeros(1, dim).double()).item()
        exact = float(mpmath.log((2 * mpmath.pi) ** 1.5 * s / 2 * factor))
        assert found == pytest.approx(exact, rel=1e-12, abs=1e-12)


@pytest.fixture
def quantiles(monkeypatch):
    """Radii are drawn at these values of their distribution function, in place of random ones."""
    u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    monkeypatch.setattr(hyperbolic_posteriors, "rand", lambda shape, like, generator: u.to(like).expand(shape))
    return u


@pytest.mark.parametrize("dim", [1, 2, 16, 256])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 3.0, 100.0])
def test_radii_follow_their_distribution_function(quantiles, dim, scale):
    q = posterior(RiemannianNormal, dim, scale)
    r = q.rsample(2000, generator=generator())[0].norm(dim=-1)
    low, high = (edge.item() for edge in q._bounds())
    grid = torch.linspace(low, high, 40_001, dtype=torch.float64).clamp(min=1e-12 * scale)
    volume = log_sphere_area(dim) + (dim - 1) * (grid.log() + log_sinhc(grid))
    log_p = volume - 0.5 * (grid / scale).square() + q.centred_log_prob(torch.zeros(1, dim).double())
    cdf = integrate.cumulative_simpson(log_p.exp().numpy(), x=grid.numpy(), initial=0)
    np.testing.assert_allclose(np.interp(r, grid, cdf), quantiles, atol=1e-6)


@pytest.mark.parametrize("dim", [1, 2, 16, 256])
@pytest.mark.parametrize("scale", [1e-2, 1.0, 20.0])
def test_each_quantile_of_the_radius_has_its_gradient(quantiles, dim, scale):
    """By differences of the draws themselves."""

    def radii(log_var):
        q = RiemannianNormal(torch.zeros(1, dim).double(), log_var, 1.3)
        return q.sample_tangents((2000,), generator()).norm(dim=-1)[0, ::97]

    at, step = torch.full((1, 1), 2 * log(scale), dtype=torch.float64), 1e-3
    difference = (radii(at + step) - radii(at - step)) / (2 * step)
    slope = torch.autograd.functional.jacobian(radii, at).flatten()
    torch.testing.assert_close(slope, difference, rtol=2e-4, atol=1e-5 * scale)


@FAMILIES
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_draws_and_density_are_of_one_distribution(family, dim):
    """E_q[f p / q] is E_p[f]: for f = 1, z and z^2, and another density p."""
    mean = 0.6 * torch.randn(1, dim, generator=generator())
    q, p = posterior(family, dim, 0.7, mean=mean), posterior(WrappedNormal, dim, 0.5, mean=mean + 0.2)
    z, log_q = q.rsample_and_log_prob(40_000, generator=generator())
    own, weights = p.rsample(40_000, generator=generator(1)), (p.log_prob(z) - log_q).exp().unsqueeze(-1)
    for f in (torch.ones_like, torch.clone, torch.square):
        error = 5 * ((weights * f(z)).std(1) + f(own).std(1)) / 200
        assert (((weights * f(z)).mean(1) - f(own).mean(1)).abs() < error).all()


@FAMILIES
def test_gradients_reach_the_mean_and_the_scale(family):
    """That of a mean over draws is that of the integral, here of the log of another density over the plane."""
    radius, angle = torch.linspace(0, 9, 1201).double()[1:], torch.arange(240).double() * (2 * pi / 240)
    points = torch.cartesian_prod(radius, angle)
    volume = (log_sinhc(points[:, 0]).exp() * points[:, 0]).mul(radius[0] * 2 * pi / 240)
    points = (points[:, :1] * torch.stack([points[:, 1].cos(), points[:, 1].sin()], -1)).unsqueeze(0)
    other = posterior(WrappedNormal, 2, 1.5, mean=torch.tensor([[-0.3, 0.5]]))

    def by_draws(mean, log_var):
        return other.log_prob(family(mean, log_var, 1.0).rsample(40_000, generator=generator())).mean()

    def by_quadrature(mean, log_var):
        return (family(mean, log_var, 1.0).log_prob(points).exp() * other.log_prob(points) * volume).sum()

    at = torch.tensor([[0.5, 0.2]]).double(), torch.tensor([[2 * log(0.6)]]).double()
    torch.testing.assert_close(by_draws(*at), by_quadrature(*at), atol=0.02, rtol=0)
    slopes = (torch.autograd.functional.jacobian(f, at) for f in (by_draws, by_quadrature))
    for found, exact in zip(*slopes, strict=True):
        torch.testing.assert_close(found, exact, atol=0.02, rtol=0)


@FAMILIES
def test_gradients_at_a_mean_of_zero_are_those_beside_it(family):
    direction = torch.randn(5, 4, generator=generator(1), dtype=torch.float64)

    def gradient(at):
        mean = torch.full((1, 4), at, dtype=torch.float64, requires_grad=True)
        z = posterior(family, 4, 1.0, mean=mean).rsample(5, generator=generator())
        return torch.autograd.grad((z * direction).sum(), mean)[0]

    assert gradient(0.0).abs().min() > 1e-3
    torch.testing.assert_close(gradient(0.0), gradient(1e-7), rtol=1e-5, atol=1e-5)


def test_a_flat_space_has_the_gradients_of_the_vae():
    """With a KL of one draw: those of IWAE(1), with the same noise. Densities are then Gaussian in both families."""
    flat, iwae = build(curvature=1e-12).double(), IWAE.build(num_samples=1).double()
    flat.load_state_dict(iwae.state_dict())
    losses = (model(X.double(), generator=generator()).loss for model in (flat, iwae))
    slopes = [
        torch.autograd.grad(loss, list(model.parameters())) for loss, model in zip(losses, (flat, iwae), strict=True)
    ]
    for found, exact in zip(*slopes, strict=True):
        torch.testing.assert_close(found, exact)
    z = torch.randn(1, 50, 4, generator=generator(), dtype=torch.float64)
    for family in (WrappedNormal, RiemannianNormal):
        exact = MultivariateNormal(torch.ones(4).double(), 0.36 * torch.eye(4).double()).log_prob(z)
        torch.testing.assert_close(posterior(family, 4, 0.6, 1e-12, torch.ones(1, 4)).log_prob(z), exact)


@NAMES
def test_single_precision_agrees_with_double(name):
    model = build(latent_dim=64, posterior=name, prior=name)
    q = model.encode(X)
    z, log_q = q.rsample_and_log_prob(generator=generator())
    assert z.dtype == log_q.dtype == torch.float32
    exact = type(q)(q.mean.double(), q.log_var.double(), 1.0).log_prob(z.double())
    torch.testing.assert_close(log_q.double(), exact, rtol=1e-4, atol=1e-2)


def test_the_riemannian_normal_keeps_the_contract(tmp_path):
    """What the row of cases.py, of the wrapped one, does not reach."""
    model = build(posterior="riemannian_normal", prior="riemannian_normal")
    torch._dynamo.reset()
    torch.manual_seed(1)
    expected = model(X).loss
    torch.manual_seed(1)
    torch.testing.assert_close(torch.compile(model, backend="eager", fullgraph=True)(X).loss, expected)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(X)
    out.loss.backward()
    assert out.loss.dtype == out.latents.dtype == torch.float32 and out.loss.isfinite()
    model.save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path)
    assert torch.equal(again(X, generator=generator()).loss, model.eval()(X, generator=generator()).loss)
    assert again.double()(X.double()).loss.dtype == torch.float64


def test_the_log_shows_how_far_the_means_are():
    model = build()
    torch.testing.assert_close(model(X).metrics["radius"], model.embed(X).norm(dim=-1).mean())


@pytest.mark.parametrize("fields", [{"curvature": 0}, {"prior_scale": 0}, {"posterior": "normal"}, {"prior": "vmf"}])
def test_bad_fields_are_named(fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        PoincareVAEConfig(**fields)
