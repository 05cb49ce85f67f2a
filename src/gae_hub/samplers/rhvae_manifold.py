r"""Manifold of RHVAE: Data Augmentation in High Dimensional Low Sample Size Setting Using a Geometry-Based Variational
Autoencoder (Chadebec, Thibeau-Sutre, Burgos & Allassonnière, 2021), arXiv:2105.00026.

.. math::
    p(z) \propto \sqrt{\det G^{-1}(z)} \quad \text{where } \min_i \|z - c_i\| \le r T

The inverse of the metric's volume element :math:`\sqrt{\det G(z)}`, which is large where that is small: near the
centroids, where the embeddings are. (The uniform distribution of the manifold would have the volume element itself as
its density, and draw from the voids.) It is restricted to the neighbourhood of the centroids (elsewhere it is a
constant, which has no integral), and drawn from by Hamiltonian Monte Carlo from random centroids.

Relations:
    The force is half the gradient of log det G^-1, :math:`\sum_i w_i \mathrm{tr}(G M_i) (c_i - z) / T^2`: Pythae has a
    vector in place of the trace, so that nearly all that it proposes is refused or does not move.
"""

__all__ = ["RHVAEManifoldSampler", "RHVAEManifoldSamplerConfig"]

from math import exp, log, sqrt

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..models.rhvae import RHVAEModel
from ..modules.noise import rand, randn
from ..modules.precision import full_precision
from ..modules.riemannian_metric import LocalMetric, RiemannianMetric
from .base import GAESampler, GAESamplerConfig, register_sampler

_NUMBERS = 2**24  # that a chunk of chains may hold


@strict
class RHVAEManifoldSamplerConfig(GAESamplerConfig):
    """
    Args:
        num_steps: transitions of each chain; a draw is the end of a chain of its own.
        num_leapfrog_steps: of each transition.
        reach: r, how far from a centroid the density goes, in units of the metric's temperature T.
        target_acceptance: what the step size is adapted to.
        num_warmup_steps, num_warmup_chains: transitions and chains that adapt it; no draw is taken from these.
        seed: of the warm-up.
        num_centroids, temperature, metric_regularization: of the metric; `fit_to` takes them from the model.
    """

    model_type = "gae_rhvae_manifold_sampler"

    num_steps: int = 100
    num_leapfrog_steps: int = 15
    reach: float | int = 3.0
    target_acceptance: float = 0.8
    num_warmup_steps: int = 100
    num_warmup_chains: int = 100
    seed: int = 0
    num_centroids: int | None = None
    temperature: float | int = 1.0
    metric_regularization: float | int = 0.01

    def validate_chains(self):
        self.require_positive("num_steps", "num_leapfrog_steps", "reach", "num_warmup_steps", "num_warmup_chains")
        if not 0 < self.target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie in (0, 1), got {self.target_acceptance}")


