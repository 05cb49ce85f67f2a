"""What each sampler promises, by mathematics: known densities, closed forms, stationarity, causality."""

import pytest
import torch
import torch.nn.functional as F
from cases import METRIC, ROWS, generator, images
from scipy.stats import kstest

from gae_hub import (
    AutoSampler,
    EmpiricalSampler,
    GaussianMixtureSampler,
    IAFSampler,
    KernelDensitySampler,
    MAFSampler,
    NeuralSplineSampler,
    PixelCNNSampler,
    PriorSampler,
    RHVAEManifoldSampler,
    TwoStageVAESampler,
)
from gae_hub.metrics import energy_distance
from gae_hub.modules.riemannian_metric import RiemannianMetric


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


def plane(side=8.0, steps=401):
    axis = torch.linspace(-side, side, steps, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2


# Known densities: what is fitted is nearly as near to fresh data as other fresh data is


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


BRIEF = {"learning_rate": 5e-3, "progress": False}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2}


DENSITIES = [two_rings, three_clusters, two_moons, sphere, disc]
RECOVERED = {  # how it is built and trained, and what it recovers: small affine flows want more time for two rings
    "gaussian_mixture": (lambda: GaussianMixtureSampler(num_components=15), {}, DENSITIES),
    "kernel_density": (KernelDensitySampler, {}, DENSITIES),
    "empirical": (EmpiricalSampler, {}, DENSITIES),
    "neural_spline": (lambda: NeuralSplineSampler(**SMALL), {"num_train_epochs": 20, **BRIEF}, DENSITIES),
    "maf": (lambda: MAFSampler(num_flows=5, **SMALL), {"num_train_epochs": 40, **BRIEF}, DENSITIES[1:]),
    "iaf": (lambda: IAFSampler(num_flows=5, **SMALL), {"num_train_epochs": 40, **BRIEF}, DENSITIES[1:3]),
}


@pytest.mark.parametrize(("name", "make"), [(name, make) for name, row in RECOVERED.items() for make in row[2]])
def test_known_densities_are_recovered(name, make):
    build, training, _ = RECOVERED[name]
    data, fresh = make(1500, 0), make(1500, 10)

    def distance(draw):
        """To fresh data, the mean over eight draws: one varies as much as what is asked."""
        return sum(energy_distance(draw(seed), fresh) for seed in range(100, 108)) / 8

    floor = distance(lambda seed: make(1500, seed))
    gaussian = GaussianMixtureSampler(num_components=1).fit(data)
    plain = distance(lambda seed: gaussian.sample(1500, generator(seed)))
    sampler = build().fit(data, **training)
    found = distance(lambda seed: sampler.sample(1500, generator(seed)))
    assert found < abs(floor) + 0.2 * (plain - floor) and found < 0.4 * plain


# Gaussian mixtures


@pytest.mark.parametrize("kind", ["full", "diag", "tied"])
def test_expectation_maximisation_is_that_of_scikit_learn(kind):
    """From the same start on well separated clusters, both end at the same maximum."""
    centres = 6 * noise(3, 4, seed=1)
    data = centres[torch.arange(900) % 3] + noise(900, 4) @ (torch.eye(4) + 0.3 * noise(4, 4, seed=2))
    fields = {"num_components": 3, "covariance_type": kind, "tolerance": 1e-8}
    ours, theirs = (
        GaussianMixtureSampler(solver=solver, **fields).fit(data.double()) for solver in ("torch", "sklearn")
    )
    order = [s.means[:, 0].argsort() for s in (ours, theirs)]
    torch.testing.assert_close(ours.weights[order[0]], theirs.weights[order[1]], atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.means[order[0]], theirs.means[order[1]], atol=1e-3, rtol=0)
    torch.testing.assert_close(ours.log_prob(data), theirs.log_prob(data), atol=1e-2, rtol=0)


