"""RAE-L2, RAE-GP and disentangled beta-VAE: penalties and capacity, against closed forms; and fields with ranges."""

import pytest
import torch
from cases import NETWORKS, SHAPE, generator, images

from gae_hub import (
    DisentangledBetaVAEConfig,
    DisentangledBetaVAEModel,
    InfoVAEConfig,
    RAEGPConfig,
    RAEGPModel,
    RAEL2Config,
    RAEL2Model,
    WAEMMDConfig,
)
from gae_hub.modules.posteriors import DiagonalGaussian

X = images(6)


def build(cls, config_class, **fields):
    torch.manual_seed(0)
    return cls(config_class(**{"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, **fields}))


def test_capacity_schedule_of_disentangled_beta_vae():
    model = build(DisentangledBetaVAEModel, DisentangledBetaVAEConfig, capacity=8.0, capacity_warmup_fraction=0.5)
    for progress, capacity in ((0.0, 0.0), (0.25, 4.0), (0.5, 8.0), (1.0, 8.0)):
        model.progress.fill_(progress)
        assert model.compute_capacity() == capacity
    posterior = DiagonalGaussian(torch.tensor([[2.0, 0.0, 0.0], [6.0, 0.0, 0.0]]), torch.zeros(2, 3))  # KL 2 and 18
    model.encode = lambda pixel_values: posterior
    out = model(X[:2])
    torch.testing.assert_close(out.losses["capacity_distance"], torch.tensor(8.0))  # the mean of 6 and 10
    torch.testing.assert_close(out.metrics["kl"], torch.tensor(10.0))
    torch.testing.assert_close(out.loss, out.losses["reconstruction"] + 10.0 * out.losses["capacity_distance"])


def test_penalty_of_rae_l2():
    model = build(RAEL2Model, RAEL2Config, decoder_penalty_weight=0.5, embedding_weight=0.25)
    out = model(X)
    norm = sum(p.detach().square().sum() for p in model.decoder.parameters())
    torch.testing.assert_close(out.losses["decoder_norm"], norm)
    torch.testing.assert_close(out.losses["embedding"], 0.5 * out.latents.detach().square().sum(1).mean())
    gradient = torch.autograd.grad(out.loss, model.decoder.net[0].weight, retain_graph=True)[0]
    without = build(RAEL2Model, RAEL2Config, decoder_penalty_weight=0.0, embedding_weight=0.25)
    plain = torch.autograd.grad(without(X).loss, without.decoder.net[0].weight)[0]
    torch.testing.assert_close(gradient, plain + model.decoder.net[0].weight.detach())  # 0.5 * 2 * theta


def test_gradient_penalty_estimates_the_squared_jacobian():
    """Its expectation is the squared Frobenius norm of the Jacobian by autograd."""
    model = build(RAEGPModel, RAEGPConfig, decoder_config={"hidden_sizes": [5]}).double()
    z = torch.randn(2, 3, generator=generator(), dtype=torch.float64)
    estimates = torch.stack([model.compute_decoder_penalty(z, generator(seed)) for seed in range(4000)])
    jacobians = torch.autograd.functional.jacobian(lambda at: model.decode(at), z)
    exact = torch.stack([jacobians[i, ..., i, :].square().sum() for i in range(2)])
    for estimate, value in zip(estimates.T, exact, strict=True):
        assert abs(estimate.mean() - value) < 4 * estimate.std() / 4000**0.5


def test_gradient_penalty_in_training_and_evaluation():
    model = build(RAEGPModel, RAEGPConfig, decoder_penalty_weight=100.0, embedding_weight=0.0)
    strong = torch.autograd.grad(model(X, generator=generator()).loss, model.decoder.net[0].weight)[0]
    weak = build(RAEGPModel, RAEGPConfig, decoder_penalty_weight=0.0, embedding_weight=0.0)
    assert not torch.allclose(strong, torch.autograd.grad(weak(X).loss, weak.decoder.net[0].weight)[0])
    with torch.no_grad():
        assert model.eval()(X).losses["gradient_penalty"] > 0


@pytest.mark.parametrize(
    ("config_class", "fields"),
    [
        (InfoVAEConfig, {"alpha": 2}),
        (InfoVAEConfig, {"mmd_weight": -1}),
        (InfoVAEConfig, {"bandwidth": 0}),
        (WAEMMDConfig, {"mmd_weight": -1}),
        (WAEMMDConfig, {"kernel": "linear"}),
        (RAEL2Config, {"embedding_weight": -1}),
        (RAEGPConfig, {"decoder_penalty_weight": -1}),
        (DisentangledBetaVAEConfig, {"capacity_warmup_fraction": 0}),
        (DisentangledBetaVAEConfig, {"capacity": -1}),
    ],
)
def test_invalid_fields(config_class, fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        config_class(**fields)
