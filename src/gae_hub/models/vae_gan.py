r"""VAE-GAN: Autoencoding beyond Pixels Using a Learned Similarity Metric (Larsen, Sønderby, Larochelle & Winther,
2016), arXiv:1512.09300.

Encoder, decoder and discriminator have separate losses (Algorithm 1), with the discriminator's features :math:`D_l`, a
reconstruction :math:`\hat{x}` and a decoded sample of the prior :math:`x_p`:

.. math::
    \mathcal{L}_{Enc} = KL + \mathcal{L}_l, \quad
    \mathcal{L}_{Dec} = \alpha \mathcal{L}_l - (1 - \alpha) \mathcal{L}_D, \quad
    \mathcal{L}_l = \tfrac{1}{2} \|D_l(x) - D_l(\hat{x})\|^2, \quad
    \mathcal{L}_D = -\log D(x) - \log (1 - D(\hat{x})) - \log (1 - D(x_p))

As in the authors' code, a network that is too strong skips a step: the discriminator if its cross entropy on real or
on decoded images is below equilibrium - margin, the decoder if one of them is above equilibrium + margin.

Changes: adversarial.
Use it when: you want sharper images and accept a less stable training and no likelihood.

Relations:
    The VAE with a likelihood in feature space, and therefore none of pixels. AAE has its discriminator in the latent
    space.
    Pythae adds the gradient of the discriminator's loss to the decoder's, so that the decoder helps the discriminator,
    and omits D(x_hat); here the decoder has its own gradient only, and D(x_hat) is part of the loss.
"""

__all__ = ["VAEGANConfig", "VAEGANModel"]

from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.core.distributed import mean_over_processes
from gae_hub.modules.backbones import keep_running_statistics
from gae_hub.modules.discriminators import FeatureDiscriminator, discriminator_accuracy, partition_parameters
from gae_hub.modules.losses import call_frozen
from gae_hub.modules.noise import randn

from .base import GAEOutput, GAEPreTrainedModel, register_model
from .vae import VAEConfig, VAEModel


@strict
class VAEGANConfig(VAEConfig):
    """
    Args:
        reconstruction_weight: alpha, the share of the feature loss in the decoder's loss, from 0 to 1.
        feature_layer: l, the layer of the discriminator whose features are compared, from 1.
        adversarial_loss: the decoder's adversarial loss, "minimax" as in the paper, or "non_saturating".
        discriminator_channels: channels of the discriminator's layers, or sizes of its linear layers.
        discriminator_layers: "conv" for signals, images and volumes, or "linear" layers on the flattened input.
            Vectors always have linear layers.
        discriminator_slope: slope of the discriminator's leaky ReLUs for negative values.
        equilibrium: cross entropy of the discriminator, in nats per example, at which all networks learn.
        margin: distance from the equilibrium beyond which the stronger network skips a step; None to skip no step.
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
    config: VAEGANConfig
    discriminator: FeatureDiscriminator

    config_class = VAEGANConfig
    shardable = False
    # in pixels; the other terms change their meaning while the discriminator learns
    metric_for_best_model = "reconstruction"
    supports_conditions = False  # the discriminator does not receive the condition
    estimate_log_likelihood = GAEPreTrainedModel.estimate_log_likelihood
    skips: dict[str, Tensor] | None = None  # name of a network to whether it skips the current step

    def setup(self, config: VAEGANConfig):
        super().setup(config)
        shape = config.input_shape if config.discriminator_layers == "conv" else (prod(config.input_shape),)
        self.discriminator = FeatureDiscriminator(
            shape, config.discriminator_channels, config.discriminator_slope, config.feature_layer
        )

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch. Each term has gradients for its own network only."""
        posterior = self.encode(pixel_values)
        latents = self.compute_latents(posterior, sample=True, generator=generator)
        noise = randn(latents.shape, latents, generator)

        # latents are constants for the decoder, and the decoder's parameters for the encoder
        log_p, reconstruction = self.log_prob(pixel_values, latents.detach())
        for_encoder = self.likelihood.activation(call_frozen(self.decoder, latents.to(self.dtype)))
        with keep_running_statistics(self.decoder):  # those of the decoded samples of the posterior
            generated = self.decode(noise).to(reconstruction.dtype)
        decoded = torch.cat([reconstruction, generated])

        features, real = self.discriminator(pixel_values)
        _, fake = self.discriminator(decoded.detach())
        decoded_features, decoded_logits = call_frozen(self.discriminator, decoded)
        encoder_features, _ = call_frozen(self.discriminator, for_encoder)
        terms = {
            "kl": posterior.kl(),
            "feature": 0.5 * (features.detach() - encoder_features).square().sum(-1),
            "decoder_feature": 0.5 * (features.detach() - decoded_features[: latents.shape[0]]).square().sum(-1),
            "adversarial": self.compute_adversarial_loss(decoded_logits).view(2, -1).sum(0),
            "discriminator": F.softplus(-real) + F.softplus(fake).view(2, -1).sum(0),
        }
        if self.training and self.config.margin is not None:
            losses = F.softplus(-real).detach().mean(), F.softplus(fake).detach().mean()
            self.skips = self.decide_skips(*losses, self.config.margin)
        metrics = {"reconstruction": -log_p.mean(), "discriminator_accuracy": discriminator_accuracy(real, fake)}
        return self.build_output(
            terms, posterior, metrics, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def compute_adversarial_loss(self, logits: Tensor) -> Tensor:
        """The decoder's loss, element by element, for the discriminator's logits on decoded images."""
        return -F.softplus(logits) if self.config.adversarial_loss == "minimax" else F.softplus(-logits)

    def loss_weights(self) -> dict[str, float]:
        share = self.config.reconstruction_weight
        return {"decoder_feature": share, "adversarial": 1 - share}

    def decide_skips(self, real: Tensor, fake: Tensor, margin: float) -> dict[str, Tensor]:
        """Whether the discriminator or the decoder skips this step; never both.

        Args:
            real, fake: scalars, mean cross entropies of the discriminator on this process's real and decoded images.
            margin: largest distance from the equilibrium at which both take the step, in nats per example.
        """
        losses = mean_over_processes(torch.stack([real, fake]))
        discriminator = (losses < self.config.equilibrium - margin).any()
        decoder = (losses > self.config.equilibrium + margin).any()
        return {"discriminator": discriminator & ~decoder, "decoder": decoder & ~discriminator}

    def before_optimizer_step(self):
        """Set the gradients of a network that skips this step to None: with zeros, Adam's momentum would move it.

        The CPU waits for the GPU here, if `config.margin` is set.
        """
        for name, skip in (self.skips or {}).items():
            if skip:
                for parameter in self.parameter_groups()[name]:
                    parameter.grad = None
        self.skips = None

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return partition_parameters(self, "encoder", decoder=self.decoder, discriminator=self.discriminator)


register_model(VAEGANConfig, VAEGANModel)