@pytest.mark.parametrize("kind", ["full", "diag", "tied"])
def test_a_mixture_is_a_density(kind):
    sampler = GaussianMixtureSampler(num_components=3, covariance_type=kind).fit(noise(200, 2)).double()
    points, area = plane()
    torch.testing.assert_close((sampler.log_prob(points).exp().sum() * area).item(), 1.0, atol=1e-4, rtol=0)
    expected = torch.zeros(5, dtype=torch.float64)
    for k, (weight, mean) in enumerate(zip(sampler.weights, sampler.means, strict=True)):
        scale = sampler.scales[0 if kind == "tied" else k]
        scale = scale.diag() if kind == "diag" else scale
        own = torch.distributions.MultivariateNormal(mean, scale_tril=scale)
        expected += weight * own.log_prob(points[:5]).exp()
    torch.testing.assert_close(sampler.log_prob(points[:5]), expected.log())
    drawn = sampler.sample(40_000, generator())
    mean = (sampler.weights[:, None] * sampler.means).sum(0)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.03, rtol=0)


def test_bic_finds_how_many_components_there_are():
    centres = torch.tensor([[-5.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    data = centres[torch.arange(600) % 3] + noise(600, 2)
    for solver in ("sklearn", "torch"):
        sampler = GaussianMixtureSampler(num_components=[1, 2, 3, 4, 6], solver=solver).fit(data)
        assert sampler.config.num_components == 3 and min(sampler.criteria, key=sampler.criteria.get) == 3


@pytest.mark.parametrize("kind", ["full", "diag", "tied"])
@pytest.mark.parametrize("has_float64", [True, False])
def test_far_clusters_lose_no_digits(kind, has_float64, monkeypatch):
    """Variances of 0.01 about means of +-100, in float32; also on a device that has no float64 to add up in."""
    if not has_float64:
        monkeypatch.setattr("gae_hub.samplers.gaussian_mixture.to_float64", lambda tensor: tensor)
    centres = torch.tensor([[100.0, 100.0, -100.0], [-100.0, 100.0, 100.0]])
    data = centres[torch.arange(2000) % 2] + 0.1 * noise(2000, 3)
    fields = {"num_components": 2, "covariance_type": kind}
    ours, theirs = (GaussianMixtureSampler(solver=solver, **fields).fit(data) for solver in ("torch", "sklearn"))
    order = [s.means[:, 0].argsort() for s in (ours, theirs)]
    torch.testing.assert_close(ours.means[order[0]], theirs.means[order[1]], atol=1e-4, rtol=0)
    scales = [s.scales if kind == "tied" else s.scales[own] for s, own in zip((ours, theirs), order, strict=True)]
    torch.testing.assert_close(scales[0], scales[1], atol=1e-4, rtol=1e-3)
    log_p = ours.log_prob(data)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p.double(), ours.double().log_prob(data), atol=0.01, rtol=0)


def test_latents_in_a_plane_are_named():
    data = 1e6 * noise(200, 1) @ noise(1, 5, seed=1)
    with pytest.raises(ValueError, match=r"latents lie in a plane\): raise covariance_regularization, which is 1e-06"):
        GaussianMixtureSampler(num_components=1, solver="torch").fit(data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_a_mixture_of_many_large_latents(kind, monkeypatch):
    """50,000 x 256, by expectation maximisation on the device, as "auto" chooses, finds the clusters."""
    monkeypatch.setattr("sklearn.mixture.GaussianMixture.fit", lambda *args: pytest.fail("by scikit-learn"))
    centres = 3 * noise(2, 256, seed=1)
    data = centres[torch.arange(50_000) % 2] + noise(50_000, 256)
    sampler = GaussianMixtureSampler(num_components=2, covariance_type=kind, num_iterations=3).fit(data)
    order = sampler.means[:, 0].argsort()
    torch.testing.assert_close(sampler.means[order], centres[centres[:, 0].argsort()], atol=0.05, rtol=0)
    covariances = sampler.scales @ sampler.scales.mT
    torch.testing.assert_close(covariances, torch.eye(256).expand_as(covariances), atol=0.05, rtol=0)
    drawn = sampler.sample(2000, generator())
    assert energy_distance(drawn, data[:2000]) < 0.01


# Kernel density


def test_a_kernel_density_is_one_and_knows_its_width():
    points, area = plane()
    sampler = KernelDensitySampler().fit(noise(300, 2)).double()
    torch.testing.assert_close((sampler.log_prob(points).exp().sum() * area).item(), 1.0, atol=1e-4, rtol=0)
    scott = KernelDensitySampler(bandwidth="scott").fit(noise(300, 2))
    torch.testing.assert_close(scott.width.item(), 300 ** (-1 / 6))
    assert 0.5 < sampler.width / scott.width < 2  # for a Gaussian, likelihood agrees with Scott's rule
    heaps = noise(30, 2)[torch.arange(300) % 30] + 0.003 * noise(300, 2, seed=1)
    assert KernelDensitySampler().fit(heaps).width < 0.02 < KernelDensitySampler(bandwidth="scott").fit(heaps).width
    spread = KernelDensitySampler(bandwidth=0.5).fit(noise(500, 2)).sample(50_000, generator())
    torch.testing.assert_close(spread.var(0), 1.25 * noise(500, 2).var(0), atol=0.05, rtol=0)


def test_the_width_is_the_most_likely_of_the_others():
    """Against leaving each out by hand."""
    data = noise(40, 2, dtype=torch.float64)
    sampler = KernelDensitySampler().fit(data)
    std = data.std(0, correction=0)

    def left_out(h):
        kernels = torch.distributions.Normal(0.0, h)
        each = kernels.log_prob((data[:, None] - data) / std).sum(-1).fill_diagonal_(-torch.inf)
        return each.logsumexp(1).sum()

    widths = torch.logspace(-3, 0.5, 60, dtype=torch.float64)
    best = widths[torch.stack([left_out(h) for h in widths]).argmax()]
    torch.testing.assert_close(sampler.width.double(), best, atol=1e-6, rtol=1e-5)


def test_the_empirical_sampler_draws_rows_alike():
    data = noise(10, 3)
    drawn = EmpiricalSampler().fit(data).sample(20_000, generator())
    counts = (drawn[:, None] == data).all(-1).sum(0)
    assert counts.sum() == 20_000 and (counts - 2000).abs().max() < 200


# Flows


@pytest.mark.parametrize("build", [MAFSampler, IAFSampler, NeuralSplineSampler])
def test_a_flow_is_a_density_and_draws_from_it(build):
    """It integrates to one, and its draws follow it: their mean negative log density is the entropy of the grid."""
    sampler = build(hidden_size=16, num_hidden_layers=1, batch_norm=build is MAFSampler)
    data = torch.cat([0.5 * noise(200, 2) + 1, 0.5 * noise(200, 2, seed=1) - 1])
    sampler.fit(data, num_train_epochs=3, learning_rate=1e-2, progress=False).double()
    points, area = plane()
    log_p = sampler.log_prob(points)
    torch.testing.assert_close((log_p.exp().sum() * area).item(), 1.0, atol=2e-3, rtol=0)
    entropy = -(log_p.exp() * log_p).sum() * area
    drawn = -sampler.log_prob(sampler.sample(20_000, generator())).mean()
    torch.testing.assert_close(drawn, entropy, atol=0.05, rtol=0)


def test_a_maf_finds_a_gaussian():
    """Its best density is the Gaussian of the data, whose likelihood is known."""
    scale = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.5, 0.3, 2.0]])
    data, fresh = (noise(n, 3, seed=seed) @ scale.T + 3 for n, seed in ((2000, 0), (4000, 1)))
    sampler = MAFSampler(hidden_size=16, num_hidden_layers=1)
    sampler.fit(data, num_train_epochs=15, learning_rate=1e-2, progress=False)
    truth = torch.distributions.MultivariateNormal(torch.full((3,), 3.0), scale_tril=scale).log_prob(fresh).mean()
    torch.testing.assert_close(sampler.log_prob(fresh).mean(), truth, atol=0.04, rtol=0)


