"""E[w] = p(x) for every method with a likelihood, by quadrature in float64.

w = p(x|z) p(z) / q(z|x) is what `log_likelihood` averages: its expectation over all noise of the method, momenta and
angles included, must be the integral of p(x|z) p(z). Both are integrals over grids, so that no sampling error hides a
missing constant, a wrong Jacobian or a sample that does not have the density it claims.
"""

from math import pi

import numpy as np
import pytest
import torch
from cases import MODELS, generator, images

SHAPE = (1, 2, 2)
X = images(1, SHAPE, seed=4).double()
CASES = [case for case in MODELS if case.has_likelihood]
ROWS = [(case, dim, {}) for case in CASES for dim in (1, 2) if (case.id, dim) not in {("svae", 1), ("rhvae", 2)}]
BY_ID = {case.id: case for case in CASES}
PERTURBATIONS = {"vae_lin_nf": 0.3, "vae_iaf": 0.3, "flow_prior_vae": 0.1}  # untrained flows are close to the identity
RIEMANNIAN = {"posterior": "riemannian_normal", "prior": "riemannian_normal"}
ROWS += [
    (BY_ID["svae"], 3, {}),
    *((BY_ID["poincare_vae"], dim, RIEMANNIAN) for dim in (1, 2)),
    pytest.param(BY_ID["rhvae"], 2, {}, marks=pytest.mark.slow),
]


def build(case, dim, **fields):
    """The method with a smooth decoder, so that integrals over grids are exact."""
    own = {"metric_regularization": 0.5, "num_centroids": 3, "step_size": 0.05} if case.id == "rhvae" else {}
    # images smaller than a patch, and a Laplace density, which is not smooth
    own |= {"discriminator_weight": 0.0, "likelihood": "gaussian"} if case.id == "kl_gan" else {}
    own |= {"num_leapfrog_steps": 1} if case.id in ("hvae", "rhvae") and dim == 2 else {}
    model = case.build(
        **{"input_shape": SHAPE, "latent_dim": dim, "decoder_config": {"hidden_sizes": []}, **own, **fields},
        observation_std=0.5,
    ).double()
    with torch.no_grad():
        model.decoder.net[0].weight.mul_(2)
        for name, parameter in model.named_parameters():
            if case.id in PERTURBATIONS and not name.startswith("decoder"):
                noise = torch.randn(parameter.shape, generator=generator(7)).double()
                parameter.add_(PERTURBATIONS[case.id] * noise)
    if case.id == "rhvae":
        model.train()(images(3, SHAPE, seed=5).double())
    return model.eval()


def grid(dim, num, side):
    """(num ** dim, dim) points of a regular grid, and the volume of a cell."""
    axis = torch.linspace(-side, side, num, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * dim).view(-1, dim), (axis[1] - axis[0]) ** dim


def latent_grid(name, dim):
    """A grid for Gaussian noise, or for latents: finer for radial steps, which have a kink, and for learned tails."""
    if dim == 1:
        return grid(dim, 20_001, 20.0)
    return grid(dim, 801, 20.0) if name in ("gae_vae_lin_nf", "gae_flow_prior_vae") else grid(dim, 401, 14.0)


