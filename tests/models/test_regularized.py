"""Methods that add a penalty: the MMD, the decoder's norm and gradient, the capacity. Each against its closed form."""

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
from gae_hub.modules.losses import call_frozen, mmd
from gae_hub.modules.posteriors import DiagonalGaussian

X = images(6)


def build(cls, config_class, **fields):
    torch.manual_seed(0)
    return cls(config_class(**{"input_shape": SHAPE, "latent_dim": 3, **NETWORKS, **fields}))


def by_hand(x, y, kernel, bandwidth):
    """The U-statistic, pair by pair."""
    c = 2 * x.shape[1] * bandwidth**2

    def k(a, b):
        d = (a - b).square().sum()
        if kernel == "rbf":
            return (-d / c).exp()
        return sum(s * c / (s * c + d) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))

    n = len(x)
    within = sum(k(t[i], t[j]) for t in (x, y) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within - 2 * sum(k(a, b) for a in x for b in y) / n**2


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_its_definition(kernel):
    x, y = torch.randn(2, 5, 3, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(mmd(x, y, kernel, 0.7), by_hand(x, y, kernel, 0.7))
    with pytest.raises(ValueError, match="at least 2 examples in a batch, got 1"):
        mmd(x[:1], y[:1])


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_unbiased_and_sees_a_difference(kernel):
    g = generator()
    same = torch.stack([mmd(*torch.randn(2, 8, 2, generator=g), kernel) for _ in range(2000)])
    assert abs(same.mean()) < 4 * same.std() / 2000**0.5
    x, y = torch.randn(2, 500, 2, generator=g)
    assert mmd(x, y + 1, kernel) > 20 * abs(mmd(x, y, kernel))


def test_mmd_keeps_its_digits_under_autocast():
    """Distances are small differences of products, which half precision would swallow."""
    x = 3 + 0.1 * torch.randn(50, 8, generator=generator())
    exact = mmd(x, x.flip(0) + 0.05, "rbf", 0.05)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mmd(x, x.flip(0) + 0.05, "rbf", 0.05), exact)


def test_mmd_of_gaussians_in_closed_form():
    """For a difference of N(m, 2 I), E exp(-d^2 / C) is (1 + 4 / C)^(-dim / 2) exp(-m^2 / (C + 4))."""
    d, shift = 2, 1.5
    x, y = torch.randn(2, 3000, d, generator=generator(), dtype=torch.float64)
    y[:, 0] += shift
    c = 2.0 * d
    within = (1 + 4 / c) ** (-d / 2)
    across = within * torch.exp(torch.tensor(-(shift**2) / (c + 4)))
    assert mmd(x, y, "rbf").item() == pytest.approx(2 * within - 2 * across.item(), abs=0.01)


def test_disentangled_capacity_grows_with_training_and_then_stays():
    model = build(DisentangledBetaVAEModel, DisentangledBetaVAEConfig, capacity=8.0, capacity_warmup_fraction=0.5)
    for progress, capacity in ((0.0, 0.0), (0.25, 4.0), (0.5, 8.0), (1.0, 8.0)):
        model.progress.fill_(progress)
        assert model.compute_capacity() == capacity
    posterior = DiagonalGaussian(torch.tensor([[2.0, 0.0, 0.0], [6.0, 0.0, 0.0]]), torch.zeros(2, 3))  # KL 2 and 18
    distances = model.regularizers(posterior.mean, posterior)["kl"]
    torch.testing.assert_close(distances, torch.tensor([6.0, 10.0]))


def test_the_decoders_norm():
    model = build(RAEL2Model, RAEL2Config, decoder_penalty_weight=0.5, embedding_weight=0.25)
    out = model(X)
    norm = sum(p.detach().square().sum() for p in model.decoder.parameters())
    torch.testing.assert_close(out.losses["decoder_norm"], norm)
    torch.testing.assert_close(out.losses["embedding"], 0.5 * out.latents.detach().square().sum(1).mean())
    gradient = torch.autograd.grad(out.loss, model.decoder.net[0].weight, retain_graph=True)[0]
    without = build(RAEL2Model, RAEL2Config, decoder_penalty_weight=0.0, embedding_weight=0.25)
    plain = torch.autograd.grad(without(X).loss, without.decoder.net[0].weight)[0]
    torch.testing.assert_close(gradient, plain + model.decoder.net[0].weight.detach())  # 0.5 * 2 * theta


def test_the_gradient_penalty_is_the_square_of_the_jacobian():
    """In expectation it is the Frobenius norm of the Jacobian that autograd gives."""
    model = build(RAEGPModel, RAEGPConfig, decoder_config={"hidden_sizes": [5]}).double()
    z = torch.randn(2, 3, generator=generator(), dtype=torch.float64)
    estimates = torch.stack([model.compute_decoder_penalty(z, generator(seed)) for seed in range(4000)])
    jacobians = torch.autograd.functional.jacobian(lambda at: model.decode(at), z)
    exact = torch.stack([jacobians[i, ..., i, :].square().sum() for i in range(2)])
    for estimate, value in zip(estimates.T, exact, strict=True):
        assert abs(estimate.mean() - value) < 4 * estimate.std() / 4000**0.5


def test_the_gradient_penalty_reaches_the_decoder_and_works_in_evaluation():
    model = build(RAEGPModel, RAEGPConfig, decoder_penalty_weight=100.0, embedding_weight=0.0)
    strong = torch.autograd.grad(model(X, generator=generator()).loss, model.decoder.net[0].weight)[0]
    weak = build(RAEGPModel, RAEGPConfig, decoder_penalty_weight=0.0, embedding_weight=0.0)
    assert not torch.allclose(strong, torch.autograd.grad(weak(X).loss, weak.decoder.net[0].weight)[0])
    with torch.no_grad():
        assert model.eval()(X).losses["gradient_penalty"] > 0


def test_frozen_reaches_the_inputs_and_not_the_weights():
    layer = torch.nn.Linear(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    call_frozen(layer, x).sum().backward()
    assert layer.weight.grad is None and torch.equal(x.grad, layer.weight.sum(0).expand(4, 3))


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
def test_bad_fields_are_named(config_class, fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        config_class(**fields)
