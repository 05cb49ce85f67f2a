r"""RHVAE: Geometry-Aware Hamiltonian Variational Auto-Encoder (Chadebec, Mantoux & Allassonnière, 2020),
arXiv:2010.11518.

The bound of the HVAE, with the momentum in a Riemannian metric :math:`G` of the latent space, which is learned:

.. math::
    \mathcal{L}(x) = -\mathbb{E} \left[ \log \frac{p(x|z_K)\, p(z_K)\, N(\rho_K; 0, G(z_K))}{q(z_0|x)\,
    N(\rho_0; 0, G(z_0) / \beta_0)\, \beta_0^{-d/2}} \right], \quad
    G^{-1}(z) = \sum_i L_i L_i^\top \exp \left( -\frac{\|z - c_i\|^2}{T^2} \right) + \lambda I

The centroids :math:`c_i = \mu(x_i)` and factors :math:`L_i = L(x_i)` belong to the newest `num_centroids` training
images. The model's buffers store them as a queue; only those of the current batch, of all processes, have gradients.

Changes: geometry.
Use it when: you have few images: a learned metric for interpolation and for sampling where the data are.

Relations:
    With the identity as G it is the HVAE; without steps, the VAE with a Monte Carlo estimate of its KL.
    Pythae omits half of log det G, draws the momentum from another matrix than G(z_0), does not solve the implicit
    step of the position, and uses different metrics in training and in evaluation; here densities and steps are those
    of the paper, and there is one metric. The paper solves the implicit equations by three fixed-point iterations,
    which do not preserve volume if steps are large; here they are solved to rounding error, and a step that cannot be
    reversed is rejected, so that the bound holds for every step size.
"""

__all__ = ["RHVAEConfig", "RHVAEModel"]

from itertools import pairwise
from math import prod

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.adapters import has_adapter
from gae_hub.core.distributed import gather_batch
from gae_hub.modules.hamiltonian_posterior import HamiltonianPosterior
from gae_hub.modules.implicit_leapfrog import solve_implicit_step
from gae_hub.modules.network_blocks import build_mlp
from gae_hub.modules.posteriors import Posterior
from gae_hub.modules.precision import at_least_float32, full_precision
from gae_hub.modules.riemannian_metric import LocalMetric, RiemannianMetric, matrix_vector_product

from .base import register_model
from .hvae import HVAEConfig, HVAEModel
from .vae import VAEModel


@strict
class RHVAEConfig(HVAEConfig):
    """
    Args:
        num_centroids: number of training images in the metric.
        temperature: T, the range of a centroid's influence.
        metric_regularization: lambda. Far from all centroids, the inverse metric is lambda I.
        metric_hidden_sizes: widths of the hidden layers of the network L.
        num_fixed_point_iterations: most iterations of Newton's method for each of the two implicit equations of a
            leapfrog step. Each point stops on its own, and a step that needs more is rejected.
    """

    model_type = "gae_rhvae"

    num_centroids: int = 200
    temperature: float | int = 1.5
    metric_regularization: float | int = 0.01
    metric_hidden_sizes: list[int] | tuple[int, ...] = (400,)
    num_fixed_point_iterations: int = 10

    def validate_metric(self):
        self.require_positive(
            "num_centroids",
            "temperature",
            "metric_regularization",
            "metric_hidden_sizes",
            "num_fixed_point_iterations",
        )