def test_batch_norm_survives_a_reload_and_the_order_is_reversed(tmp_path):
    sampler = MAFSampler(batch_norm=True, hidden_size=16, num_hidden_layers=1, order="random")
    sampler.fit(noise(200, 5) * 3 + 1, num_train_epochs=2, progress=False)
    steps = sampler.flow.steps
    assert (
        steps[1].made.order == sampler.config.drawn_order and steps[3].made.order == sampler.config.drawn_order[::-1]
    )
    sampler.save_pretrained(tmp_path)
    again, z = AutoSampler.from_pretrained(tmp_path), noise(20, 5)
    torch.testing.assert_close(again.log_prob(z), sampler.log_prob(z))
    again.train()
    torch.testing.assert_close(again.log_prob(z), sampler.log_prob(z))  # in eval mode, whatever the mode
    u, _ = sampler.flow(z)
    torch.testing.assert_close(sampler.flow.inverse(u)[0], z, atol=1e-4, rtol=1e-4)


def test_training_goes_through_the_trainer(tmp_path):
    """Early stopping, the best weights, the log of terms, and a resume to the same weights."""
    from transformers import EarlyStoppingCallback

    from gae_hub import GAETrainingArguments

    def fit(folder, **more):
        fields = {"num_train_epochs": 4, "disable_tqdm": True, "report_to": "none", "logging_steps": 1, **more}
        args = GAETrainingArguments(str(tmp_path / folder), **fields)
        sampler = MAFSampler(hidden_size=8, num_hidden_layers=1)
        return sampler, args

    data, held_out = noise(200, 2), noise(100, 2, seed=1)
    sampler, args = fit("whole")
    sampler.fit(data, validation_latents=held_out, args=args)
    losses = [entry["eval_loss"] for entry in sampler.log_history if "eval_loss" in entry]
    assert len(losses) == 4 and "negative_log_likelihood" in sampler.log_history[0]
    torch.testing.assert_close(-sampler.log_prob(held_out).mean().item(), min(losses), atol=1e-4, rtol=0)
    resumed, args = fit("whole")
    checkpoint = sorted((tmp_path / "whole").glob("checkpoint-*"))[0]
    resumed.fit(data, validation_latents=held_out, args=args, resume_from_checkpoint=str(checkpoint))
    assert torch.equal(resumed.log_prob(held_out), sampler.log_prob(held_out))
    stopped, args = fit("stopped", num_train_epochs=50, learning_rate=0.3)
    stopped.fit(data, validation_latents=held_out, args=args, callbacks=[EarlyStoppingCallback(2)])
    assert sum("eval_loss" in entry for entry in stopped.log_history) < 50
    with pytest.raises(ValueError, match="give num_train_epochs in args, or no args"):
        stopped.fit(data, args=args, num_train_epochs=2)


