r"""VAMP: VAE with a VampPrior (Tomczak & Welling, 2018), arXiv:1705.07120.

.. math::
    \mathcal{L}(x) = \mathbb{E}_{q(z|x)} \left[ -\log p(x|z) + w \left( \log q(z|x) - \log p(z) \right) \right], \quad
    p(z) = \frac{1}{K} \sum_{k=1}^K q(z|u_k)

The prior is the aggregated posterior of K pseudo-inputs :math:`u_k`, images that are learned with the model. The
weight w rises to 1 over a warm-up, and is 1 without one and in evaluation.

Changes: prior.
Use it when: samples of N(0, I) look bad: the prior becomes a mixture of posteriors, learned with the model.

Relations:
    One standard normal component is the VAE, with a Monte Carlo estimate of its KL.
    The authors' pseudo-inputs pass a Hardtanh, in which a pixel that begins below 0 has no gradient; a sigmoid here.
    Pythae lets batch norm mix pseudo-inputs into the statistics of the images, shares one bias between all
    pseudo-inputs, and samples with other variances than those of its prior.
"""

__all__ = ["VAMPConfig", "VAMPModel"]

from math import log, pi

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.modules.backbones import use_running_statistics
from gae_hub.modules.noise import randn
from gae_hub.modules.posteriors import DiagonalGaussian, GaussianPosterior
from gae_hub.modules.precision import at_least_float32, full_precision

from .base import GAEOutput, inference, register_model
from .vae import MonteCarloVAEModel, VAEConfig


@strict
class VAMPConfig(VAEConfig):
    """
    Args:
        num_components: K, the number of pseudo-inputs.
    """

    model_type = "gae_vamp"

    num_components: int = 50

    def validate_prior(self):
        self.require_positive("num_components")


class VAMPModel(MonteCarloVAEModel):
    config_class = VAMPConfig
    known_components: DiagonalGaussian | None = None  # while the weights stay as they are

    def setup(self, config: VAMPConfig):
        super().setup(config)
        self.pseudo_logits = nn.Parameter(torch.empty(config.num_components, *config.input_shape))

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if module is self:
            init.normal_(self.pseudo_logits)

    def encode(self, pixel_values: Tensor) -> GaussianPosterior:
        posterior = super().encode(pixel_values)
        return GaussianPosterior(posterior.mean, posterior.log_var)

    def components(self) -> DiagonalGaussian:
        """q(z|u_k), with mean and log_var (K, latent_dim).

        Batch norm goes by its running statistics, so that the prior is one function in training and evaluation, and
        the pseudo-inputs leave no trace in these statistics. They lie in [0, 1] by themselves, and are not checked.
        """
        with use_running_statistics(self.encoder):
            features = self.encoder(self.pseudo_logits.sigmoid()).flatten(1)
        return DiagonalGaussian(*at_least_float32(self.head(features)).chunk(2, dim=-1))

    def component_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws, K): log q(z|u_k), in nats, for latents (batch, *draws, latent_dim).

        The square is expanded into products of matrices, so that nothing of size (batch, *draws, K, latent_dim) is
        made. Its large terms cancel: they are in float64 where the device has it.
        """
        components = self.known_components or self.components()
        dtype = torch.float32 if latents.device.type == "mps" else torch.float64
        z, mean, log_var = (t.to(dtype) for t in (latents, components.mean, components.log_var))
        precision = (-log_var).exp()
        with full_precision(latents):
            square = z.square() @ precision.T - 2 * z @ (mean * precision).T
        rest = (mean.square() * precision + log_var + log(2 * pi)).sum(-1)
        return (-0.5 * (square + rest)).to(latents.dtype)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws) log density of the mixture at latents (batch, *draws, latent_dim), in nats."""
        return mixture(self.component_log_prob(latents))

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss with its terms, reconstruction and latents of a batch, with one draw per example.

        The metric `components_in_use` is the perplexity, 1 to K, of the components' shares of the batch's draws.
        """
        posterior = self.encode(pixel_values)
        latents, log_q = posterior.rsample_and_log_prob(generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        each = self.component_log_prob(latents)
        shares = each.detach().softmax(-1).mean(0)
        return self.build_output(
            {"reconstruction": -log_p, "kl": log_q - mixture(each)},
            posterior,
            metrics={"components_in_use": torch.special.entr(shares).sum().exp()},
            return_loss=return_loss,
            reconstruction=reconstruction,
            latents=latents,
        )

    @inference
    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim) latents: a component for each by chance, and a draw from it."""
        components = self.components()
        device = generator.device if generator is not None else self.device
        k = torch.randint(len(components.mean), (num_samples,), generator=generator, device=device).to(self.device)
        std = (0.5 * components.log_var).exp()
        return components.mean[k] + std[k] * randn((num_samples, std.shape[-1]), std, generator)

    @inference
    def log_likelihood(
        self,
        pixel_values: Tensor,
        num_samples: int = 100,
        generator: torch.Generator | None = None,
        batch_size: int = 500,
    ) -> Tensor:
        """As for the VAE, with the pseudo-inputs encoded once."""
        self.known_components = self.components()
        try:
            return super().log_likelihood(pixel_values, num_samples, generator, batch_size)
        finally:
            self.known_components = None


def mixture(each: Tensor) -> Tensor:
    """The log density of a mixture with equal weights from those of its components, on the last axis."""
    return each.logsumexp(-1) - log(each.shape[-1])


register_model(VAMPConfig, VAMPModel)