class RHVAEModel(HVAEModel):
    config: RHVAEConfig
    factor_network: nn.Sequential  # L
    centroids: Tensor  # (num_centroids, latent_dim)
    matrices: Tensor  # (num_centroids, latent_dim, latent_dim), the L L^T; zeros are free places
    next_place: Tensor  # scalar: index of the oldest entry of the queue

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
        self.register_buffer("matrices", first_matrices(n, d))
        self.register_buffer("next_place", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is self and "centroids" in self._buffers:
            init.zeros_(self.centroids)
            init.zeros_(self.next_place)
            init.copy_(self.matrices, first_matrices(*self.centroids.shape))

    def encode(self, pixel_values: Tensor) -> Posterior:
        base = VAEModel.encode(self, pixel_values)
        if not self.config.num_leapfrog_steps:
            return base
        may_update = self.training and not has_adapter(self)  # an adapter's file does not hold the metric's images
        metric = self.build_metric(*self.update_queue(pixel_values, base.mean) if may_update else ())
        return HamiltonianPosterior(base, lambda z, noise: self.evolve(pixel_values, z, noise, metric))

    def build_metric(self, centroids: Tensor | None = None, matrices: Tensor | None = None) -> RiemannianMetric:
        """The metric with these centroids and matrices, by default the stored ones."""
        return RiemannianMetric(
            self.centroids if centroids is None else centroids,
            self.matrices if matrices is None else matrices,
            self.config.temperature,
            self.config.metric_regularization,
        )

    def compute_factors(self, pixel_values: Tensor) -> Tensor:
        """(batch, latent_dim, latent_dim): L, lower triangular with a positive diagonal."""
        d = self.config.latent_dim
        values = at_least_float32(self.factor_network(pixel_values.to(self.dtype)))
        lower = values.new_zeros(len(values), d, d)
        rows, columns = torch.tril_indices(d, d, -1, device=values.device)
        lower[:, rows, columns] = values[:, d:]
        return lower + values[:, :d].exp().diag_embed()

    def update_queue(self, pixel_values: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """Replace the oldest entries of the queue by the batches of all processes.

        Args:
            pixel_values: (batch, *input_shape) of this process.
            means: (batch, latent_dim), the posterior means of these images.

        Returns:
            The new centroids and matrices, with gradients to the entries of this step.
        """
        factors = self.compute_factors(pixel_values)
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
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """As in [`HVAEModel.evolve`]; the densities of the momenta are N(rho_0; 0, G / beta_0) and N(rho_K; 0, G).

        Its diagnostic `rejection_rate` is the share of the leapfrog steps that were rejected.
        """
        start = metric.at(z)
        momentum = start.sample_momentum(noise) * self.compute_tempering_scales()[0]
        end, momentum, accepted = self.integrate_leapfrog(pixel_values, start, momentum)
        kinetic = (momentum * matrix_vector_product(end.inverse, momentum)).sum(-1) - noise.square().sum(-1)
        log_ratio = 0.5 * kinetic + end.half_log_det() - start.half_log_det()
        return end.z, log_ratio, {"rejection_rate": (~accepted).to(noise.dtype).mean()}

    def integrate_leapfrog(
        self, pixel_values: Tensor, place: LocalMetric, momentum: Tensor
    ) -> tuple[LocalMetric, Tensor, Tensor]:
        """Follow tempered generalised leapfrog steps.

        A step that cannot be reversed is rejected: z stays, and the momentum changes its sign, see
        implicit_leapfrog.py.

        Args:
            pixel_values: (batch, *input_shape).
            place: the metric at z_0, (batch, *draws, latent_dim).
            momentum: (batch, *draws, latent_dim), rho_0.

        Returns:
            The metric at z_K, rho_K, and whether each step was accepted, (num_leapfrog_steps, batch, *draws).
        """
        step, scales = self.compute_step_size(), self.compute_tempering_scales()
        force, accepted = self.compute_force(pixel_values, place.z), []
        for before, after in pairwise(scales):
            pushed = momentum + 0.5 * step * force
            solution = solve_implicit_step(place, pushed, step, self.config.num_fixed_point_iterations)
            place = place.metric.at(solution.moved)
            force = self.compute_force(pixel_values, place.z)
            end = solution.half + 0.5 * step * (force - place.kinetic_gradient(solution.half))
            momentum = torch.where(solution.accepted.unsqueeze(-1), end, -momentum) * (after / before)
            accepted.append(solution.accepted)
        return place, momentum, torch.stack(accepted)


def first_matrices(num_centroids: int, latent_dim: int) -> Tensor:
    """(num_centroids, latent_dim, latent_dim): the identity, then zeros, before the first training batch."""
    return torch.cat([torch.eye(latent_dim)[None], torch.zeros(num_centroids - 1, latent_dim, latent_dim)])


register_model(RHVAEConfig, RHVAEModel)