# Two-stage VAE


def test_the_two_stage_vae_finds_a_bimodal_density_on_which_an_unscaled_loss_collapses():
    """Two modes at +-1 in each of four dimensions, unit variance: without the scale in the loss, the KL wins."""

    def data(num, seed):
        sign = torch.randint(0, 2, (num, 1), generator=generator(seed)) * 2.0 - 1
        return sign * torch.ones(4) * 0.95 + 0.3 * noise(num, 4, seed=seed + 100)

    class Unscaled(TwoStageVAESampler):  # the loss of the reference implementation
        def forward(self, latents, return_loss=True):
            z, _ = self.standardization(latents)
            posterior = self.encode(z)
            moved = self.decode(posterior.rsample()) + self.scale.log_scale.exp() * torch.randn_like(z)
            return self.build_output(
                {"reconstruction": 0.5 * (z - moved).square().sum(-1), "kl": posterior.kl()}, return_loss
            )

    fresh = data(1500, 1)
    distances = []
    for build in (TwoStageVAESampler, Unscaled):
        sampler = build(hidden_sizes=[32, 32]).fit(
            data(2000, 0), num_train_epochs=50, learning_rate=5e-3, progress=False
        )
        drawn = sampler.sample(1500, generator())
        distances.append(energy_distance(drawn, fresh))
        if build is TwoStageVAESampler:
            torch.testing.assert_close(drawn.std(0), fresh.std(0), atol=0.12, rtol=0)
            assert (drawn.mean(1).abs() > 0.5).float().mean() > 0.75  # few between the modes
    assert distances[0] < 0.03 and distances[0] < 0.5 * distances[1]


