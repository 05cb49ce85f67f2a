r"""Manifold of RHVAE: Data Augmentation in High Dimensional Low Sample Size Setting Using a Geometry-Based Variational
Autoencoder (Chadebec, Thibeau-Sutre, Burgos & Allassonnière, 2021), arXiv:2105.00026.

.. math::
    p(z) \propto \sqrt{\det G^{-1}(z)} \quad \text{where } \min_i \|z - c_i\| \le r T

The inverse of the metric's volume element :math:`\sqrt{\det G(z)}`. It is large near the centroids, where the
embeddings are and the volume element is small. (The uniform distribution on the manifold has the volume element itself
as its density, and would sample where there are no embeddings.) The density is restricted to a neighbourhood of the
centroids, since it is constant elsewhere and has no integral. Hamiltonian Monte Carlo samples from it, starting at
random centroids.

Use it when: the model is an RHVAE, and there are few training images.

Relations:
    The force is half the gradient of log det G^-1, :math:`\sum_i w_i \mathrm{tr}(G M_i) (c_i - z) / T^2`. Pythae has a
    vector in place of the trace, so that nearly all of its proposals are rejected or do not move.
"""

__all__ = ["RHVAEManifoldSampler", "RHVAEManifoldSamplerConfig"]

from math import exp, log, sqrt
from typing import Any, Self

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..core.argument_checks import generator_device
from ..models.base import GAEPreTrainedModel
from ..models.rhvae import RHVAEModel
from ..modules.noise import rand, randn
from ..modules.precision import full_precision
from ..modules.riemannian_metric import LocalMetric, RiemannianMetric
from .base import GAESampler, GAESamplerConfig, fitting_bar, register_sampler, require_value

_MAX_NUMBERS = 2**24  # numbers in memory for the chains that run at a time