class RHVAEManifoldSampler(GAESampler):
    """`fit_to(model)` needs no data.

    Args:
        config: the config; or leave it out and give its fields as keywords.

    Attributes:
        acceptance_rate: mean probability that a transition was accepted, of the newest draws, or of the warm-up; None
            before both. It is not saved: drawing changes nothing that is.
    """

    config_class = RHVAEManifoldSamplerConfig
    acceptance_rate: float | None = None

    @classmethod
    def why_not(cls, model) -> str | None:
        if not (isinstance(model, RHVAEModel) and model.config.num_leapfrog_steps):
            return "it has no metric of its latent space, which an RHVAEModel has"
        return None

    def allocate(self, config: RHVAEManifoldSamplerConfig):
        n, d = config.num_centroids, config.latent_dim
        self.register_buffer("centroids", torch.zeros(n, d))
        self.register_buffer("matrices", torch.zeros(n, d, d))
        self.register_buffer("step_size", torch.ones(()))

    def fit(self, latents: Tensor, **training):
        raise ValueError("this sampler draws from the metric of a model, and not from latents: use fit_to(model)")

    @torch.no_grad()
    def fit_to(self, model, dataset=None, validation_dataset=None) -> "RHVAEManifoldSampler":
        """Take the metric of a model, and adapt the step size to it. Data, if given, change nothing."""
        self.check_model(model)
        filled = model.matrices.flatten(1).abs().sum(1) > 0
        config = self.config
        with self.all_or_nothing():
            config.latent_dim, config.latent_shape = model.config.latent_dim, tuple(model.latent_shape)
            config.num_centroids = int(filled.sum())
            config.temperature, config.metric_regularization = (
                model.config.temperature,
                model.config.metric_regularization,
            )
            self.allocate(config)
            self.to(device=model.device, dtype=model.centroids.dtype)
            self.centroids.copy_(model.centroids[filled])
            self.matrices.copy_(model.matrices[filled])
            self.adapt()
        return self.eval()

    def metric(self) -> RiemannianMetric:
        return RiemannianMetric(
            self.centroids, self.matrices, self.config.temperature, self.config.metric_regularization
        )

    def log_density(self, place: LocalMetric) -> Tensor:
        """(num,) log of sqrt(det G^-1), and -inf out of reach of all centroids."""
        near = place.weights.amax(-1) >= exp(-(self.config.reach**2))
        return torch.where(near, -place.half_log_det(), -torch.inf)

    def force(self, place: LocalMetric) -> Tensor:
        """(num, latent_dim): the gradient of log sqrt(det G^-1)."""
        pull = place.weights * place.traces
        with full_precision(pull):
            moment = pull @ self.centroids
        return (moment - pull.sum(-1, keepdim=True) * place.z) / self.config.temperature**2

    def transition(
        self,
        place: LocalMetric,
        step_size: Tensor,
        generator: torch.Generator | None,
        metric: RiemannianMetric | None = None,
    ) -> tuple[LocalMetric, Tensor]:
        """The next place of each chain, and the probability (num,) that its proposal was accepted with."""
        metric = metric or self.metric()
        start = randn(place.z.shape, place.z, generator)
        uniform = rand(place.z.shape[:1], place.z, generator)
        at, momentum, force = place, start, self.force(place)
        for _ in range(self.config.num_leapfrog_steps):
            half = momentum + 0.5 * step_size * force
            at = metric.at(at.z + step_size * half)
            force = self.force(at)
            momentum = half + 0.5 * step_size * force
        energy = self.log_density(at) - 0.5 * momentum.square().sum(-1)
        before = self.log_density(place) - 0.5 * start.square().sum(-1)
        probability = (energy - before).clamp(max=0).exp().nan_to_num(0)  # a step far too large gives nan: refused
        return place.where(uniform < probability, at), probability

    def adapt(self):
        """Dual averaging of the log step size (Hoffman & Gelman, 2014, arXiv:1111.4246, algorithm 5)."""
        config, generator = self.config, torch.Generator().manual_seed(self.config.seed)
        place = self.start(config.num_warmup_chains, generator)
        centre = log(10 * 0.1 * config.temperature)
        log_step, smoothed, error = (torch.zeros_like(self.step_size) for _ in range(3))
        log_step.fill_(centre - log(10))
        for t in range(1, config.num_warmup_steps + 1):
            place, probability = self.transition(place, log_step.exp(), generator)
            error = error + (config.target_acceptance - probability.mean() - error) / (t + 10)
            log_step = centre - sqrt(t) / 0.05 * error
            smoothed = torch.lerp(smoothed, log_step, t**-0.75)
        self.step_size.copy_(smoothed.exp())
        _, probability = self.transition(place, self.step_size, generator)
        self.acceptance_rate = probability.mean().item()

    def start(self, num: int, generator: torch.Generator | None) -> LocalMetric:
        """Chains at centroids, each by chance."""
        device = generator.device if generator is not None else self.device
        chosen = torch.randint(len(self.centroids), (num,), generator=generator, device=device).to(self.device)
        return self.metric().at(self.centroids[chosen])

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        n, d = self.centroids.shape
        size, found, probabilities = max(1, _NUMBERS // (8 * (n + d * d))), [], []
        metric = self.metric()
        for first in range(0, num_samples, size):
            place = self.start(min(size, num_samples - first), generator)
            for _ in range(self.config.num_steps):
                place, probability = self.transition(place, self.step_size, generator, metric)
                probabilities.append(probability.mean())
            found.append(place.z)
        self.acceptance_rate = torch.stack(probabilities).mean().item()
        return torch.cat(found)


register_sampler(RHVAEManifoldSamplerConfig, RHVAEManifoldSampler)