def test_the_scale_of_the_two_stage_vae_is_the_error():
    """At the optimum of the loss, gamma^2 is the mean square error."""
    sampler = TwoStageVAESampler(hidden_sizes=[16]).fit(noise(500, 3), num_train_epochs=1, progress=False).double()
    z = noise(200, 3, dtype=torch.float64)

    def loss(log_scale):
        with torch.no_grad():
            sampler.scale.log_scale.fill_(log_scale)
            torch.manual_seed(0)
            return sampler(z).loss.item()

    with torch.no_grad():
        torch.manual_seed(0)
        standard = sampler.standardization(z)[0]
        posterior = sampler.encode(standard)
        best = (standard - sampler.decode(posterior.rsample())).square().mean().log().item() / 2
    assert loss(best) < min(loss(best - 0.01), loss(best + 0.01))


# Priors


@pytest.mark.parametrize("name", ["vae", "svae", "vamp", "poincare_vae", "rhvae", "flow_prior_vae"])
def test_the_prior_is_the_models_to_the_bit(name, tmp_path):
    model = ROWS[name].build()
    sampler = PriorSampler().fit_to(model)
    assert torch.equal(sampler.sample(50, generator()), model.sample_prior(50, generator()))
    sampler.save_pretrained(tmp_path)
    assert torch.equal(
        AutoSampler.from_pretrained(tmp_path).sample(50, generator()), model.sample_prior(50, generator())
    )
    assert model.training


def test_the_mixture_prior_draws_components_by_chance():
    """More draws than components, and fewer: counts are multinomial, and spreads those of the model."""
    model = ROWS["vamp"].build(num_components=4, latent_dim=2)
    sampler = PriorSampler().fit_to(model)
    with torch.no_grad():
        sampler.means.copy_(10 * torch.arange(4.0)[:, None].expand(4, 2))
        sampler.stds.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None].expand(4, 2))
    drawn = sampler.sample(8000, generator())
    component = (drawn[:, 0] / 10).round().long()
    counts = component.bincount(minlength=4)
    assert (counts - 2000).abs().max() < 5 * (8000 * 3 / 16) ** 0.5 and (counts != 2000).any()
    stds = torch.stack([drawn[component == k, 1].std() for k in range(4)])
    torch.testing.assert_close(stds, sampler.stds[:, 0], atol=0.02, rtol=0)


def test_the_sphere_is_uniform():
    """Coordinates of a uniform point of the sphere in three dimensions are uniform on [-1, 1] (Archimedes)."""
    drawn = PriorSampler(prior="sphere").fit(torch.zeros(1, 3)).sample(5000, generator())
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(5000))
    direction = F.normalize(noise(3, seed=4), dim=0)
    assert all(kstest(x.numpy(), "uniform", (-1, 2)).pvalue > 1e-3 for x in (*drawn.T, drawn @ direction))


def test_the_disc_has_the_radii_of_its_density():
    """In the hyperbolic plane, radii of a Riemannian normal have density exp(-r^2 / 2) sinh(r), up to a constant."""
    sampler = PriorSampler(prior="riemannian_normal").fit(torch.zeros(1, 2))
    radii = sampler.sample(5000, generator()).norm(dim=1).double()
    grid = torch.linspace(0, 12, 4001, dtype=torch.float64)
    cdf = ((-grid.square() / 2).exp() * grid.sinh()).cumsum(0)
    cdf = cdf / cdf[-1]

    def cumulative(r):
        return cdf[torch.searchsorted(grid, torch.as_tensor(r)).clamp(max=4000)].numpy()

    assert kstest(radii.numpy(), cumulative).pvalue > 1e-3


def test_draws_of_a_fit_on_the_sphere_lie_on_it():
    model = ROWS["svae"].build()
    for sampler in (GaussianMixtureSampler(num_components=2), KernelDensitySampler(), EmpiricalSampler()):
        drawn = sampler.fit_to(model, images(40)).sample(30, generator())
        torch.testing.assert_close(drawn.norm(dim=1), torch.ones(30))