def gauss(num, low, high):
    """Gauss-Legendre nodes and weights on [low, high]."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(num))
    half = (high - low) / 2
    return low + half * (nodes + 1), half * weights


def normal_density(noise):
    return (-0.5 * noise.square().sum(-1)).exp() / (2 * pi) ** (noise.shape[-1] / 2)


def polar(log_density, high, dim, num_angles):
    """Directions in the `dim` dimensions around a centre, by their distance to it.

    Args:
        log_density: of the distance, on [0, high], up to a constant.
        high: upper end.
        dim: 1 or 2.
        num_angles: directions in 2 dimensions.

    Returns:
        The CDF at the distances, unit vectors, (num, dim), and probabilities that add up to 1.
    """
    distance, weights = gauss(160, 0.0, high)
    inner, inner_weights = gauss(160, 0.0, 1.0)
    mass = (log_density(distance) - log_density(distance).max()).exp() * weights
    below = (log_density(distance.unsqueeze(1) * inner) - log_density(distance).max()).exp() * inner_weights
    cdf = distance * below.sum(1) / mass.sum()
    angle = 2 * pi * torch.arange(num_angles, dtype=torch.float64) / num_angles
    vectors = torch.tensor([[1.0], [-1.0]]).double() if dim == 1 else torch.stack([angle.cos(), angle.sin()], 1)
    pairs = torch.cartesian_prod(torch.arange(len(cdf)), torch.arange(len(vectors)))
    return cdf[pairs[:, 0]], vectors[pairs[:, 1]], (mass / mass.sum())[pairs[:, 0]] / len(vectors)


def noise_of(model):
    """The noise in the order in which a method draws it, (num, ...) each, and its probabilities, (num,)."""
    dim, name = model.config.latent_dim, model.config.model_type
    posterior = model.encode(X)
    if name == "gae_svae":
        kappa = posterior.concentration.item()
        cdf, tangents, p = polar(lambda t: kappa * t.cos() + (dim - 2) * t.sin().log(), pi, dim - 1, 48)
        basis = torch.linalg.svd(posterior.mean)[2][1:]  # of the directions that are orthogonal to the mean
        return [cdf, tangents @ basis], p
    if getattr(model.config, "posterior", None) == "riemannian_normal":
        variance = posterior.log_var.exp().item()
        cdf, directions, p = polar(lambda r: -0.5 * r**2 / variance + (dim - 1) * r.sinh().log(), 10.0, dim, 64)
        return [directions, cdf], p
    if name in ("gae_hvae", "gae_rhvae"):
        noise, cell = grid(2 * dim, *((241, 9.0) if dim == 1 else (23, 6.0)))
        return [noise[:, :dim], noise[:, dim:]], normal_density(noise) * cell
    noise, cell = latent_grid(name, dim)
    return [noise], normal_density(noise) * cell


def weigh(model, noise, monkeypatch):
    """(num,): log weights of the samples with this noise, by `log_likelihood` of one sample per copy of the image."""
    queue = list(noise)

    def draw(shape, **kwargs):
        return queue.pop(0).reshape(shape)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", draw)
        patch.setattr(torch, "rand", draw)
        num = len(noise[0])
        log_w = model.log_likelihood(X.expand(num, *SHAPE), num_samples=1, batch_size=num)
    assert not queue
    return log_w


@torch.no_grad()
def integrate_joint(model):
    """log of the integrals of p(x|z) p(z) and of p(z), over a grid of latents."""
    dim, name = model.config.latent_dim, model.config.model_type
    if name == "gae_svae":
        _, tangents, p = polar(lambda t: (dim - 2) * t.sin().log(), pi, dim - 1, 48)
        t, _ = gauss(160, 0.0, pi)
        t = t.repeat_interleave(len(p) // len(t)).unsqueeze(1)
        z = torch.cat([t.cos(), t.sin() * tangents], 1)
        log_volume = p.log() - model.prior_log_prob(z)  # of the uniform distribution
    else:
        z, cell = latent_grid(name, dim)
        log_volume = torch.full_like(z[:, 0], cell.log())
        if name == "gae_poincare_vae":
            r = torch.linalg.vector_norm(z, dim=1).clamp(min=1e-12)
            log_volume += (dim - 1) * (r.sinh() / r).log()
    log_prior = model.prior_log_prob(z) + log_volume
    log_p, _ = model.log_prob(X, z.unsqueeze(0))
    return (log_p[0] + model.likelihood.constant() + log_prior).logsumexp(0), log_prior.logsumexp(0)


def relative_error(case, dim, fields, monkeypatch):
    """E[w] / p(x) - 1, and the integral of the prior minus 1."""
    model = build(case, dim, **fields)
    noise, probabilities = noise_of(model)
    log_evidence, log_total = integrate_joint(model)
    log_w = weigh(model, noise, monkeypatch)
    return (probabilities * (log_w - log_evidence).exp()).sum().item() - 1, log_total.expm1().item()


@pytest.mark.parametrize(
    ("case", "dim", "fields"), ROWS, ids=lambda row: getattr(row, "id", None) or str(row).replace(" ", "")[:24]
)
def test_mean_of_the_weights_is_the_evidence(case, dim, fields, monkeypatch):
    error, prior_error = relative_error(case, dim, fields, monkeypatch)
    assert abs(prior_error) < 1e-6
    assert abs(error) < 1e-6
