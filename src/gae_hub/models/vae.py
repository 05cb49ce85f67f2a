r"""VAE: Auto-Encoding Variational Bayes (Kingma & Welling, 2013), arXiv:1312.6114.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + KL(q(z|x) \| p(z)), \quad p(z) = N(0, I)

One draw of z per example estimates the first term; the second is in closed form.

Changes: objective.
Use it when: you need a likelihood and a prior to sample from, with few settings. Start here.

Relations:
    The AE without the noise and the KL. Nearly every other method here changes one term of this loss, its posterior
    or its prior.
"""

__all__ = ["MonteCarloVAEModel", "VAEConfig", "VAEModel"]

from math import log, prod

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.posteriors import DiagonalGaussian, gaussian_log_prob
from gae_hub.modules.precision import at_least_float32

from .base import GAEConfig, GAEOutput, GAEPreTrainedModel, inference, register_model


@strict
class VAEConfig(GAEConfig):
    """
    Args:
        kl_warmup_fraction: share of the training steps over which the KL's weight rises from 0 to its own (Bowman et
            al., 2016, arXiv:1511.06349); 0 for none. Evaluation always has the whole of it.
    """

    model_type = "gae_vae"

    kl_warmup_fraction: float | int = 0.0

    def validate_warmup(self):
        if not 0 <= self.kl_warmup_fraction <= 1:
            raise ValueError(f"kl_warmup_fraction must lie in [0, 1], got {self.kl_warmup_fraction}")


class VAEModel(GAEPreTrainedModel):
    """The base of the family: a paper overrides `regularizers` and `loss_weights`, the posterior, or the prior."""

    config_class = VAEConfig
    kl_terms: tuple[str, ...] = ("kl",)  # whose weights the warm-up scales

    def setup(self, config: VAEConfig):
        self.head = nn.Linear(prod(self.feature_shape), 2 * config.latent_dim)

    def encode(self, pixel_values: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(*at_least_float32(self.head(self.encode_features(pixel_values))).chunk(2, dim=-1))

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss with its terms, reconstruction and latents of a batch, with one draw per example."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior, sample=True, generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p, **self.regularizers(latents, posterior, generator)}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def regularizers(
        self, latents: Tensor, posterior: DiagonalGaussian, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The loss's terms beside the reconstruction: per example, (batch,), or scalars, in nats."""
        return {"kl": posterior.kl()}

    def compute_kl_warmup(self) -> Tensor | float:
        """The KL's share of its own weight, from 0 to 1 over the warm-up."""
        return self.compute_warmup(self.config.kl_warmup_fraction)

    def current_loss_weights(self) -> dict[str, float | Tensor]:
        weights = self.loss_weights()
        return weights | {name: weights.get(name, 1.0) * self.compute_kl_warmup() for name in self.kl_terms}

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws) log density of the prior at latents (batch, *draws, latent_dim), in nats."""
        return gaussian_log_prob(latents).sum(-1)

    @inference
    def log_likelihood(
        self,
        pixel_values: Tensor,
        num_samples: int = 100,
        generator: torch.Generator | None = None,
        batch_size: int = 500,
    ) -> Tensor:
        r"""(batch,) estimates of log p(x) in nats, constants included, by importance sampling with the posterior:
        :math:`\log \frac{1}{S} \sum_s p(x|z_s) p(z_s) / q(z_s|x)`. In expectation a lower bound, tight as S grows.

        Args:
            pixel_values: (batch, *input_shape).
            num_samples: S, the number of draws per image; exactly so many are used, and the image is encoded once.
            generator: source of randomness.
            batch_size: images decoded at a time.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
        return torch.cat(
            [
                self._log_likelihood(images, num_samples, generator, batch_size)
                for images in pixel_values.split(batch_size)
            ]
        )

    def _log_likelihood(self, pixel_values: Tensor, num_samples: int, generator, batch_size: int) -> Tensor:
        posterior = self.encode(pixel_values)
        chunk, log_weights = max(1, batch_size // len(pixel_values)), []
        for first in range(0, num_samples, chunk):
            z, log_q = posterior.rsample_and_log_prob(min(chunk, num_samples - first), generator=generator)
            log_p, _ = self.log_prob(pixel_values, z)
            log_weights.append(log_p + self.prior_log_prob(z) - log_q)
        return torch.cat(log_weights, 1).logsumexp(1) - log(num_samples) + self.likelihood.constant()


class MonteCarloVAEModel(VAEModel):
    """Base of the methods whose KL has no closed form: it is log q(z|x) - log p(z) at the draw that is decoded."""

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss with its terms, reconstruction and latents of a batch, with one draw per example."""
        posterior = self.encode(pixel_values)
        latents, log_q = posterior.rsample_and_log_prob(generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p, "kl": log_q - self.prior_log_prob(latents)}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )


register_model(VAEConfig, VAEModel)