def test_a_prior_of_a_mixture_needs_the_model():
    with pytest.raises(ValueError, match=r"a mixture is that of a model: use fit_to\(model\)"):
        PriorSampler(prior="mixture", num_components=2).fit(noise(5, 2))
    with pytest.raises(ValueError, match="prior 'flow' needs num_flows, got None"):
        PriorSampler(prior="flow", latent_dim=2)


# The manifold of RHVAE


def manifold(d=2, n=6, seed=0, **fields):
    """A sampler over a made metric, in float64."""
    config = RHVAEManifoldSampler.config_class(
        latent_dim=d, latent_shape=[d], num_centroids=n, temperature=0.8, metric_regularization=0.05, **fields
    )
    sampler = RHVAEManifoldSampler(config).double()
    factors = noise(n, d, d, seed=seed + 1, dtype=torch.float64).tril()
    sampler.centroids.copy_(noise(n, d, seed=seed, dtype=torch.float64))
    sampler.matrices.copy_(factors @ factors.mT)
    return sampler.eval()


def test_the_force_is_the_gradient_of_the_log_density():
    sampler = manifold(d=3)
    z = noise(7, 3, seed=5, dtype=torch.float64).requires_grad_()
    place = sampler.metric().at(z)
    (gradient,) = torch.autograd.grad(0.5 * place.inverse.logdet().sum(), z)
    torch.testing.assert_close(sampler.force(place), gradient)
    torch.testing.assert_close(-place.half_log_det(), 0.5 * place.inverse.logdet())


def grid_density(sampler):
    points, area = plane(6.0, 241)
    log_p = sampler.log_density(sampler.metric().at(points))
    p = log_p.exp()
    return points, p / p.sum(), area


def exact_draws(sampler, num, seed=0):
    """Draws from the density by rejection."""
    points, p, area = grid_density(sampler)
    chosen = torch.multinomial(p, num, replacement=True, generator=generator(seed))
    jitter = torch.rand(num, 2, generator=generator(seed + 1), dtype=torch.float64) - 0.5
    return points[chosen] + jitter * area.sqrt()


def test_a_transition_leaves_the_density_as_it_is():
    """Started from exact draws, chains end as exact draws; and they do move."""
    sampler = manifold()
    sampler.adapt()
    assert 0.6 < sampler.acceptance_rate < 0.95
    start = exact_draws(sampler, 1500)
    place = sampler.metric().at(start)
    g = generator(3)
    for _ in range(6):
        place, _ = sampler.transition(place, sampler.step_size, g)
    fresh, floor = exact_draws(sampler, 1500, seed=7), energy_distance(start, exact_draws(sampler, 1500, seed=9))
    assert energy_distance(place.z, fresh) < max(3 * floor, 0.012)
    assert (place.z - start).norm(dim=1).mean() > 0.3


def test_chains_reach_the_density_from_the_centroids():
    sampler = manifold(num_steps=40, num_leapfrog_steps=8)
    sampler.adapt()
    drawn, fresh = sampler.sample(1200, generator()), exact_draws(sampler, 1200, seed=7)
    start = sampler.centroids[torch.arange(1200) % 6]
    assert energy_distance(drawn, fresh) < 0.012 < energy_distance(start, fresh)
    assert 0.6 < sampler.acceptance_rate < 0.95 and sampler.log_density(sampler.metric().at(drawn)).isfinite().all()