@strict
class RHVAEManifoldSamplerConfig(GAESamplerConfig):
    """Config of [`RHVAEManifoldSampler`].

    Args:
        num_steps: number of transitions of each chain. Each sample is the end of a separate chain.
        num_leapfrog_steps: number of leapfrog steps in a transition.
        reach: r, the distance from the centroids at which the density ends, in units of the metric's temperature T.
        target_acceptance: acceptance probability to which the step size is adapted.
        num_warmup_steps: transitions of the warm-up that adapts the step size. No sample is taken from it.
        num_warmup_chains: chains of the warm-up.
        seed: seed of the warm-up.
        num_centroids, temperature, metric_regularization: of the metric. `fit_to` sets them from the model.
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

    set_by_fit = (*GAESamplerConfig.set_by_fit, "num_centroids", "temperature", "metric_regularization")

    def validate_chains(self):
        self.require_positive("num_steps", "num_leapfrog_steps", "reach", "num_warmup_steps", "num_warmup_chains")
        if not 0 < self.target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie in (0, 1), got {self.target_acceptance}")


class RHVAEManifoldSampler(GAESampler):
    """Samples from the metric of an RHVAE by Hamiltonian Monte Carlo. `fit_to(model)` needs no data.

    Args:
        config: the config.
        **fields: fields of the config, used if no config is given.

    Attributes:
        acceptance_rate: mean acceptance probability of the transitions of the last call of `sample`, or of the last
            transition of the warm-up; None before both. It is not saved.
    """

    config: RHVAEManifoldSamplerConfig
    centroids: Tensor  # (num_centroids, latent_dim)
    matrices: Tensor  # (num_centroids, latent_dim, latent_dim)
    step_size: Tensor  # scalar

    config_class = RHVAEManifoldSamplerConfig
    _keep_in_fp32_modules_strict = ["centroids", "matrices", "step_size"]
    acceptance_rate: float | None = None

    @classmethod
    def explain_incompatibility(cls, model: GAEPreTrainedModel) -> str | None:
        if isinstance(model, RHVAEModel) and model.config.num_leapfrog_steps:
            return None
        return "they have no metric; an RHVAEModel with num_leapfrog_steps above 0 has one"

    def allocate(self, config: RHVAEManifoldSamplerConfig):
        n, d = require_value(config.num_centroids, "num_centroids"), require_value(config.latent_dim, "latent_dim")
        self.register_buffer("centroids", torch.zeros(n, d))
        self.register_buffer("matrices", torch.zeros(n, d, d))
        self.register_buffer("step_size", torch.ones(()))

    # Fitting

    def fit(self, latents: Tensor, *, progress: bool = True, **training: Any) -> Self:
        """Raise ValueError: use `fit_to`."""
        raise ValueError("RHVAEManifoldSampler samples from a model's metric, not from latents: use fit_to(model)")

    @torch.no_grad()
    def fit_to(
        self, model: RHVAEModel, dataset: Any = None, validation_dataset: Any = None, *, progress: bool = True
    ) -> Self:
        """Copy the metric of a model and adapt the step size to it. Data sets are accepted and not used.

        Args:
            model: an RHVAE.
            dataset, validation_dataset: not used.
            progress: whether to show a progress bar.

        Raises:
            ValueError: if the model has no metric.
        """
        self.check_model(model)
        metric = model.build_metric()
        is_filled = metric.matrices.flatten(1).abs().sum(1) > 0  # the others are free places of the model's queue
        config = self.config
        with self._restore_on_error():
            config.latent_dim, config.latent_shape = model.config.latent_dim, tuple(model.latent_shape)
            config.num_centroids = int(is_filled.sum())
            config.temperature = model.config.temperature
            config.metric_regularization = model.config.metric_regularization
            self.reallocate(model.device, metric.centroids.dtype)
            self.centroids.copy_(metric.centroids[is_filled])
            self.matrices.copy_(metric.matrices[is_filled])
            self.adapt_step_size(progress)
        return self.eval()

    def adapt_step_size(self, progress: bool = False):
        """Adapt the step size by dual averaging (Hoffman & Gelman, 2014, arXiv:1111.4246, algorithm 5).

        Args:
            progress: whether to show a progress bar.
        """
        config, generator = self.config, torch.Generator().manual_seed(self.config.seed)
        place = self.start_chains(config.num_warmup_chains, generator)
        centre = log(10 * 0.1 * config.temperature)
        log_step, smoothed, error = (torch.zeros_like(self.step_size) for _ in range(3))
        log_step.fill_(centre - log(10))
        with fitting_bar(progress, "the step size", total=config.num_warmup_steps) as bar:
            for t in range(1, config.num_warmup_steps + 1):
                place, probability = self.run_transition(place, log_step.exp(), generator)
                error = error + (config.target_acceptance - probability.mean() - error) / (t + 10)
                log_step = centre - sqrt(t) / 0.05 * error
                smoothed = torch.lerp(smoothed, log_step, t**-0.75)
                bar.update()
        self.step_size.copy_(smoothed.exp())
        _, probability = self.run_transition(place, self.step_size, generator)
        self.acceptance_rate = probability.mean().item()

    # The density

    def build_metric(self) -> RiemannianMetric:
        return RiemannianMetric(
            self.centroids, self.matrices, self.config.temperature, self.config.metric_regularization
        )

    def log_density(self, place: LocalMetric) -> Tensor:
        """(num,) log of sqrt(det G^-1), and -inf where no centroid is within reach. It is not normalised."""
        is_near = place.weights.amax(-1) >= exp(-(self.config.reach**2))
        return torch.where(is_near, -place.half_log_det(), -torch.inf)

    def compute_force(self, place: LocalMetric) -> Tensor:
        """(num, latent_dim): the gradient of log sqrt(det G^-1)."""
        pull = place.weights * place.traces
        with full_precision(pull):
            moment = pull @ self.centroids
        return (moment - pull.sum(-1, keepdim=True) * place.z) / self.config.temperature**2

    # Chains

    def start_chains(self, num_chains: int, generator: torch.Generator | None) -> LocalMetric:
        """Chains at random centroids."""
        device = generator_device(generator, self.device)
        chosen = torch.randint(len(self.centroids), (num_chains,), generator=generator, device=device).to(self.device)
        return self.build_metric().at(self.centroids[chosen])

    def run_transition(
        self,
        place: LocalMetric,
        step_size: Tensor,
        generator: torch.Generator | None,
        metric: RiemannianMetric | None = None,
    ) -> tuple[LocalMetric, Tensor]:
        """One transition of each chain.

        Args:
            place: where the chains are.
            step_size: scalar.
            generator: source of random numbers.
            metric: `build_metric()`, if the caller has it.

        Returns:
            The chains' next place, and the acceptance probabilities (num,) of the proposals.
        """
        metric = metric or self.build_metric()
        start = randn(place.z.shape, place.z, generator)
        uniform = rand(place.z.shape[:1], place.z, generator)
        at, momentum, force = place, start, self.compute_force(place)
        for _ in range(self.config.num_leapfrog_steps):
            half = momentum + 0.5 * step_size * force
            at = metric.at(at.z + step_size * half)
            force = self.compute_force(at)
            momentum = half + 0.5 * step_size * force
        energy = self.log_density(at) - 0.5 * momentum.square().sum(-1)
        before = self.log_density(place) - 0.5 * start.square().sum(-1)
        probability = (energy - before).clamp(max=0).exp().nan_to_num(0)  # reject the nan of a step that is too large
        return place.where(uniform < probability, at), probability

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        n, d = self.centroids.shape
        size, found, probabilities = max(1, _MAX_NUMBERS // (8 * (n + d * d))), [], []
        metric = self.build_metric()
        for first in range(0, num_samples, size):
            place = self.start_chains(min(size, num_samples - first), generator)
            for _ in range(self.config.num_steps):
                place, probability = self.run_transition(place, self.step_size, generator, metric)
                probabilities.append(probability.mean())
            found.append(place.z)
        self.acceptance_rate = torch.stack(probabilities).mean().item()
        return torch.cat(found)


register_sampler(RHVAEManifoldSamplerConfig, RHVAEManifoldSampler)
