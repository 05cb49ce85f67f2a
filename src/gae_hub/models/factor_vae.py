r"""FactorVAE: Disentangling by Factorising (Kim & Mnih, 2018), arXiv:1802.05983.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(z|x)} \log p(x|z) + KL(q(z|x) \| p(z)) + \gamma\, TC(z), \quad
    TC(z) = \mathbb{E}_{q(z)} \log \frac{D(z)}{1 - D(z)}

The discriminator learns to distinguish samples of :math:`q(z)` from samples of :math:`\prod_j q(z_j)`, which are
obtained by permuting each dimension over the batch. The paper permutes a second batch; here the same batch is
permuted, and every image of it is decoded. With several processes, each process permutes its own batch.

Changes: adversarial.
Use it when: you want disentangled latents, and batches are too small for beta-TC-VAE's estimate.

Relations:
    With gamma = 0, encoder and decoder follow the gradients of the VAE. beta-TC-VAE estimates the same total
    correlation without a discriminator.
    Pythae decodes one half of each batch, and the gradient of the discriminator's loss reaches the encoder; here it
    does not.
"""

__all__ = ["FactorVAEConfig", "FactorVAEModel", "permute_dimensions"]

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.discriminators import (
    Discriminator,
    discriminator_accuracy,
    discriminator_loss,
    partition_parameters,
)
from gae_hub.modules.losses import call_frozen, require_examples
from gae_hub.modules.noise import rand

from .base import GAEOutput, register_model
from .vae import VAEConfig, VAEModel


@strict
class FactorVAEConfig(VAEConfig):
    """
    Args:
        gamma: weight of the total correlation.
        discriminator_hidden_sizes: widths of the discriminator's hidden layers; the default is the paper's.
    """

    model_type = "gae_factor_vae"

    gamma: float | int = 10.0
    discriminator_hidden_sizes: list[int] | tuple[int, ...] = (1000,) * 6

    def validate_discriminator(self):
        if not self.gamma >= 0:
            raise ValueError(f"gamma must be 0 or more, got {self.gamma}")
        self.require_positive("discriminator_hidden_sizes")
        if not self.discriminator_hidden_sizes:
            raise ValueError("discriminator_hidden_sizes must name at least one layer, got none")


class FactorVAEModel(VAEModel):
    config: FactorVAEConfig
    discriminator: Discriminator

    config_class = FactorVAEConfig
    # the other terms depend on how good the current discriminator is
    metric_for_best_model = "negative_elbo"
    min_batch_size = 2

    def setup(self, config: FactorVAEConfig):
        super().setup(config)
        self.discriminator = Discriminator((config.latent_dim,), config.discriminator_hidden_sizes, slope=0.2)

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch of at least 2."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior, sample=True, generator=generator)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        if not return_loss:
            return self.build_output({}, posterior, return_loss=False, reconstruction=reconstruction, latents=latents)

        require_examples(pixel_values.shape[0], "FactorVAE, which permutes latents over the batch,")
        samples = latents.detach()
        both = torch.stack([samples, permute_dimensions(samples, generator)])
        joint, product = self.discriminator(both.flatten(0, 1)).unflatten(0, both.shape[:2])
        terms = {
            "reconstruction": -log_p,
            "kl": posterior.kl(),
            "total_correlation": call_frozen(self.discriminator, latents),
            "discriminator": 0.5 * discriminator_loss(joint, product),
        }
        metrics = {
            "negative_elbo": (terms["reconstruction"] + terms["kl"]).mean(),
            "discriminator_accuracy": discriminator_accuracy(joint, product),
        }
        return self.build_output(terms, posterior, metrics, reconstruction=reconstruction, latents=latents)

    def loss_weights(self) -> dict[str, float]:
        return {"total_correlation": self.config.gamma}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return partition_parameters(self, "autoencoder", discriminator=self.discriminator)


def permute_dimensions(latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Permute each dimension of latents (batch, latent_dim) over the batch, independently of the other dimensions."""
    return latents.gather(0, rand(latents.shape, latents, generator).argsort(0))


register_model(FactorVAEConfig, FactorVAEModel)
