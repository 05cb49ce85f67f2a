"""HVAE and RHVAE: reversible dynamics that preserve volume, bounds with all constants, and the metric; in float64."""

from copy import deepcopy
from math import log

import pytest
import torch
from cases import NETWORKS, SHAPE, generator, images
from torch.distributions import MultivariateNormal
from torch.func import functional_call

from gae_hub import AutoGAE, HVAEConfig, HVAEModel, RHVAEConfig, RHVAEModel, VAEModel

X = images(3).double()
UNTEMPERED = {"beta_zero": 1, "learn_beta_zero": False}
BOTH = pytest.mark.parametrize("name", ["hvae", "rhvae"])


def build(name, **fields):
    torch.manual_seed(0)
    own = {"num_centroids": 12, "metric_hidden_sizes": [8]} if name == "rhvae" else {}
    cls, config = {"hvae": (HVAEModel, HVAEConfig), "rhvae": (RHVAEModel, RHVAEConfig)}[name]
    # a small observation_std and large steps, so that errors are visible
    values = {
        "input_shape": SHAPE,
        "latent_dim": 3,
        "observation_std": 0.4,
        "step_size": 0.05,
        **NETWORKS,
        **own,
        **fields,
    }
    model = cls(config(**values)).double()
    if name == "rhvae" and values.get("num_leapfrog_steps", 3):
        model.train()(images(12, seed=3).double(), generator=generator(3))
    return model.eval()


def start(num=3, seed=5):
    z, momentum = torch.randn(2, num, 3, generator=generator(seed), dtype=torch.float64)
    return 0.5 * z, momentum


def trajectory(model, x, z, momentum):
    """z_K and rho_K from z_0 and rho_0."""
    if isinstance(model, RHVAEModel):
        place, momentum, _ = model.integrate_leapfrog(x, model.build_metric().at(z), momentum)
        return place.z, momentum
    return model.integrate_leapfrog(x, z, momentum)


def energy(model, x, z, momentum):
    """(batch,): -log p(x, z) + rho^T G^-1 rho / 2 + log det G / 2."""
    potential = -(model.log_prob(x, z)[0] + model.prior_log_prob(z))
    if not isinstance(model, RHVAEModel):
        return potential + 0.5 * momentum.square().sum(-1)
    inverse = model.build_metric().inverse(z)
    kinetic = 0.5 * (momentum.unsqueeze(-2) @ inverse @ momentum.unsqueeze(-1)).flatten(1).sum(-1)
    return potential + kinetic - 0.5 * torch.logdet(inverse)