def test_a_vector_in_place_of_the_trace_is_no_gradient_and_is_refused_more():
    """Our force is autograd's gradient of the density's definition. The reference's, which has the vector
    G M_i (c_i - z) where the gradient has tr(G M_i) (c_i - z), is not, and its proposals gain or lose energy."""
    sampler = manifold(d=8, n=20)
    centroids, matrices, temperature = sampler.centroids, sampler.matrices, sampler.config.temperature
    start = sampler.start(200, generator()).z
    z = (start + 0.3 * noise(*start.shape, seed=2, dtype=torch.float64)).requires_grad_()
    weights = (-(z.unsqueeze(1) - centroids).square().sum(-1) / temperature**2).exp()
    inverse = torch.einsum("bn,nij->bij", weights, matrices) + sampler.config.metric_regularization * torch.eye(8)
    (gradient,) = torch.autograd.grad(0.5 * inverse.logdet().sum(), z)

    def reference(place):
        pulled = torch.einsum("bn,nij,bnj->bi", place.weights, matrices, centroids - place.z.unsqueeze(1))
        return torch.linalg.solve(place.inverse, pulled) / temperature**2

    place = sampler.metric().at(z.detach())
    torch.testing.assert_close(sampler.force(place), gradient)
    assert (reference(place) - gradient).norm() > 0.5 * gradient.norm()
    step = torch.tensor(0.25, dtype=torch.float64)
    right = sampler.transition(place, step, generator(1))[1].mean()
    sampler.force = reference
    wrong = sampler.transition(place, step, generator(1))[1].mean()
    assert wrong < right - 0.05


def test_the_manifold_sampler_takes_the_model_metric(tmp_path):
    model = METRIC.build()
    model.train()(images(12))
    fields = {"num_steps": 3, "num_leapfrog_steps": 3, "num_warmup_steps": 10, "num_warmup_chains": 10}
    sampler = RHVAEManifoldSampler(**fields).fit_to(model)
    assert sampler.config.num_centroids == 12  # empty places of the queue are left out
    z = noise(5, 3)
    theirs: RiemannianMetric = model.metric()
    torch.testing.assert_close(sampler.metric().at(z).inverse, theirs.at(z).inverse)
    with pytest.raises(ValueError, match=r"draws from the metric of a model, and not from latents"):
        sampler.fit(z)


# PixelCNN


def pixel_cnn(levels=1, num_classes=None, shape=(4, 5), k=6, dtype=torch.float64):
    sampler = PixelCNNSampler(hidden_size=8, num_hidden_layers=3, kernel_size=3, num_classes=num_classes)
    codes = torch.randint(0, k, (30, *shape, levels), generator=generator())
    labels = None if num_classes is None else torch.arange(30) % num_classes
    books = noise(levels, k, 2, seed=1)
    sampler.fit(codes, books, labels=labels, num_train_epochs=1, progress=False)
    return sampler.to(dtype), codes, labels


@pytest.mark.parametrize("levels", [1, 2])
def test_a_place_sees_all_places_before_it_and_no_other(levels):
    """No blind spot, by the derivative of each place's logits by each place's embedded input."""
    sampler, codes, _ = pixel_cnn(levels, shape=(5, 4))
    height, width = codes.shape[1:3]
    inputs = sampler.embed(codes[:1]).detach().requires_grad_()
    sampler.embed = lambda codes: inputs
    logits = sampler.logits(codes[:1])[0].double()
    for row in range(height):
        for column in range(width):
            (seen,) = torch.autograd.grad(logits[row, column].square().sum(), inputs, retain_graph=True)
            seen = seen[0].abs().sum(0).flatten() > 0
            place = row * width + column
            assert not seen[place:].any()
            if place:
                reach = torch.tensor([r >= row - 3 for r in range(height) for _ in range(width)])[:place]
                assert seen[:place][reach].all()  # three layers reach three rows up, and three columns across


@pytest.mark.parametrize(("levels", "num_classes"), [(1, None), (3, None), (1, 4)])
def test_drawing_place_by_place_is_drawing_from_the_whole_network(levels, num_classes):
    """The cached draw gives what a pass for each place would."""
    sampler, codes, labels = pixel_cnn(levels, num_classes)
    labels = None if labels is None else labels[:7]
    drawn = sampler.draw_codes(7, generator(2), labels=labels)
    uniform = torch.rand(drawn.shape, generator=generator(2), dtype=torch.float64)
    slow = torch.zeros_like(drawn)
    with torch.no_grad():
        for row in range(4):
            for column in range(5):
                for level in range(levels):
                    p = sampler.logits(slow, labels)[:, row, column, level].softmax(-1).cumsum(-1)
                    slow[:, row, column, level] = (p < uniform[:, row, column, level, None] * p[:, -1:]).sum(-1)
    assert torch.equal(drawn, slow)


