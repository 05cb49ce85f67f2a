"""Flow-prior VAE: the prior's density and samples, the equivalent posterior, and the evidence; in float64."""

import pytest
import torch
from cases import NETWORKS, SHAPE, generator, images
from torch.autograd.functional import jacobian

from gae_hub import AutoSampler, FlowPriorVAEConfig, FlowPriorVAEModel, PriorSampler
from gae_hub.modules.autoregressive_steps import MaskedAutoregressiveStep
from gae_hub.modules.flow_posterior import FlowPosterior
from gae_hub.modules.posteriors import DiagonalGaussian, gaussian_log_prob

X = images(6).double()


def build(dtype=torch.float64, scale=3.0, **fields):
    """A model whose flow is far from the identity."""
    torch.manual_seed(0)
    own = {**NETWORKS, "input_shape": SHAPE, "latent_dim": 3, "hidden_size": 8, **fields}
    model = FlowPriorVAEModel(FlowPriorVAEConfig(**own)).to(dtype)
    with torch.no_grad():
        for name, p in model.prior.named_parameters():
            p.mul_(scale if name.endswith("weight") else 1.0)
    return model


def noise(*shape, seed=3):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def on_a_grid(model, num=800, reach=14.0):
    """Centres of the cells of a square, the prior's density there, and the area of a cell."""
    axis = ((torch.arange(num, dtype=torch.float64) + 0.5) / num * 2 - 1) * reach
    points = torch.cartesian_prod(axis, axis)
    return points, model.prior_log_prob(points).exp().detach(), (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("num_flows", [1, 2, 3])
def test_prior_integrates_to_one_and_is_not_standard_normal(num_flows):
    points, density, area = on_a_grid(build(latent_dim=2, num_flows=num_flows, scale=1.5), reach=20.0)
    torch.testing.assert_close(density.sum() * area, torch.ones(()).double(), atol=5e-4, rtol=0)
    assert (density - gaussian_log_prob(points).sum(-1).exp()).abs().sum() * area > 0.1


def test_prior_log_prob():
    model, z = build(num_flows=3), noise(2, 4, 3)
    u = model.prior(z)[0]
    blocks = torch.stack([jacobian(lambda z: model.prior(z)[0], one) for one in z.flatten(0, 1)])
    expected = gaussian_log_prob(u).sum(-1) + torch.linalg.slogdet(blocks)[1].view(2, 4)
    torch.testing.assert_close(model.prior_log_prob(z), expected)
    torch.testing.assert_close(model.prior_log_prob(z[:, 0]), expected[:, 0])


def test_samples_follow_the_density():
    """Shares of many samples in the cells of a coarse grid are integrals of the density over the cells."""
    model = build(latent_dim=2, scale=2.0)
    points, density, area = on_a_grid(model)
    count, cells, reach = 200_000, 10, 7.0  # each cell contains 40 x 40 points of the grid

    def shares(z, weight):
        return torch.histogramdd(z, [cells, cells], range=[-reach, reach] * 2, weight=weight).hist

    exact = shares(points, density * area)
    drawn = shares(model.sample_prior(count, generator()), torch.full((count,), 1 / count).double())
    assert exact.sum() > 0.98 and (exact - drawn).abs().sum() < 0.03
    plain = shares(noise(count, 2), torch.full((count,), 1 / count).double())
    assert (exact - plain).abs().sum() > 0.2


def test_samples_are_inverses_of_noise():
    model = build(num_flows=3)
    z = model.sample_prior(50, generator())
    torch.testing.assert_close(model.prior(z)[0], torch.randn(50, 3, generator=generator(), dtype=torch.float64))
    assert torch.equal(z, model.sample_prior(50, generator()))


def test_bound_equals_an_autoregressive_posterior():
    """With the flow's output as latents, the posterior is an IAF and the prior N(0, I) (section 3.2)."""
    model = build(num_flows=2)
    base = model.encode(X)
    iaf = FlowPosterior(DiagonalGaussian(base.mean, base.log_var), list(model.prior.steps))
    u, log_q = iaf.rsample_and_log_prob(generator=generator())
    z, _ = model.prior.inverse(u)
    other = -model.log_prob(X, z)[0] + log_q - gaussian_log_prob(u).sum(-1)
    torch.testing.assert_close(model(X, generator=generator()).loss, other.mean())


def linear():
    """A model with a linear decoder, and its evidence by quadrature over two latents."""
    model = build(latent_dim=2, scale=2.0, output_activation="identity", decoder_config={"hidden_sizes": []})
    with torch.no_grad():
        z, density, area = on_a_grid(model, num=300)
        means = model.decoder.net[0](z)
        log_p = torch.stack([gaussian_log_prob(x, means).sum(-1) for x in X.flatten(1)])
        return model.eval(), ((density * area).log() + log_p).logsumexp(1)


def test_log_likelihood_converges_to_the_evidence_of_a_linear_model():
    model, exact = linear()
    estimate = model.log_likelihood(X, num_samples=40_000, generator=generator(), batch_size=60_000)
    torch.testing.assert_close(estimate, exact, atol=0.05, rtol=0)


def test_bounds_are_ordered():
    """ELBO <= IWAE(4) <= IWAE(16) <= log p(x), in expectation. The loss is minus the ELBO."""
    model, exact = linear()
    batch = X.repeat_interleave(400, 0)
    elbo, four, many = (
        model.log_likelihood(batch, samples, generator(samples), batch_size=5000).view(6, 400).mean(1)
        for samples in (1, 4, 16)
    )
    assert (elbo < four).all() and (four < many).all() and (many < exact + 0.02).all()
    loss = model(X, generator=generator()).loss
    torch.testing.assert_close(-loss + model.likelihood.constant(), model.log_likelihood(X, 1, generator()).mean())


def test_prior_is_learned():
    """All parameters have gradients. Fitted to a fixed posterior, the flow is closer to it than N(0, I)."""
    model = build(num_flows=2, scale=1.0)
    model(X).loss.backward()
    assert all((p.grad != 0).any() for p in model.parameters())
    posterior = model.encode(X)
    sign = torch.arange(6).remainder(2).mul(4.0).sub(2).unsqueeze(1)
    q = DiagonalGaussian((posterior.mean * 0.1 + sign).detach(), torch.full_like(posterior.mean, -2.0))
    optimizer = torch.optim.Adam(model.prior.parameters(), 1e-2)
    for step in range(300):
        z, log_q = q.rsample_and_log_prob(100, generator=generator(step))
        kl = (log_q - model.prior_log_prob(z)).mean()
        optimizer.zero_grad()
        kl.backward()
        optimizer.step()
    assert kl < 0.5 * q.kl().mean()


def test_metrics_without_kl():
    metrics = build()(X).metrics
    assert set(metrics) == {"active_units", "latent_rms"} and not hasattr(build().encode(X), "kl_per_dimension")


@pytest.mark.parametrize("num_flows", [0, 3])
def test_prior_sampler_equals_the_model(num_flows, tmp_path):
    """The sampler's latents and images equal the model's to the bit, before and after a reload."""
    model = build(torch.float32, num_flows=num_flows, activation="relu")
    sampler = PriorSampler().fit_to(model)
    assert torch.equal(sampler.sample(50, generator()), model.sample_prior(50, generator()))
    sampler.save_pretrained(tmp_path)
    again = AutoSampler.from_pretrained(tmp_path)
    again.init_weights()
    assert torch.equal(again.sample(50, generator()), model.sample_prior(50, generator()))
    alone, own = (model.generate(4, sampler=other, generator=generator()) for other in (again, None))
    assert torch.equal(alone, own)
    if not num_flows:  # a standard normal prior fits any latents
        assert PriorSampler().fit_to(model).fit(torch.zeros(3, 5)).sample(2).shape == (2, 5)


def test_flow_prior_needs_fit_to():
    sampler = PriorSampler().fit_to(build(torch.float32))
    with pytest.raises(ValueError, match=r"prior 'flow' belongs to a model: use fit_to\(model\)"):
        sampler.fit(torch.zeros(3, 3))
    plain = FlowPriorVAEModel(FlowPriorVAEConfig(input_shape=SHAPE, latent_dim=3, num_flows=1, **NETWORKS))
    assert (
        sum("made" in name for name in sampler.fit_to(plain).state_dict()) == 6
    )  # one step, whose three layers have weight and bias


def test_order_is_reversed_between_steps():
    steps = build(num_flows=3).prior.steps
    assert all(isinstance(step, MaskedAutoregressiveStep) for step in steps)
    assert [step.made.order for step in steps] == [[0, 1, 2], [2, 1, 0], [0, 1, 2]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_flows": -1}, "num_flows must be 0 or more, got -1"),
        ({"hidden_size": 0}, "hidden_size must be above 0, got 0"),
        ({"activation": "tanh"}, "activation"),
    ],
)
def test_invalid_fields(fields, message):
    with pytest.raises(Exception, match=message):
        FlowPriorVAEConfig(**fields)
