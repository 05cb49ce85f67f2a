r"""RHVAE: Geometry-Aware Hamiltonian Variational Auto-Encoder (Chadebec, Mantoux & Allassonnière, 2020),
arXiv:2010.11518.

The HVAE's bound, with a momentum that knows the latent space's metric :math:`G`, learned with the model:

.. math::
    \mathcal{L}(x) = -\mathbb{E} \left[ \log \frac{p(x|z_K)\, p(z_K)\, N(\rho_K; 0, G(z_K))}{q(z_0|x)\,
    N(\rho_0; 0, G(z_0) / \beta_0)\, \beta_0^{-d/2}} \right], \quad
    G^{-1}(z) = \sum_i L_i L_i^\top \exp \left( -\frac{\|z - c_i\|^2}{T^2} \right) + \lambda I

The centroids :math:`c_i = \mu(x_i)` and factors :math:`L_i = L(x_i)` are those of the newest `num_centroids` training
images, a queue in the model's buffers; the current batch's, of all processes, take part in the gradient.

Changes: geometry.
Use it when: you have few images: a learned metric for interpolation and for sampling where the data are.

Relations:
    The identity in place of G is the HVAE; no step at all is the VAE, with a Monte Carlo estimate of its KL.
    Pythae leaves out half of log det G, draws the momentum from another matrix than G(z_0), does not solve the
    implicit step of the position, and has another metric in training than in evaluation.
"""

__all__ = ["RHVAEConfig", "RHVAEModel"]

from math import prod

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.distributed import gather_batch
from gae_hub.modules.network_blocks import build_mlp
from gae_hub.modules.posteriors import Posterior
from gae_hub.modules.precision import at_least_float32, full_precision
from gae_hub.modules.riemannian_metric import LocalMetric, RiemannianMetric, matrix_vector_product

from .base import register_model
from .hvae import HamiltonianPosterior, HVAEConfig, HVAEModel
from .vae import VAEModel


@strict
class RHVAEConfig(HVAEConfig):
    """
    Args:
        num_centroids: how many images the metric remembers.
        temperature: T, the reach of a centroid.
        metric_regularization: lambda, what is left of the inverse metric far from all centroids.
        metric_hidden_sizes: widths of the network that gives L.
        num_fixed_point_iterations: for each implicit half of a leapfrog step.
    """

    model_type = "gae_rhvae"

    num_centroids: int = 200
    temperature: float | int = 1.5
    metric_regularization: float | int = 0.01
    metric_hidden_sizes: list[int] | tuple[int, ...] = (400,)
    num_fixed_point_iterations: int = 3

    def validate_metric(self):
        self.require_positive(
            "num_centroids",
            "temperature",
            "metric_regularization",
            "metric_hidden_sizes",
            "num_fixed_point_iterations",
        )


class RHVAEModel(HVAEModel):
    config_class = RHVAEConfig
    _keep_in_fp32_modules_strict = [*HVAEModel._keep_in_fp32_modules_strict, "centroids", "matrices"]

    def setup(self, config: RHVAEConfig):
        super().setup(config)
        if not config.num_leapfrog_steps:
            return
        n, d = config.num_centroids, config.latent_dim
        sizes = (prod(config.input_shape), *config.metric_hidden_sizes)
        self.factor_network = nn.Sequential(nn.Flatten(), build_mlp(sizes), nn.Linear(sizes[-1], d * (d + 1) // 2))
        self.register_buffer("centroids", torch.zeros(n, d))
        self.register_buffer("matrices", torch.zeros(n, d, d))
        self.register_buffer("next_place", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if module is self and "centroids" in self._buffers:
            init.zeros_(self.centroids)
            init.zeros_(self.next_place)
            first = torch.zeros_like(self.matrices)
            first[0] = torch.eye(self.config.latent_dim)  # until there are images: the identity at the origin
            init.copy_(self.matrices, first)

    def encode(self, pixel_values: Tensor) -> Posterior:
        base = VAEModel.encode(self, pixel_values)
        if not self.config.num_leapfrog_steps:
            return base
        metric = self.metric(*self.remember(pixel_values, base.mean) if self.training else ())
        return HamiltonianPosterior(base, lambda z, noise: self.evolve(pixel_values, z, noise, metric))

    def metric(self, centroids: Tensor | None = None, matrices: Tensor | None = None) -> RiemannianMetric:
        """The metric of these centroids, or of the stored ones."""
        stored = (self.centroids, self.matrices) if centroids is None else (centroids, matrices)
        return RiemannianMetric(*stored, self.config.temperature, self.config.metric_regularization)

    def factors(self, pixel_values: Tensor) -> Tensor:
        """(batch, d, d): L, lower triangular with a positive diagonal."""
        d = self.config.latent_dim
        values = at_least_float32(self.factor_network(pixel_values.to(self.dtype)))
        lower = values.new_zeros(len(values), d, d)
        rows, columns = torch.tril_indices(d, d, -1, device=values.device)
        lower[:, rows, columns] = values[:, d:]
        return lower + values[:, :d].exp().diag_embed()

    def remember(self, pixel_values: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """The queue with the batches of all processes in place of its oldest entries, and gradients to these."""
        factors = self.factors(pixel_values)
        with full_precision(factors):
            matrices = factors @ factors.mT
        n = self.config.num_centroids
        means, matrices = gather_batch(means)[-n:], gather_batch(matrices)[-n:]
        places = (self.next_place + torch.arange(len(means), device=means.device)) % n
        queue = (self.centroids.index_copy(0, places, means), self.matrices.index_copy(0, places, matrices))
        with torch.no_grad():
            self.centroids.copy_(queue[0])
            self.matrices.copy_(queue[1])
            self.next_place.copy_((self.next_place + len(means)) % n)
        return queue

    def evolve(
        self, pixel_values: Tensor, z: Tensor, noise: Tensor, metric: RiemannianMetric
    ) -> tuple[Tensor, Tensor]:
        """z_K, and log N(rho_0; 0, G / beta_0) - log N(rho_K; 0, G) minus the log of the volume's change."""
        start = metric.at(z)
        momentum = start.sample_momentum(noise) * self.tempering()[0]
        end, momentum = self.trajectory(pixel_values, start, momentum)
        kinetic = (momentum * matrix_vector_product(end.inverse, momentum)).sum(-1) - noise.square().sum(-1)
        return end.z, 0.5 * kinetic + end.half_log_det() - start.half_log_det()

    def trajectory(self, pixel_values: Tensor, place: LocalMetric, momentum: Tensor) -> tuple[LocalMetric, Tensor]:
        """z_K and rho_K from z_0 and rho_0, by tempered steps of the generalised leapfrog."""
        step, scales, iterations = self.step_size(), self.tempering(), range(self.config.num_fixed_point_iterations)
        force = self.force(pixel_values, place.z)
        for before, after in zip(scales, scales[1:], strict=False):
            half = momentum
            for _ in iterations:
                half = momentum + 0.5 * step * (force - place.kinetic_gradient(half))
            moved, velocity = place.z, matrix_vector_product(place.inverse, half)
            for _ in iterations:
                moved = place.z + 0.5 * step * (velocity + matrix_vector_product(place.metric.inverse(moved), half))
            place = place.metric.at(moved)
            force = self.force(pixel_values, place.z)
            momentum = (half + 0.5 * step * (force - place.kinetic_gradient(half))) * (after / before)
        return place, momentum


register_model(RHVAEConfig, RHVAEModel)