@BOTH
def test_dynamics_are_reversible(name):
    """The trajectory with the opposite momentum leads back to the start."""
    model = build(name, **UNTEMPERED)
    z, momentum = start()
    there = trajectory(model, X, z, momentum)
    back = trajectory(model, X, there[0], -there[1])
    assert (there[0] - z).abs().max() > 0.1
    torch.testing.assert_close(back[0], z, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(back[1], -momentum, rtol=1e-8, atol=1e-8)


@BOTH
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_volume_is_scaled_by_tempering_only(name, beta):
    """log |det| of the map from (z_0, rho_0) to (z_K, rho_K) is d / 2 log beta_0."""
    model = build(name, beta_zero=beta, learn_beta_zero=False)

    def phase(point):
        return torch.cat(trajectory(model, X[:1], point[None, :3], point[None, 3:]), -1)[0]

    jacobian = torch.autograd.functional.jacobian(phase, torch.cat(start(1), -1)[0])
    sign, volume = torch.linalg.slogdet(jacobian)
    assert sign == 1 and (jacobian - torch.eye(6)).abs().max() > 0.1
    torch.testing.assert_close(volume, torch.tensor(1.5 * log(beta), dtype=torch.float64), rtol=0, atol=1e-8)


@BOTH
def test_energy_error_is_of_second_order(name):
    """Ten times as many steps of a tenth of the size have a hundredth of the error."""
    errors = []
    for steps, size in ((4, 0.02), (40, 0.002)):
        model = build(name, num_leapfrog_steps=steps, step_size=size, **UNTEMPERED)
        z, momentum = start()
        after = trajectory(model, X, z, momentum)
        errors.append((energy(model, X, *after) - energy(model, X, z, momentum)).abs().max().item())
    assert errors[1] < errors[0] / 50


@BOTH
def test_small_steps_follow_hamiltons_equations(name):
    """For a short time, dz/dt = dH/drho and drho/dt = -dH/dz, with autograd's derivatives of the energy."""
    size = 1e-5
    model = build(name, num_leapfrog_steps=1, step_size=size, learn_step_size=False, **UNTEMPERED)
    z, momentum = (value.requires_grad_() for value in start())
    by_z, by_momentum = torch.autograd.grad(energy(model, X, z, momentum).sum(), (z, momentum))
    after = trajectory(model, X, z, momentum)
    torch.testing.assert_close((after[0] - z) / size, by_momentum, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close((after[1] - momentum) / size, -by_z, rtol=1e-3, atol=1e-3)


@BOTH
def test_density_ratio_of_the_momenta(name):
    model = build(name)
    z, noise = start()
    scale = model.compute_tempering_scales()[0].detach()
    if name == "rhvae":
        rho = scale * model.build_metric().at(z).sample_momentum(noise)
        covariance = torch.linalg.inv(model.build_metric().inverse(z)) * scale**2
        found, ratio, _ = model.evolve(X, z, noise, model.build_metric())
        _, last = trajectory(model, X, z, rho)
        covariance_after = torch.linalg.inv(model.build_metric().inverse(found))
    else:
        rho, covariance, covariance_after = scale * noise, torch.eye(3).double() * scale**2, torch.eye(3).double()
        found, ratio, _ = model.evolve(X, z, noise)
        _, last = trajectory(model, X, z, rho)
    zero = torch.zeros(3, dtype=torch.float64)
    volume = -3 * scale.log()
    before = MultivariateNormal(zero, covariance).log_prob(rho) - volume
    torch.testing.assert_close(ratio, before - MultivariateNormal(zero, covariance_after).log_prob(last))


@BOTH
def test_log_likelihood_converges_to_the_evidence(name):
    """p(x) is known for a linear decoder."""
    model = build(
        name, observation_std=1.0, decoder_config={"hidden_sizes": []}, output_activation="identity", step_size=0.1
    )
    layer = model.decoder.net[0]
    covariance = layer.weight @ layer.weight.T + torch.eye(64, dtype=torch.float64)
    exact = MultivariateNormal(layer.bias, covariance).log_prob(X.flatten(1)).detach()
    estimate = model.log_likelihood(X, num_samples=20_000, generator=generator(), batch_size=30_000)
    torch.testing.assert_close(estimate, exact, atol=0.03, rtol=0)


def test_dynamics_tighten_the_bound():
    """Steps towards the true posterior bring the ELBO nearer to log p(x), so their direction is right."""
    bounds = []
    for steps in (0, 10):
        model = build("hvae", num_leapfrog_steps=steps, step_size=0.05, beta_zero=0.9)
        with torch.no_grad():
            model.decoder.net[2].weight.mul_(8)  # images that determine their latents well
        bounds.append(model.log_likelihood(X.repeat_interleave(300, 0), 1, generator()).mean())
    assert bounds[1] > bounds[0] + 0.2


def test_tempering_schedule_and_step_size():
    model = build("hvae", beta_zero=0.25)
    scales = torch.stack(model.compute_tempering_scales())
    torch.testing.assert_close(scales[0] ** -2, torch.tensor(0.25, dtype=torch.float64))
    torch.testing.assert_close(scales[-1], torch.ones((), dtype=torch.float64))
    assert (scales.diff() < 0).all()
    torch.testing.assert_close(model.compute_step_size(), torch.full((3,), 0.05, dtype=torch.float64))


def test_gradients_of_temperature_and_step_sizes():
    """They equal finite differences of the loss."""
    model = build("hvae")
    for name in ("sqrt_beta_logit", "step_logits"):
        parameter = dict(model.named_parameters())[name]
        (gradient,) = torch.autograd.grad(model(X, generator=generator()).loss, parameter)
        with torch.no_grad():
            losses = [
                functional_call(model, {name: parameter + shift}, (X,), {"generator": generator()}).loss
                for shift in (1e-5, -1e-5)
            ]
        torch.testing.assert_close(gradient.sum(), (losses[0] - losses[1]) / 2e-5, rtol=1e-4, atol=1e-6)


def test_batch_norm_keeps_images_independent():
    """The force on one image's latents does not depend on the other images, not even in training mode."""
    model = build("hvae", encoder_config="conv", decoder_config="conv").train()
    z, _ = start()
    together, alone = model.compute_force(X, z), model.compute_force(X[:1], z[:1])
    torch.testing.assert_close(together[:1], alone)
    assert all(module.training for module in model.modules())


def test_embedding_follows_the_dynamics_from_rest():
    model = build("hvae")
    mean = VAEModel.encode(model, X).mean  # of z_0
    carried, _ = model.integrate_leapfrog(X, mean, torch.zeros_like(mean))
    torch.testing.assert_close(model.embed(X), carried)
    assert (model.embed(X) - mean).abs().max() > 1e-3


def test_identity_metric_equals_hvae():
    model, plain = build("rhvae", metric_regularization=1.0), build("hvae")
    model.matrices.zero_()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k in plain.state_dict()})
    ours, theirs = (net(X, generator=generator()) for net in (model, plain))
    torch.testing.assert_close(ours.loss, theirs.loss)
    torch.testing.assert_close(ours.latents, theirs.latents)


