r"""VAE-GAN: Autoencoding beyond Pixels Using a Learned Similarity Metric (Larsen, Sønderby, Larochelle & Winther,
2016), arXiv:1512.09300.

Encoder, decoder and discriminator each follow a loss of their own (Algorithm 1), with :math:`D_l` the discriminator's
features, :math:`\hat{x}` a reconstruction and :math:`x_p` a decoded draw of the prior:

.. math::
    \mathcal{L}_{Enc} = KL + \mathcal{L}_l, \quad
    \mathcal{L}_{Dec} = \alpha \mathcal{L}_l - (1 - \alpha) \mathcal{L}_D, \quad
    \mathcal{L}_l = \tfrac{1}{2} \|D_l(x) - D_l(\hat{x})\|^2, \quad
    \mathcal{L}_D = -\log D(x) - \log (1 - D(\hat{x})) - \log (1 - D(x_p))

As in the authors' code, a player that is too strong sits out a step: the discriminator when its cross entropy on real
or on decoded images falls below equilibrium - margin, the decoder when one of them rises above equilibrium + margin.

Changes: adversarial.
Use it when: you want sharper images and accept a less stable training and no likelihood.

Relations:
    The VAE with a likelihood in feature space, so none in pixels. AAE plays the game in the latent space.
    Pythae adds the discriminator's gradient to the decoder's, so that the decoder helps it, and leaves out D(x_hat).
"""

__all__ = ["VAEGANConfig", "VAEGANModel"]

from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.core.distributed import mean_over_processes
from gae_hub.modules.discriminators import Discriminator, discriminator_accuracy, partition_parameters
from gae_hub.modules.losses import call_frozen
from gae_hub.modules.noise import randn

from .base import GAEOutput, GAEPreTrainedModel, register_model
from .vae import VAEConfig, VAEModel


@strict
class VAEGANConfig(VAEConfig):
    """
    Args:
        reconstruction_weight: alpha, from 0 to 1: the feature loss's share in the decoder's loss.
        feature_layer: l, the discriminator's layer that images are compared by, from 1.
        adversarial_loss: the decoder's own part of the game, "minimax", as in the paper, or "non_saturating".
        discriminator_channels: channels of its layers; hidden sizes, for vectors.
        discriminator_layers: "conv", or "linear" for images that are flattened first; vectors always have linear ones.
        discriminator_slope: of its leaky ReLUs for negative values.
        equilibrium, margin: when a player sits out a step, in nats per example; a margin of None is never.
    """

    model_type = "gae_vae_gan"

    reconstruction_weight: float | int = 0.8
    feature_layer: int = 2
    adversarial_loss: Literal["minimax", "non_saturating"] = "minimax"
    discriminator_channels: list[int] | tuple[int, ...] = (32, 64, 128)
    discriminator_layers: Literal["conv", "linear"] = "conv"
    discriminator_slope: float | int = 0.2
    equilibrium: float | int = 0.68
    margin: float | int | None = 0.4

    def validate_game(self):
        if not 0 <= self.reconstruction_weight <= 1:
            raise ValueError(f"reconstruction_weight must lie in [0, 1], got {self.reconstruction_weight}")
        self.require_positive("discriminator_channels", "equilibrium")
        if not 1 <= self.feature_layer <= len(self.discriminator_channels):
            raise ValueError(
                f"feature_layer must be one of the {len(self.discriminator_channels)} layers in "
                f"discriminator_channels, counted from 1, got {self.feature_layer}"
            )
        if self.margin is not None and not self.margin >= 0:
            raise ValueError(f"margin must be 0 or more, or None, got {self.margin}")


class VAEGANModel(VAEModel):
    config_class = VAEGANConfig
    shardable = False
    metric_for_best_model = (
        "reconstruction"  # in pixels: the other terms change their meaning while the discriminator learns
    )
    log_likelihood = GAEPreTrainedModel.log_likelihood
    sits_out: dict[str, Tensor] | None = None  # by player, of the step under way

    def setup(self, config: VAEGANConfig):
        super().setup(config)
        shape = config.input_shape if config.discriminator_layers == "conv" else (prod(config.input_shape),)
        self.discriminator = Discriminator(shape, config.discriminator_channels, slope=config.discriminator_slope)

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """All players' losses, each with gradients for its own player only."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior, sample=True, generator=generator)
        noise = randn(latents.shape, latents, generator)
        layer = self.config.feature_layer

        # the decoder sees the latents as constants, the encoder the decoder
        log_p, reconstruction = self.log_prob(pixel_values, latents.detach())
        for_encoder = self.likelihood.activation(call_frozen(self.decoder, latents.to(self.dtype)))
        decoded = torch.cat([reconstruction, self.decode(noise).to(reconstruction.dtype)])

        features, real = self.discriminator(pixel_values, layer)
        fake = self.discriminator(decoded.detach())
        decoded_features, passing = call_frozen(self.discriminator, decoded, layer)
        encoder_features, _ = call_frozen(self.discriminator, for_encoder, layer)
        terms = {
            "kl": posterior.kl(),
            "feature": 0.5 * (features.detach() - encoder_features).square().sum(-1),
            "decoder_feature": 0.5 * (features.detach() - decoded_features[: len(latents)]).square().sum(-1),
            "adversarial": self.adversarial(passing).view(2, -1).sum(0),
            "discriminator": F.softplus(-real) + F.softplus(fake).view(2, -1).sum(0),
        }
        if self.training and self.config.margin is not None:
            self.sits_out = self.too_strong(F.softplus(-real).detach().mean(), F.softplus(fake).detach().mean())
        metrics = {"reconstruction": -log_p.mean(), "discriminator_accuracy": discriminator_accuracy(real, fake)}
        fields = {"reconstruction": reconstruction, "latents": latents}
        return self.build_output(terms, posterior, metrics, return_loss=return_loss, **fields)

    def adversarial(self, logits: Tensor) -> Tensor:
        """The decoder's loss from the discriminator's logits on decoded images."""
        return -F.softplus(logits) if self.config.adversarial_loss == "minimax" else F.softplus(-logits)

    def loss_weights(self) -> dict[str, float]:
        share = self.config.reconstruction_weight
        return {"decoder_feature": share, "adversarial": 1 - share}

    def too_strong(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Which players sit out, given the discriminator's mean cross entropies over all processes; never both."""
        losses = mean_over_processes(torch.stack([real, fake]))
        discriminator = (losses < self.config.equilibrium - self.config.margin).any()
        decoder = (losses > self.config.equilibrium + self.config.margin).any()
        return {"discriminator": discriminator & ~decoder, "decoder": decoder & ~discriminator}

    def before_optimizer_step(self):
        """With a margin, the host waits for the device here: Adam would move a player by its momentum alone."""
        for player, out in (self.sits_out or {}).items():
            if out:
                for parameter in self.parameter_groups()[player]:
                    parameter.grad = None
        self.sits_out = None

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return partition_parameters(self, "encoder", decoder=self.decoder, discriminator=self.discriminator)


register_model(VAEGANConfig, VAEGANModel)
