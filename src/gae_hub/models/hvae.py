r"""HVAE: Hamiltonian Variational Auto-Encoder (Caterini, Doucet & Sejdinovic, 2018), arXiv:1805.11872.

.. math::
    \mathcal{L}(x) = -\mathbb{E} \left[ \log \frac{p(x|z_K)\, p(z_K)\, N(\rho_K; 0, I)}{q(z_0|x)\,
    N(\rho_0; 0, I / \beta_0)\, \beta_0^{-d/2}} \right], \quad (z_K, \rho_K) = \Phi(z_0, \rho_0)

The posterior's draws follow K tempered leapfrog steps of the Hamiltonian :math:`-\log p(x, z) + \|\rho\|^2 / 2`, which
carry them towards the true posterior. The steps preserve volume, and tempering scales it by :math:`\beta_0^{d/2}`.

Changes: bound.
Use it when: a Gaussian posterior is too simple, and the decoder itself should refine it, at several times the cost.

Relations:
    No step at all is the VAE, with a Monte Carlo estimate of its KL. RHVAE gives the momentum a learned metric.
    VAE-IAF and VAE-lin-NF have learned flows in place of the one that the decoder gives.
    Pythae moves by the momentum of the whole step, drops the tempering, and has another variance in the entropy than
    in the draws.
"""

__all__ = ["HVAEConfig", "HVAEModel", "HamiltonianPosterior"]

from collections.abc import Callable
from dataclasses import dataclass
from math import log, sqrt

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.modules.backbones import use_running_statistics
from gae_hub.modules.noise import randn
from gae_hub.modules.posteriors import DiagonalGaussian, Posterior

from .base import register_model
from .vae import MonteCarloVAEModel, VAEConfig


@strict
class HVAEConfig(VAEConfig):
    """
    Args:
        num_leapfrog_steps: K.
        step_size: of the leapfrog, at the start; one number for each dimension is learned, in (0, max_step_size).
        max_step_size: its bound.
        beta_zero: the inverse temperature of the first momentum, in (0, 1), at the start; 1 is no tempering.
        learn_step_size, learn_beta_zero: whether they are learned.
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
            raise ValueError(f"beta_zero must lie in (0, 1), or be 1 and not learned, got {self.beta_zero}")


@dataclass
class HamiltonianPosterior(Posterior):
    """Draws of a Gaussian that are carried along by the dynamics.

    Args:
        base: q(z_0|x).
        flow: z_0 and standard normal noise, both (batch, *draws, latent_dim), to z_K and log N(rho_0) - log N(rho_K),
            (batch, *draws), with the volume's change in it.
    """

    base: DiagonalGaussian
    flow: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

    @property
    def mean(self) -> Tensor:
        """(batch, latent_dim): where the base's mean goes from rest."""
        return self.flow(self.base.mean, torch.zeros_like(self.base.mean))[0]

    def rsample(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        return self.rsample_and_log_prob(*shape, generator=generator)[0]

    def rsample_and_log_prob(self, *shape: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draws, and what stands for their log density: log q(z_0|x) + log N(rho_0) - log N(rho_K)."""
        z = self.base.rsample(*shape, generator=generator)
        carried, momentum = self.flow(z, randn(z.shape, z, generator))
        return carried, self.base.log_prob(z) + momentum

    def diagnostics(self) -> dict[str, Tensor]:
        return Posterior.diagnostics(self.base)


class HVAEModel(MonteCarloVAEModel):
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
    def _init_weights(self, module):
        super()._init_weights(module)
        if module is self and hasattr(self, "step_logits"):
            init.constant_(self.step_logits, logit(self.config.step_size / self.config.max_step_size))
        if module is self and hasattr(self, "sqrt_beta_logit"):
            init.constant_(self.sqrt_beta_logit, logit(sqrt(self.config.beta_zero)))

    def encode(self, pixel_values: Tensor) -> Posterior:
        base = super().encode(pixel_values)
        if not self.config.num_leapfrog_steps:
            return base
        return HamiltonianPosterior(base, lambda z, noise: self.evolve(pixel_values, z, noise))

    def evolve(self, pixel_values: Tensor, z: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z_K, and log N(rho_0; 0, I / beta_0) - log N(rho_K; 0, I) minus the log of the volume's change."""
        z, momentum = self.trajectory(pixel_values, z, noise * self.tempering()[0])
        return z, 0.5 * (momentum.square() - noise.square()).sum(-1)

    def trajectory(self, pixel_values: Tensor, z: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
        """z_K and rho_K from z_0 and rho_0, all (batch, *draws, latent_dim)."""
        step, scales = self.step_size(), self.tempering()
        force = self.force(pixel_values, z)
        for before, after in zip(scales, scales[1:], strict=False):
            momentum = momentum + 0.5 * step * force
            z = z + step * momentum
            force = self.force(pixel_values, z)
            momentum = (momentum + 0.5 * step * force) * (after / before)
        return z, momentum

    def force(self, pixel_values: Tensor, z: Tensor) -> Tensor:
        """The gradient of log p(x, z) by z; batch norm by its running statistics, so that images stay independent."""
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad(), use_running_statistics(self.decoder):
            at = z if z.requires_grad else z.detach().requires_grad_()
            log_p, _ = self.log_prob(pixel_values, at, adapt=False)
            joint = log_p + self.prior_log_prob(at)
            return torch.autograd.grad(joint.sum(), at, create_graph=create_graph)[0]

    def step_size(self) -> Tensor | float:
        """(latent_dim,), or one number for all."""
        if not self.config.learn_step_size:
            return self.config.step_size
        return self.config.max_step_size * self.step_logits.sigmoid()

    def tempering(self) -> list[Tensor | float]:
        """1 / sqrt(beta_k) for k = 0 to K, in the paper's quadratic schedule, down to 1."""
        start = 1 / (self.sqrt_beta_logit.sigmoid() if self.config.learn_beta_zero else sqrt(self.config.beta_zero))
        steps = self.config.num_leapfrog_steps
        return [(1 - start) * (k / steps) ** 2 + start for k in range(steps + 1)]


def logit(p: float) -> float:
    return log(p) - log(1 - p)


register_model(HVAEConfig, HVAEModel)