def test_queue_holds_the_newest_images():
    model = build("rhvae", num_centroids=8).train()
    batches = [images(5, seed=seed).double() for seed in (0, 1)]
    for x in batches:
        model(x)
    newest = torch.cat(batches)[-8:]
    means = VAEModel.encode(model, newest).mean
    factors = model.compute_factors(newest)
    order = means[:, 0].argsort(), model.centroids[:, 0].argsort()
    torch.testing.assert_close(model.centroids[order[1]], means[order[0]])
    torch.testing.assert_close(model.matrices[order[1]], (factors @ factors.mT)[order[0]])
    many = images(20, seed=2).double()  # more images than the queue holds
    model(many)
    assert model.next_place == (8 + 5 + 5 + 8) % 8
    newest = VAEModel.encode(model, many).mean[-8:]
    torch.testing.assert_close(model.centroids.sort(0).values, newest.sort(0).values)


def test_training_and_evaluation_use_the_same_metric():
    """After a step, the stored metric is the one that the step used."""
    model = build("rhvae").train()
    z, _ = start()
    queue = model.update_queue(X, model.encode(X).base.mean)
    torch.testing.assert_close(model.build_metric(*queue).inverse(z), model.build_metric().inverse(z))
    assert queue[0].requires_grad and queue[1].requires_grad and not model.centroids.requires_grad


def test_metric_has_gradients():
    model = build("rhvae").train()
    model(X, generator=generator()).loss.backward()
    assert all(p.grad.abs().max() > 0 for p in model.factor_network.parameters())


def test_metric_after_reload_and_copy(tmp_path):
    model = build("rhvae")
    z, _ = start()
    model.save_pretrained(tmp_path)
    again, copy = AutoGAE.from_pretrained(tmp_path).double(), deepcopy(model)
    torch.testing.assert_close(again.build_metric().inverse(z), model.build_metric().inverse(z), rtol=1e-5, atol=1e-5)
    model.matrices.mul_(2)
    assert not torch.allclose(copy.build_metric().inverse(z), model.build_metric().inverse(z))


def test_initial_metric():
    torch.manual_seed(0)
    model = RHVAEModel(RHVAEConfig(input_shape=SHAPE, latent_dim=3, **NETWORKS)).eval()
    z = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    torch.testing.assert_close(model.build_metric().inverse(z)[0], 1.01 * torch.eye(3))
    torch.testing.assert_close(model.build_metric().inverse(z)[1], 0.01 * torch.eye(3))
    assert model(X.float()).loss.isfinite()


@BOTH
def test_dynamics_with_optimal_observation_std(name):
    """The force uses the running variance and does not update it."""
    model = build(name, observation_std="optimal").train()
    before = model.likelihood.variance.clone()
    z, _ = start()
    model.compute_force(X, z)
    assert torch.equal(model.likelihood.variance, before)
    assert model(X).loss.isfinite() and not torch.equal(model.likelihood.variance, before)


@pytest.mark.parametrize(
    ("config_class", "fields"),
    [
        (HVAEConfig, {"num_leapfrog_steps": -1}),
        (HVAEConfig, {"step_size": 0}),
        (HVAEConfig, {"step_size": 0.7}),
        (HVAEConfig, {"beta_zero": 0}),
        (HVAEConfig, {"beta_zero": 1}),
        (RHVAEConfig, {"temperature": 0}),
        (RHVAEConfig, {"metric_regularization": 0}),
        (RHVAEConfig, {"num_centroids": 0}),
        (RHVAEConfig, {"num_fixed_point_iterations": 0}),
    ],
)
def test_invalid_fields(config_class, fields):
    with pytest.raises(Exception, match=next(iter(fields))):
        config_class(**fields)
