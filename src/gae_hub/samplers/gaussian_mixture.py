r"""Gaussian mixture: From Variational to Deterministic Autoencoders (Ghosh, Sajjadi, Vergari, Black & Schölkopf,
2020), arXiv:1903.12436.

.. math::
    q(z) = \sum_k \pi_k N(z; \mu_k, \Sigma_k)

Fitted by scikit-learn's expectation maximisation on the embeddings of the training set.

Relations:
    One component is the Gaussian of the embeddings. Flows (MAF, IAF) fit densities that a mixture cannot.
    Pythae returns its draws grouped by component; here the component of each draw is independent.
"""

__all__ = ["GaussianMixtureSampler", "GaussianMixtureSamplerConfig"]

from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from ..models.posteriors import randn
from .base import GAESampler, GAESamplerConfig, register_sampler


@strict
class GaussianMixtureSamplerConfig(GAESamplerConfig):
    """
    Args:
        num_components: number of Gaussians.
        covariance_type: "full" or "diag".
        max_iter: at most so many steps of expectation maximisation.
        seed: of the k-means initialisation.
    """

    model_type = "gae_gaussian_mixture_sampler"

    num_components: int = 10
    covariance_type: Literal["full", "diag"] = "full"
    max_iter: int = 2000
    seed: int = 0

    def validate_counts(self):
        self.require_positive("num_components", "max_iter")


class GaussianMixtureSampler(GAESampler):
    """
    Args:
        config: the config; or leave it out and give its fields as keywords,
            `GaussianMixtureSampler(num_components=10)`.
    """

    config_class = GaussianMixtureSamplerConfig

    def __init__(self, config: GaussianMixtureSamplerConfig | None = None, **fields):
        super().__init__(config or GaussianMixtureSamplerConfig(**fields))

    def allocate(self, config: GaussianMixtureSamplerConfig):
        k, d = config.num_components, config.latent_dim
        self.register_buffer("weights", torch.full((k,), 1 / k))
        self.register_buffer("means", torch.zeros(k, d))
        self.register_buffer("scales", torch.eye(d).expand(k, d, d).clone())  # Cholesky factors of the covariances

    def estimate(self, latents: Tensor):
        from sklearn.mixture import GaussianMixture

        config = self.config
        if len(latents) < config.num_components:
            raise ValueError(f"num_components is {config.num_components}, but there are only {len(latents)} latents")
        mixture = GaussianMixture(
            config.num_components,
            covariance_type=config.covariance_type,
            max_iter=config.max_iter,
            random_state=config.seed,
        ).fit(latents.cpu().double().numpy())
        covariances = torch.from_numpy(mixture.covariances_)
        if config.covariance_type == "diag":
            covariances = covariances.diag_embed()
        self.weights.copy_(torch.from_numpy(mixture.weights_))
        self.means.copy_(torch.from_numpy(mixture.means_))
        self.scales.copy_(torch.linalg.cholesky(covariances))

    def draw(self, num_samples: int, generator: torch.Generator | None) -> Tensor:
        device = generator.device if generator is not None else self.device
        components = torch.multinomial(self.weights.to(device), num_samples, replacement=True, generator=generator)
        components = components.to(self.device)
        latents = randn((num_samples, self.config.latent_dim), self.means, generator)
        for k, (mean, scale) in enumerate(zip(self.means, self.scales, strict=True)):
            own = components == k
            latents[own] = mean + latents[own] @ scale.T
        return latents


register_sampler(GaussianMixtureSamplerConfig, GaussianMixtureSampler)
