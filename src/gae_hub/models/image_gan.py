r"""Base of the methods that add a perceptual loss and a patch discriminator to an autoencoder of images.

.. math::
    \mathcal{L} = \mathcal{L}_{AE} + D\, \lambda_p\, \mathrm{LPIPS}(x, \hat{x})
        - \lambda\, \lambda_{adapt}\, \mathbb{E}\, d(\hat{x}), \quad
    \lambda_{adapt} = \min\Big(\frac{\|\nabla_W \mathcal{L}_{rec}\|}{\|\nabla_W \mathbb{E}\, d(\hat{x})\| + 10^{-4}},
        10^4\Big), \\
    \mathcal{L}_d = \tfrac{1}{2}\, \mathbb{E} \max(0, 1 - d(x)) + \tfrac{1}{2}\, \mathbb{E} \max(0, 1 + d(\hat{x}))

with the loss :math:`\mathcal{L}_{AE}` of the autoencoder, D numbers in an image, patch logits d and the weight W of
the decoder's last layer. :math:`\mathcal{L}_{rec}` is the reconstruction term with LPIPS. The discriminator has the
second loss, and the other networks have the first. LPIPS counts once per number of an image, as in the code of Rombach
et al. (2022), arXiv:2112.10752, so that the loss stays in nats per example.
"""

__all__ = ["ImageGANConfig", "ImageGANModel"]

from math import prod, sqrt
from pathlib import Path
from typing import Any, Literal, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.core.hooks import HOOKS
from gae_hub.modules.discriminators import (
    PatchDiscriminator,
    discriminator_accuracy,
    hinge_loss,
    partition_parameters,
)
from gae_hub.modules.gradients import gradient_norm_ratio
from gae_hub.modules.losses import call_frozen
from gae_hub.modules.lpips import BACKBONES, LPIPSNetwork

from .base import GAEConfig, GAEOutput, GAEPreTrainedModel

MAX_ADAPTIVE_WEIGHT = 1e4


