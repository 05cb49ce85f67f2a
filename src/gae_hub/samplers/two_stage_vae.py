r"""Two-stage VAE: Diagnosing and Enhancing VAE Models (Dai & Wipf, 2019), arXiv:1903.05789.

.. math::
    \mathcal{L}(z) = \mathbb{E}_{q(u|z)} \left[ \frac{\|z - f(u)\|^2}{2 \gamma^2} \right] + d \log \gamma
    + \frac{d}{2} \log 2 \pi + KL(q(u|z) \| N(0, I))

A second VAE on the latents of the first, with the same number of dimensions and a learned scale gamma.

Use it when: the model is a VAE whose latents do not follow its prior, and you want a second VAE to follow them.

Relations:
    The VAE with observation_std="optimal", on latents. Pythae leaves the scale out of its loss, so that the KL
    dominates, u carries no information, and the samples are a single mode of the wrong width.
"""

__all__ = ["TwoStageVAESampler", "TwoStageVAESamplerConfig"]

from math import log, pi

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from ..models.base import GAEOutput
from ..modules.flows import Standardization
from ..modules.network_blocks import build_mlp
from ..modules.noise import randn
from ..modules.posteriors import DiagonalGaussian
from ..modules.precision import at_least_float32
from .base import register_sampler
from .learned import LearnedSampler, LearnedSamplerConfig

_MAX_ROWS = 10_000  # samples per pass of the decoder


@strict
class TwoStageVAESamplerConfig(LearnedSamplerConfig):
    """Config of [`TwoStageVAESampler`].

    Args:
        hidden_sizes: widths of the encoder's hidden layers; the decoder's are reversed.
    """

    model_type = "gae_two_stage_vae_sampler"

    hidden_sizes: list[int] | tuple[int, ...] = (1024, 1024)

    def validate_networks(self):
        self.require_positive("hidden_sizes")


class TwoStageVAESampler(LearnedSampler):
    """A second VAE, trained on the latents of the first."""

    config: TwoStageVAESamplerConfig

    config_class = TwoStageVAESamplerConfig
    _keep_in_fp32_modules_strict = [*LearnedSampler._keep_in_fp32_modules_strict, "standardization"]

    def allocate(self, config: TwoStageVAESamplerConfig):
        d, sizes = config.density_dim, [*config.hidden_sizes]
        self.standardization = Standardization(d)
        self.encoder, self.decoder = build_mlp([d, *sizes]), build_mlp([d, *sizes[::-1]])
        # the heads see the network's input in addition to the last hidden layer, as in the authors' code
        self.to_posterior = nn.Linear(d + (sizes[-1] if sizes else d), 2 * d)
        self.to_latents = nn.Linear(d + (sizes[0] if sizes else d), d)
        self.scale = Scale()

    def fit_standardization(self, latents: Tensor):
        self.standardization.fit(latents)

    def encode(self, z: Tensor) -> DiagonalGaussian:
        """q(u|z) for standardized latents (num, density_dim)."""
        z = z.to(self.dtype)
        output = at_least_float32(self.to_posterior(torch.cat([z, self.encoder(z)], 1)))
        return DiagonalGaussian(*output.chunk(2, dim=1))

    def decode(self, u: Tensor) -> Tensor:
        """(num, density_dim): the mean of the standardized latents given u (num, density_dim)."""
        u = u.to(self.dtype)
        return at_least_float32(self.to_latents(torch.cat([u, self.decoder(u)], 1)))

    @can_return_tuple
    def forward(self, latents: Tensor, return_loss: bool = True) -> GAEOutput:
        """The bound on -log p(z) over latents (batch, density_dim), in nats, with one sample of u per example."""
        self.check_density_dim(latents)
        z, log_det = self.standardization(latents.to(self.latent_dtype))
        posterior, log_scale = self.encode(z), self.scale.log_scale
        square = (z - self.decode(posterior.rsample())).square().sum(-1)
        constant = z.shape[-1] * (log_scale + 0.5 * log(2 * pi))
        reconstruction = 0.5 * square * (-2 * log_scale).exp() + constant - log_det
        return self.build_output({"reconstruction": reconstruction, "kl": posterior.kl()}, return_loss)

    def draw_latents(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        shape = (num_samples, self.config.density_dim)
        like = torch.empty(0, device=self.device, dtype=self.latent_dtype)
        u, noise = randn(shape, like, generator), randn(shape, like, generator)
        z = torch.cat([self.decode(part) for part in u.split(_MAX_ROWS)]) + self.scale.log_scale.exp() * noise
        return self.standardization.inverse(z)[0]


class Scale(nn.Module):
    """The logarithm of gamma, which starts small.

    Latents have unit variance: if gamma started at 1, training could switch the encoder off first and never recover.
    """

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((), log(0.5)))

    def reset_parameters(self):
        init.constant_(self.log_scale, log(0.5))


register_sampler(TwoStageVAESamplerConfig, TwoStageVAESampler)
