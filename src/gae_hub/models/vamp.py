r"""VAMP: VAE with a VampPrior (Tomczak & Welling, 2018), arXiv:1705.07120.

.. math::
    \mathcal{L}(x) = \mathbb{E}_{q(z|x)} \left[ -\log p(x|z) + w \left( \log q(z|x) - \log p(z) \right) \right], \quad
    p(z) = \frac{1}{K} \sum_{k=1}^K q(z|u_k)

The prior is the aggregated posterior of K pseudo-inputs :math:`u_k`, images that are learned with the model. The
weight w increases to 1 during the warm-up; it is 1 without a warm-up and in evaluation.

Changes: prior.
Use it when: samples of N(0, I) look bad: the prior becomes a mixture of posteriors, learned with the model.

Relations:
    With one standard normal component it is the VAE with a Monte Carlo estimate of its KL.
    The authors' code bounds pseudo-inputs by a Hardtanh, where pixels that are initialised below 0 have no gradient;
    here it is a sigmoid.
    Pythae includes pseudo-inputs in the batch norm statistics of the images, shares one bias between all
    pseudo-inputs, and samples with other variances than those of its prior; here the statistics are those of the
    images, each pseudo-input is free, and samples have the density of the prior.
"""

__all__ = ["VAMPConfig", "VAMPModel"]

from math import log, pi

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.argument_checks import generator_device
from gae_hub.modules.backbones import use_running_statistics
from gae_hub.modules.noise import randn
from gae_hub.modules.posteriors import DiagonalGaussian, GaussianPosterior
from gae_hub.modules.precision import at_least_float32, full_precision

from .base import GAEOutput, inference, register_model
from .conditional import ClassLabels
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
    config: VAMPConfig
    pseudo_logits: nn.Parameter  # (num_components, *input_shape), before the sigmoid

    config_class = VAMPConfig
    supports_conditions = False  # pseudo-inputs have no condition
    cached_components: DiagonalGaussian | None = None  # set while the parameters do not change

    def setup(self, config: VAMPConfig):
        super().setup(config)
        self.pseudo_logits = nn.Parameter(torch.empty(config.num_components, *config.input_shape))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if module is self:
            init.normal_(self.pseudo_logits)

    def encode(self, pixel_values: Tensor) -> GaussianPosterior:
        posterior = super().encode(pixel_values)
        return GaussianPosterior(posterior.mean, posterior.log_var)

    def encode_components(self) -> DiagonalGaussian:
        """q(z|u_k), with mean and log_var (K, latent_dim).

        Batch normalisation uses its running statistics, so that the prior is the same function in training and in
        evaluation, and pseudo-inputs do not change these statistics.
        """
        # not encode_features, which would check the values: the sigmoid keeps them in [0, 1]
        with use_running_statistics(self.encoder):
            features = self.encoder(self.pseudo_logits.sigmoid()).flatten(1)
        return DiagonalGaussian(*at_least_float32(self.head(features)).chunk(2, dim=-1))

    def component_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws, K): log q(z|u_k), in nats, for latents (batch, *draws, latent_dim).

        The square is expanded into matrix products, so that no tensor of size (batch, *draws, K, latent_dim) is
        needed. Its large terms cancel, so they are computed in float64 if the device supports it.
        """
        components = self.cached_components or self.encode_components()
        dtype = torch.float32 if latents.device.type == "mps" else torch.float64
        z, mean, log_var = (t.to(dtype) for t in (latents, components.mean, components.log_var))
        precision = (-log_var).exp()
        with full_precision(latents):
            square = z.square() @ precision.T - 2 * z @ (mean * precision).T
        rest = (mean.square() * precision + log_var + log(2 * pi)).sum(-1)
        return (-0.5 * (square + rest)).to(latents.dtype)

    def prior_log_prob(self, latents: Tensor) -> Tensor:
        """(batch, *draws): log density of the mixture at latents (batch, *draws, latent_dim), in nats."""
        return _average_densities(self.component_log_prob(latents))

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch, with one sample per example.

        The metric `components_in_use` is the perplexity, 1 to K, of the components' shares in the batch's samples.
        """
        posterior = self.encode(pixel_values)
        latents, log_q = posterior.rsample_and_log_prob(generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        component_log_p = self.component_log_prob(latents)
        shares = component_log_p.detach().softmax(-1).mean(0)
        return self.build_output(
            {"reconstruction": -log_p, "kl": log_q - _average_densities(component_log_p)},
            posterior,
            metrics={"components_in_use": torch.special.entr(shares).sum().exp()},
            return_loss=return_loss,
            reconstruction=reconstruction,
            latents=latents,
        )

    @inference
    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, latent_dim): samples of the prior, each from a random component."""
        components = self.encode_components()
        device = generator_device(generator, self.device)
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
        class_labels: ClassLabels = None,
    ) -> Tensor:
        """(batch,) estimates of log p(x) in nats, as for every method. The pseudo-inputs are encoded once."""
        self.cached_components = self.encode_components()
        try:
            return super().log_likelihood(pixel_values, num_samples, generator, batch_size, class_labels)
        finally:
            self.cached_components = None


def _average_densities(component_log_p: Tensor) -> Tensor:
    """Log density of a mixture with equal weights, for the log densities of its components on the last axis."""
    return component_log_p.logsumexp(-1) - log(component_log_p.shape[-1])


register_model(VAMPConfig, VAMPModel)
