"""VAE-lin-NF and VAE-IAF: densities of the posteriors, bounds, and initialisation; in float64."""

from dataclasses import dataclass

import pytest
import torch
from cases import IWAE, NETWORKS, SHAPE, generator, images
from torch.autograd.functional import jacobian
from torch.distributions import MultivariateNormal

from gae_hub import AutoGAE, VAEIAFConfig, VAEIAFModel, VAELinNFConfig, VAELinNFModel
from gae_hub.modules.flow_posterior import FlowPosterior
from gae_hub.modules.posteriors import DiagonalGaussian, gaussian_log_prob

X = images(6).double()
METHODS = {
    "planar": (VAELinNFModel, {"flows": ["planar"] * 3}),
    "mixed": (VAELinNFModel, {"flows": ["radial", "planar", "radial"]}),
    "shared": (VAELinNFModel, {"flows": ["planar", "radial"], "amortized": False}),
    "gated": (VAEIAFModel, {"hidden_size": 8, "context_size": 4}),
    "affine": (VAEIAFModel, {"hidden_size": 8, "context_size": 0, "flow_update": "affine"}),
}
ALL = pytest.mark.parametrize("name", METHODS)


def build(name, **fields):
    """A model whose flow is far from the identity."""
    torch.manual_seed(0)
    cls, own = METHODS[name]
    model = cls(cls.config_class(**{"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, **own, **fields})).double()
    with torch.no_grad():
        if isinstance(model, VAEIAFModel):
            for p in model.flows.parameters():
                p.mul_(1.5)
        elif model.config.amortized:
            rows = model.head.weight[2 * model.config.latent_dim :]
            rows.copy_(0.5 * noise(rows.shape))
        else:
            model.flow_parameters.copy_(noise(model.flow_parameters.shape))
    return model


def noise(shape, seed=3):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@dataclass
class At(DiagonalGaussian):
    """A Gaussian whose samples are given points, (batch, points, d)."""

    points: torch.Tensor = None

    def rsample_and_noise(self, *shape, generator=None):
        mean, log_var = self.mean.unsqueeze(1), self.log_var.unsqueeze(1)
        return self.points, (self.points - mean) * (-0.5 * log_var).exp()


def on_a_grid(posterior, num=501, reach=12.0):
    """Images of points of the plane, the posterior's log density there, and the base's mass at each: (batch, num^2).

    A sum weighted by the mass is an integral over the base, by the trapezoidal rule.
    """
    axis = torch.linspace(-reach, reach, num, dtype=torch.float64)
    base = posterior.base
    points = torch.cartesian_prod(axis, axis).expand(len(base.mean), -1, 2)
    z, log_q = FlowPosterior(At(base.mean, base.log_var, points), posterior.steps).rsample_and_log_prob()
    return z, log_q, base.log_prob(points).exp() * (axis[1] - axis[0]) ** 2


@ALL
def test_density_integrates_to_one(name):
    """E_q[g(z) / q(z|x)] = 1 for any density g."""
    z, log_q, mass = on_a_grid(build(name, latent_dim=2).encode(X[:3]))
    torch.testing.assert_close(mass.sum(1), torch.ones(3).double())
    g = gaussian_log_prob(z, torch.tensor([0.4, -0.2]).double(), torch.tensor([-1.0, -0.5]).double()).sum(-1)
    total = (mass * (g - log_q).exp()).sum(1)
    torch.testing.assert_close(total, torch.ones(3).double(), atol=1e-3, rtol=0)


@ALL
def test_density_matches_its_samples(name):
    """The share of samples in a small disk around the image of the base's mean is the density times the area."""
    posterior = build(name, latent_dim=2).encode(X[:1])
    count, radius = 1_000_000, 0.05
    z = posterior.rsample(count, generator=generator())
    inside = ((z - posterior.mean.unsqueeze(1)).norm(dim=-1) < radius).double().mean()
    area = torch.pi * radius**2
    _, log_q = FlowPosterior(
        At(posterior.base.mean, posterior.base.log_var, posterior.base.mean.unsqueeze(1)), posterior.steps
    ).rsample_and_log_prob()
    torch.testing.assert_close(inside / area, log_q.exp().squeeze(), rtol=0.06, atol=0)


@ALL
def test_log_determinant(name):
    posterior = build(name).encode(X[:1])
    z = posterior.base.rsample(generator=generator())
    moved, log_det = posterior.transform(z)
    exact = torch.linalg.slogdet(jacobian(lambda z: posterior.transform(z)[0], z)[0, :, 0])[1]
    torch.testing.assert_close(log_det[0], exact)
    drawn, log_q = posterior.rsample_and_log_prob(generator=generator())
    torch.testing.assert_close(drawn, moved)
    torch.testing.assert_close(log_q, posterior.base.log_prob(z) - log_det)
    torch.testing.assert_close(posterior.rsample(generator=generator()), moved)
    assert (moved - z).abs().max() > 0.05


@ALL
def test_kl_equals_its_integral(name):
    """The mean of the loss's term over many samples is KL(q || p), which is known by quadrature for two latents."""
    model = build(name, latent_dim=2)
    z, log_q, mass = on_a_grid(model.encode(X))
    exact = (mass * (log_q - gaussian_log_prob(z).sum(-1))).sum(1).mean().detach()
    many = X.repeat(5000, 1, 1, 1)
    with torch.no_grad():
        kl = model(many, generator=generator()).losses["kl"]
    torch.testing.assert_close(kl, exact, atol=0.03, rtol=0)


def linear(name):
    """A model with a linear decoder, and its evidence N(x; b, W W^T + I)."""
    model = build(name, decoder_config={"hidden_sizes": []}, output_activation="identity")
    layer = model.decoder.net[0]
    covariance = layer.weight @ layer.weight.T + torch.eye(64, dtype=torch.float64)
    return model, MultivariateNormal(layer.bias, covariance).log_prob(X.flatten(1)).detach()


@ALL
def test_log_likelihood_converges_to_the_evidence_of_a_linear_model(name):
    model, exact = linear(name)
    estimate = model.log_likelihood(X, num_samples=40_000, generator=generator(), batch_size=60_000)
    torch.testing.assert_close(estimate, exact, atol=0.1, rtol=0)


@ALL
def test_bounds_are_ordered(name):
    """ELBO <= IWAE(5) <= IWAE(50) <= log p(x), in expectation. The loss is minus the ELBO."""
    model, exact = linear(name)
    batch = X.repeat_interleave(400, 0)
    elbo = model.log_likelihood(batch, 1, generator(0)).view(6, 400).mean(1)
    five = model.log_likelihood(batch, 5, generator(1)).view(6, 400).mean(1)
    fifty = model.log_likelihood(batch, 50, generator(2), batch_size=5000).view(6, 400).mean(1)
    assert (elbo < five).all() and (five < fifty).all() and (fifty < exact + 0.02).all()
    loss = model(X, generator=generator()).loss
    torch.testing.assert_close(-loss + model.likelihood.constant(), model.log_likelihood(X, 1, generator()).mean())


@pytest.mark.parametrize("amortized", [True, False])
def test_initial_linear_flow_is_the_identity(amortized):
    """With u = 0 in planar and b = 0 in radial steps, the loss is that of the VAE with a Monte Carlo KL."""
    fields = {"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, "flows": ["planar", "radial"] * 2}
    model = VAELinNFModel(VAELinNFConfig(**fields, amortized=amortized))
    plain = IWAE.build(num_samples=1)
    state = {name: value for name, value in model.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict({**state, **{f"head.{n}": state[f"head.{n}"][:6] for n in ("weight", "bias")}})
    ours, theirs = (net(X.float(), generator=generator()) for net in (model, plain))
    torch.testing.assert_close(ours.loss, theirs.loss)
    torch.testing.assert_close(ours.latents, theirs.latents)


@pytest.mark.parametrize("amortized", [True, False])
def test_every_parameter_of_a_linear_flow_has_a_gradient(amortized):
    """The first step leaves the identity; in the second step every parameter of the flow has a gradient."""
    fields = {"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, "flows": ["planar", "radial"]}
    model = VAELinNFModel(VAELinNFConfig(**fields, amortized=amortized))
    parameter = model.head.bias if amortized else model.flow_parameters
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        model(X.float()).loss.backward()
        optimizer.step()
    assert (parameter.grad != 0).all()


def test_amortized_flows_depend_on_the_image():
    z = torch.zeros(6, 3, dtype=torch.float64)
    for name, differ in (("planar", True), ("shared", False), ("gated", True), ("affine", False)):
        moved = build(name).encode(X).transform(z)[0]
        assert torch.allclose(moved, moved[:1].expand_as(moved)) is not differ, name
    d, parameters = 3, 3 * 7
    assert build("planar").head.out_features == 2 * d + parameters
    assert build("shared").head.out_features == 2 * d and build("shared").flow_parameters.shape == (1, 7 + 5)


def test_order_is_reversed_between_steps():
    """With one step a dimension depends on those before it, with two steps on all."""
    z = torch.zeros(1, 3, dtype=torch.float64)
    for num_flows, full in ((1, False), (2, True)):
        posterior = build("gated", num_flows=num_flows).encode(X[:1])
        derivative = jacobian(lambda z, q=posterior: q.transform(z)[0], z)[0, :, 0]
        upper = derivative[torch.ones(3, 3).triu(1).bool()]
        assert (upper != 0).all() if full else (upper == 0).all()


def test_config_of_autoregressive_steps():
    posterior = build("gated", forget_bias=1000).encode(X)
    z = posterior.base.rsample(100, generator=generator())
    assert torch.equal(posterior.transform(z)[0], z)  # open gates keep z
    assert (build("gated").encode(X).transform(z)[1] < 0).all()  # gates contract, affine steps may expand
    assert (build("affine").encode(X).transform(z)[1] > 0).any()
    assert len(build("gated", num_flows=3, num_hidden_layers=4).flows[2].made.others) == 3
    assert build("gated", num_flows=0).head.out_features == 6  # no outputs for a context that no step uses


@ALL
def test_embedding_is_the_transformed_mean(name):
    model = build(name)
    posterior = model.encode(X)
    torch.testing.assert_close(model.embed(X), posterior.transform(posterior.base.mean)[0])
    assert (model.embed(X) - posterior.base.mean).abs().max() > 0.05


@ALL
def test_density_at_other_points_raises(name):
    posterior = build(name).encode(X)
    with pytest.raises(NotImplementedError, match="at its own samples only; use rsample_and_log_prob"):
        posterior.log_prob(posterior.mean)


@ALL
def test_metrics_without_kl(name):
    assert set(build(name)(X).metrics) == {"active_units", "latent_rms"}


@ALL
@pytest.mark.parametrize("latent_dim", [1, 2])
def test_few_latents(name, latent_dim):
    out = build(name, latent_dim=latent_dim)(X)
    out.loss.backward()
    assert out.loss.isfinite() and out.latents.shape == (6, latent_dim)


@pytest.mark.parametrize("name", ["shared", "affine"])
def test_reloading_other_settings(name, tmp_path):
    model = build(name).float().eval()
    model.save_pretrained(tmp_path)
    again = AutoGAE.from_pretrained(tmp_path)
    again.init_weights()
    x = X.float()
    assert torch.equal(again(x, generator=generator()).loss, model(x, generator=generator()).loss)


@pytest.mark.parametrize(
    ("config_class", "fields", "message"),
    [
        (VAELinNFConfig, {"flows": ["planar", "spiral"]}, "must contain only 'planar' or 'radial', got 'spiral'"),
        (VAELinNFConfig, {"flows": "planar"}, "flows"),
        (VAEIAFConfig, {"num_flows": -1}, "num_flows must be 0 or more, got -1"),
        (VAEIAFConfig, {"context_size": -2}, "context_size must be 0 or more, got -2"),
        (VAEIAFConfig, {"num_hidden_layers": 0}, "num_hidden_layers must be above 0, got 0"),
        (VAEIAFConfig, {"hidden_size": 0}, "hidden_size must be above 0, got 0"),
        (VAEIAFConfig, {"flow_update": "additive"}, "flow_update"),
    ],
)
def test_invalid_fields(config_class, fields, message):
    with pytest.raises(Exception, match=message):
        config_class(**fields)