@strict
class ImageGANConfig(GAEConfig):
    """
    Args:
        likelihood, observation_std: by default the absolute error of pixels in [-1, 1], which is 2 |x - x_hat|.
        perceptual_weight: weight of LPIPS; 0 for a loss without it, which needs no published weights.
        perceptual_network: the network of LPIPS, "vgg" for images of at least 16 pixels, or "alex" for 31.
        discriminator_weight: weight of the adversarial loss; 0 for a model without discriminator.
        discriminator_start: when the discriminator starts: an int is a number of steps, a float a share of the
            training steps, from 0 to below 1. Before, it is neither trained nor part of the loss.
        discriminator_channels: channels of its hidden layers. All but the last halve height and width.
        scaling_factor, shift_factor: diffusion models are trained on (latents - shift_factor) * scaling_factor. None
            for a factor that is measured when the model is exported to diffusers.
        force_upcast: whether pipelines of diffusers in float16 run the exported model in float32.
    """

    likelihood: str = "laplace"
    observation_std: float | int | Literal["optimal"] = sqrt(0.5)
    perceptual_weight: float | int = 1.0
    perceptual_network: Literal["vgg", "alex"] = "vgg"
    discriminator_weight: float | int = 0.5
    discriminator_start: int | float = 0.25
    discriminator_channels: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    scaling_factor: float | int | None = None
    shift_factor: float | int | None = None
    force_upcast: bool = False

    def validate_images(self):
        if len(self.input_shape) != 3:
            raise ValueError(f"input_shape must be (channels, height, width) of images, got {tuple(self.input_shape)}")

    def validate_game(self):
        for name in ("perceptual_weight", "discriminator_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        start = self.discriminator_start
        if not (0 <= start < 1 or (isinstance(start, int) and start >= 0)):
            raise ValueError(
                "discriminator_start must be a number of steps, an int of 0 or more, or a share of training, a float "
                f"in [0, 1), got {start}"
            )
        if not self.discriminator_channels:
            raise ValueError("discriminator_channels must name at least one layer, got none")
        self.require_positive("discriminator_channels")
        if self.scaling_factor is not None:
            self.require_positive("scaling_factor")

    def validate_perceptual_network(self):
        smallest = BACKBONES[self.perceptual_network].min_size
        if not self.perceptual_weight or len(self.input_shape) != 3:
            return
        if self.input_shape[0] not in (1, 3) or min(self.input_shape[1:]) < smallest:
            raise ValueError(
                f"perceptual_network '{self.perceptual_network}' needs input_shape with 1 or 3 channels and sides of "
                f"at least {smallest} pixels, got {tuple(self.input_shape)}; set perceptual_weight=0 for other images"
            )


class ImageGANModel(GAEPreTrainedModel):
    """Mix-in of the methods. In a class statement, it precedes an autoencoder with a term `reconstruction`."""

    config: ImageGANConfig
    discriminator: PatchDiscriminator
    perceptual_network: LPIPSNetwork | None  # constants, which the first loss loads

    config_class = ImageGANConfig
    supports_conditions = False  # the discriminator does not receive the condition
    shardable = False
    can_be_compiled = False
    # L1 and LPIPS; the adversarial terms depend on the current opponent, and cannot be compared over time
    metric_for_best_model = "distortion"
    discriminator_plays = True  # whether the discriminator has started; outside training it has

    def setup(self, config: ImageGANConfig):
        super().setup(config)
        self.perceptual_network = None
        if config.discriminator_weight:
            self.discriminator = PatchDiscriminator(config.input_shape, config.discriminator_channels)

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """What the autoencoder returns, with the additional terms of the loss.

        The adaptive weight is a ratio of gradients. Where gradients are not recorded, as in evaluation by the trainer,
        it is 0, as in the authors' code.
        """
        output = super().compute_output(pixel_values, return_loss, generator)
        if not return_loss:
            return output
        fake = cast(Tensor, output.reconstruction)
        loss, losses = cast(Tensor, output.loss), cast(dict[str, Tensor], output.losses)
        real, weights = pixel_values.to(fake.dtype), self.loss_weights()
        distortion, metrics = losses["reconstruction"], {}
        if self.config.perceptual_weight:
            network = self.perceptual_network or self.load_perceptual_network()
            losses["perceptual"] = prod(self.config.input_shape) * network(fake, real).mean()
            distortion = distortion + weights["perceptual"] * losses["perceptual"]
            loss = loss + weights["perceptual"] * losses["perceptual"]
        if self.config.discriminator_weight:
            terms, metrics = self.play(real, fake, loss) if self.discriminator_plays else (self.wait(), {})
            losses |= terms
            loss = loss + weights["adversarial"] * terms["adversarial"] + terms["discriminator"]
        output.loss, output.losses = loss, {name: term.detach() for name, term in losses.items()}
        output.metrics = {**(output.metrics or {}), **metrics, "distortion": distortion.detach()}
        return output

    def play(self, real: Tensor, fake: Tensor, loss: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The adversarial loss, with its adaptive weight, and the discriminator's; and metrics.

        Args:
            real, fake: images and their reconstructions, (batch, *input_shape) each.
            loss: the loss without these terms. Its regularisers do not depend on the decoder's last layer.
        """
        score = -call_frozen(self.discriminator, fake).mean()
        weight = score.new_zeros(())
        if score.requires_grad:
            at = self.last_decoder_weight()
            ratio = gradient_norm_ratio(loss, score, fake if at is None else at)
            weight = ratio.clamp(max=MAX_ADAPTIVE_WEIGHT)
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
        terms = {"adversarial": weight * score, "discriminator": hinge_loss(real_logits, fake_logits)}
        accuracy = discriminator_accuracy(real_logits.flatten(), fake_logits.flatten())
        return terms, {"adaptive_weight": weight, "discriminator_accuracy": accuracy.detach()}

    def wait(self) -> dict[str, Tensor]:
        """The same terms before the discriminator starts: 0, with a gradient of 0 for each of its parameters.

        Without gradients, DistributedDataParallel would wait for them.
        """
        sums = torch.stack([parameter.sum() for parameter in self.discriminator.parameters()])
        return {"adversarial": sums.new_zeros(()), "discriminator": 0.0 * sums.sum()}

    def last_decoder_weight(self) -> nn.Parameter | None:
        """The trainable weight of the decoder's last layer; None if the decoder is frozen."""
        weights = [p for p in self.decoder.parameters() if p.requires_grad and p.dim() > 1]
        return weights[-1] if weights else None

    def loss_weights(self) -> dict[str, float]:
        own = {"perceptual": self.config.perceptual_weight, "adversarial": self.config.discriminator_weight}
        return {**super().loss_weights(), **own}

    def set_progress(self, step: int, num_steps: int):
        """As for every model. The discriminator starts when the step is reached.

        Raises:
            ValueError: if the training has no step after the discriminator's start.
        """
        super().set_progress(step, num_steps)
        start = self.config.discriminator_start
        first = start if isinstance(start, int) else int(start * num_steps)
        if self.config.discriminator_weight and first >= max(num_steps, 1):
            raise ValueError(
                f"discriminator_start = {start} lies beyond the last step of this training of {num_steps} steps: "
                "choose an earlier step, a share of the training such as 0.25, or discriminator_weight=0 for a model "
                "without discriminator"
            )
        self.discriminator_plays = step >= first

    def before_optimizer_step(self):
        """Set the discriminator's gradients to None before it starts: with zeros, an optimizer may move it."""
        super().before_optimizer_step()
        if self.config.discriminator_weight and not self.discriminator_plays:
            for parameter in self.discriminator.parameters():
                parameter.grad = None

    def load_perceptual_network(self, weights: str | Path | None = None, heads: str | Path | None = None) -> Any:
        """Load the network of LPIPS, which the first loss does by itself, and return it.

        Its weights are constants: they are neither trained nor saved with the model.

        Args:
            weights: file of the backbone's weights as torchvision publishes it; downloaded by default.
            heads: file of the linear layers' weights, `vgg.pth` or `alex.pth` of the authors; downloaded by default.

        Raises:
            OSError: if a file does not exist or cannot be downloaded.
            ValueError: if a file does not hold the expected weights.
            RuntimeError: in a copy of this code that a checkpoint carries, without gae_hub.
        """
        if HOOKS.load_lpips is None:
            raise RuntimeError(
                "perceptual_weight needs gae_hub, which loads the weights of LPIPS: pip install gae_hub"
            )
        network = HOOKS.load_lpips(self.config.perceptual_network, weights=weights, heads=heads).as_constants()
        dtype = torch.float64 if self.dtype == torch.float64 else torch.float32
        self.perceptual_network = network.to(self.device, dtype)
        return self.perceptual_network

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        if not self.config.discriminator_weight:
            return super().parameter_groups()
        return partition_parameters(self, "autoencoder", discriminator=self.discriminator)
