r"""HVAE: Hamiltonian Variational Auto-Encoder (Caterini, Doucet & Sejdinovic, 2018), arXiv:1805.11872.

.. math::
    \mathcal{L}(x) = -\mathbb{E} \left[ \log \frac{p(x|z_K)\, p(z_K)\, N(\rho_K; 0, I)}{q(z_0|x)\,
    N(\rho_0; 0, I / \beta_0)\, \beta_0^{-d/2}} \right], \quad (z_K, \rho_K) = \Phi(z_0, \rho_0)

Samples of the posterior follow K tempered leapfrog steps of the Hamiltonian :math:`-\log p(x, z) + \|\rho\|^2 / 2`,
which move them towards the true posterior. The steps preserve volume, and tempering scales it by
:math:`\beta_0^{d/2}`.

Changes: bound.
Use it when: a Gaussian posterior is too simple, and the decoder itself should refine it, at several times the cost.

Relations:
    Without steps it is the VAE with a Monte Carlo estimate of its KL. RHVAE uses a learned metric for the momentum.
    VAE-IAF and VAE-lin-NF use learned flows instead of the flow that the decoder defines.
    Pythae updates the position with the momentum of the full step, discards the tempering, and uses different
    variances in the entropy and for the samples; here all three are as in the paper.
"""

__all__ = ["HVAEConfig", "HVAEModel"]

from itertools import pairwise
from math import log, sqrt

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.modules.backbones import use_running_statistics
from gae_hub.modules.gradients import as_normal, enable_gradients
from gae_hub.modules.hamiltonian_posterior import HamiltonianPosterior
from gae_hub.modules.posteriors import Posterior

from .base import register_model
from .vae import MonteCarloVAEModel, VAEConfig


@strict
class HVAEConfig(VAEConfig):
    """
    Args:
        num_leapfrog_steps: K.
        step_size: initial size of a leapfrog step. Each dimension learns its own, in (0, max_step_size).
        max_step_size: upper bound of the step sizes.
        beta_zero: initial value of beta_0, the inverse temperature of the first momentum, in (0, 1). 1 turns tempering
            off, and cannot be learned.
        learn_step_size: whether the step sizes are learned.
        learn_beta_zero: whether beta_0 is learned.
    """

    model_type = "gae_hvae"

    num_leapfrog_steps: int = 3
    step_size: float | int = 0.01
    max_step_size: float | int = 0.5
    beta_zero: float | int = 0.3
    learn_step_size: bool = True
    learn_beta_zero: bool = True

    def validate_dynamics(self):
        if self.num_leapfrog_steps < 0:
            raise ValueError(f"num_leapfrog_steps must be 0 or more, got {self.num_leapfrog_steps}")
        if not 0 < self.step_size < self.max_step_size:
            raise ValueError(f"step_size must lie in (0, max_step_size = {self.max_step_size}), got {self.step_size}")
        if not (0 < self.beta_zero < 1 or (self.beta_zero == 1 and not self.learn_beta_zero)):
            raise ValueError(f"beta_zero must lie in (0, 1), or be 1 with learn_beta_zero=False, got {self.beta_zero}")


class HVAEModel(MonteCarloVAEModel):
    config: HVAEConfig
    step_logits: nn.Parameter  # with learn_step_size
    sqrt_beta_logit: nn.Parameter  # with learn_beta_zero

    config_class = HVAEConfig
    shardable = False
    can_be_compiled = False

    def setup(self, config: HVAEConfig):
        super().setup(config)
        if config.num_leapfrog_steps and config.learn_step_size:
            self.step_logits = nn.Parameter(torch.empty(config.latent_dim))
        if config.num_leapfrog_steps and config.learn_beta_zero:
            self.sqrt_beta_logit = nn.Parameter(torch.empty(()))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is self and hasattr(self, "step_logits"):
            init.constant_(self.step_logits, _logit(self.config.step_size / self.config.max_step_size))
        if module is self and hasattr(self, "sqrt_beta_logit"):
            init.constant_(self.sqrt_beta_logit, _logit(sqrt(self.config.beta_zero)))

    def encode(self, pixel_values: Tensor) -> Posterior:
        base = super().encode(pixel_values)
        if not self.config.num_leapfrog_steps:
            return base
        return HamiltonianPosterior(base, lambda z, noise: self.evolve(pixel_values, z, noise))

    def evolve(self, pixel_values: Tensor, z: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Draw the momentum and follow the dynamics.

        Args:
            pixel_values: (batch, *input_shape).
            z: (batch, *draws, latent_dim), z_0.
            noise: (batch, *draws, latent_dim), standard normal.

        Returns:
            z_K; log N(rho_0; 0, I / beta_0) - log N(rho_K; 0, I) minus the log of the change of volume,
            (batch, *draws), in nats; and diagnostics of the trajectories by name, scalars.
        """
        z, momentum = self.integrate_leapfrog(pixel_values, z, noise * self.compute_tempering_scales()[0])
        return z, 0.5 * (momentum.square() - noise.square()).sum(-1), {}

    def integrate_leapfrog(self, pixel_values: Tensor, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """z_K and rho_K for z_0 and rho_0, (batch, *draws, latent_dim) each, by tempered leapfrog steps."""
        step, scales = self.compute_step_size(), self.compute_tempering_scales()
        force = self.compute_force(pixel_values, z)
        for before, after in pairwise(scales):
            momentum = momentum + 0.5 * step * force
            z = z + step * momentum
            force = self.compute_force(pixel_values, z)
            momentum = (momentum + 0.5 * step * force) * (after / before)
        return z, momentum

    @torch.compiler.disable(reason="torch.compile cannot differentiate a gradient; the rest is compiled")
    def compute_force(self, pixel_values: Tensor, z: Tensor) -> Tensor:
        """(batch, *draws, latent_dim): the gradient of log p(x, z) with respect to z.

        Batch normalisation uses its running statistics, so that the force on one image's latents does not depend on
        the other images.
        """
        create_graph = torch.is_grad_enabled()
        with enable_gradients(), use_running_statistics(self.decoder):
            at = z if z.requires_grad else as_normal(z).detach().requires_grad_()
            log_p, _ = self.log_prob(as_normal(pixel_values), at, adapt=False)
            joint = log_p + self.prior_log_prob(at)
            return torch.autograd.grad(joint.sum(), at, create_graph=create_graph)[0]

    def compute_step_size(self) -> Tensor | float:
        """(latent_dim,) step sizes, or one number for all dimensions."""
        if not self.config.learn_step_size:
            return self.config.step_size
        return self.config.max_step_size * self.step_logits.sigmoid()

    def compute_tempering_scales(self) -> list[Tensor | float]:
        """1 / sqrt(beta_k) for k = 0 to K. The paper's quadratic schedule decreases it to 1."""
        start = 1 / (self.sqrt_beta_logit.sigmoid() if self.config.learn_beta_zero else sqrt(self.config.beta_zero))
        steps = self.config.num_leapfrog_steps
        return [(1 - start) * (k / steps) ** 2 + start for k in range(steps + 1)]


def _logit(p: float) -> float:
    return log(p) - log(1 - p)


register_model(HVAEConfig, HVAEModel)