def test_probabilities_of_all_maps_sum_to_one():
    sampler, *_ = pixel_cnn(levels=2, shape=(1, 2), k=3)
    every = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, 1, 2, 2)
    torch.testing.assert_close(sampler.code_log_prob(every).exp().sum().item(), 1.0)
    drawn = sampler.draw_codes(20_000, generator()).flatten(1)
    index = (drawn * torch.tensor([27, 9, 3, 1])).sum(1)
    shares = index.bincount(minlength=81).double() / 20_000
    assert (shares - sampler.code_log_prob(every).exp()).abs().max() < 0.012


def test_pixel_cnn_learns_what_depends_on_what():
    """Each map is one row of codes c, c + 1, c + 2 (mod 5): one choice, and the rest follows."""
    first = torch.randint(0, 5, (400, 1, 1), generator=generator())
    codes = (first + torch.arange(3)) % 5
    labels = (first.flatten() < 2).long()
    sampler = PixelCNNSampler(hidden_size=16, num_hidden_layers=2, kernel_size=3, num_classes=2)
    sampler.fit(codes, noise(5, 2), labels=labels, num_train_epochs=25, learning_rate=1e-2, progress=False)
    drawn = sampler.draw_codes(500, generator())[:, 0, :, 0]
    assert ((drawn - drawn[:, :1]) % 5 == torch.arange(3)).all(1).float().mean() > 0.95
    of_class = sampler.draw_codes(300, generator(), labels=1)[:, 0, 0, 0]
    assert (of_class < 2).float().mean() > 0.97
    expected = {0: 3, 1: 2}
    for label, count in expected.items():
        own = codes[labels == label]
        entropy = -sampler.code_log_prob(own, torch.full((len(own),), label)).mean()
        assert abs(entropy - torch.tensor(float(count)).log()) < 0.12
    latents = sampler.sample(4, generator(), labels=torch.tensor([0, 1, 0, 1]))
    assert latents.shape == (4, 2, 1, 3)


@pytest.mark.parametrize("name", ["vq_vae", "hrq_vae"])
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_pixel_cnn_draws_latents_of_the_models_codes(name, network, tmp_path):
    """Maps and single codes; the model decodes them as they are."""
    networks = {"encoder_config": network, "decoder_config": network}
    model = ROWS[name].build(**networks)
    model.train()(images(64))
    model.eval()
    sampler = PixelCNNSampler(hidden_size=8, num_hidden_layers=1)
    sampler.fit_to(model, images(30), images(8), num_train_epochs=1, progress=False)
    drawn = sampler.sample(5, generator())
    assert drawn.shape == (5, *model.latent_shape)
    codes = sampler.draw_codes(5, generator())
    codes = codes if name == "hrq_vae" else codes[..., 0]
    codes = codes if network == "conv" else codes[:, 0, 0]
    torch.testing.assert_close(drawn, model.lookup(codes))
    torch.testing.assert_close(model.generate(5, sampler, generator()), model.decode_codes(codes))


def test_pixel_cnn_names_what_is_wrong():
    books, codes = noise(5, 2), torch.zeros(4, 2, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"codes must be integers \(num\[, height, width\]\), got shape \(4, 2\)"):
        PixelCNNSampler().fit(codes[:, 0], books)
    with pytest.raises(ValueError, match=r"codes must lie in \[0, 5\)"):
        PixelCNNSampler().fit(codes + 5, books)
    with pytest.raises(ValueError, match="num_classes is 3, but there are no labels"):
        PixelCNNSampler(num_classes=3).fit(codes, books)
    with pytest.raises(ValueError, match=r"labels must be integers in \[0, 3\), got \[7\]"):
        PixelCNNSampler(num_classes=3).fit(codes, books, labels=torch.full((4,), 7))
    with pytest.raises(ValueError, match="fitted without labels"):
        pixel_cnn()[0].draw_codes(2, labels=1)
    with pytest.raises(Exception, match="kernel_size must be odd, got 4"):
        PixelCNNSampler(kernel_size=4)
