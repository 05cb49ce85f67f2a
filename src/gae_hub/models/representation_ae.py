r"""Representation AE: Diffusion Transformers with Representation Autoencoders (Zheng, Ma, Tong & Xie, 2025),
arXiv:2510.11690.

.. math::
    \mathcal{L}(x) = -\log p(x|z + \sigma \epsilon), \quad z = \frac{f(x) - \mu}{s}, \quad
    \sigma = \tau |u|, \quad u, \epsilon \sim N(0, I)

The encoder f is a pretrained vision transformer that is not trained. Its tokens, one for each patch, are the latents.
The statistics :math:`\mu` and s are those of the training set, so that each latent has mean 0 and variance 1. The
decoder is trained on noisy latents, because samplers draw latents that are not those of any image.

Changes: objective.
Use it when: latents must carry the meaning of images, and a pretrained vision encoder knows images such as yours.

Relations:
    With a trained encoder, without normalisation and with tau = 0 it is the AE. RAE-L2 and RAE-GP, the regularized
    autoencoders, are other methods with the same abbreviation: they train the encoder, and penalise the latents. The
    representation AE has no prior: to generate images, fit a sampler to its embeddings.
    The paper adds LPIPS and an adversarial term to the L1 loss; here the loss is the likelihood, by default the
    Laplace's L1. The paper removes scale and shift from the encoder's last layer normalisation, which the statistics
    cancel up to signs.
    The authors' code draws sigma uniformly from [0, tau], and adds the noise before the normalisation; here sigma is
    as in the paper, in units of the latents' standard deviations.
"""

__all__ = ["RepresentationAEConfig", "RepresentationAEModel"]

from collections.abc import Iterable
from copy import deepcopy
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.latent_normalization import LatentNormalization
from gae_hub.modules.noise import randn
from gae_hub.modules.posteriors import PointMass
from gae_hub.modules.precision import at_least_float32

from .base import DeterministicModel, GAEConfig, GAEOutput, inference, register_model


@strict
class RepresentationAEConfig(GAEConfig):
    """
    Args:
        latent_dim: channels of the encoder's features, which are the latents. The model sets it.
        likelihood: "laplace" by default, the L1 loss of the paper.
        encoder_config: "vision" by default, DINOv2 with registers. A name with a slash is a Hub repository or folder,
            such as "facebook/dinov2-base", "google/siglip2-base-patch16-224" or "facebook/vit-mae-base".
        decoder_config: "vit" by default.
        noise_tau: tau, the scale of the noise in training; 0.8 in the paper. With 0 there is no noise.
        normalization: statistics of each "position" and channel (as in the paper), of each "channel", or "none".
    """

    model_type = "gae_representation_ae"

    latent_dim: int | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    likelihood: str = "laplace"
    noise_tau: float | int = 0.8
    normalization: Literal["position", "channel", "none"] = "position"

    def __post_init__(self, **kwargs):
        self.encoder_config = self.encoder_config or "vision"
        self.decoder_config = self.decoder_config or "vit"
        super().__post_init__(**kwargs)

    def validate_noise(self):
        if not self.noise_tau >= 0:
            raise ValueError(f"noise_tau must be 0 or more, got {self.noise_tau}")


class RepresentationAEModel(DeterministicModel):
    """The encoder has `requires_grad=False` and stays in evaluation mode. A checkpoint holds its weights, about 350 MB
    for a base-sized transformer in float32, and so loads without its repository.

    `GAETrainer` estimates the statistics before the first step; other training loops call `fit_normalization`.
    """

    config: RepresentationAEConfig
    normalization: LatentNormalization | None

    config_class = RepresentationAEConfig
    supports_conditions = False  # the pretrained encoder receives images only
    _keep_in_fp32_modules_strict = [*DeterministicModel._keep_in_fp32_modules_strict, "normalization"]

    def __init__(
        self, config: RepresentationAEConfig, encoder: nn.Module | None = None, decoder: nn.Module | None = None
    ):
        super().__init__(deepcopy(config), encoder, decoder)  # a copy, which the model completes

    def latent_shape_for(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        channels = feature_shape[0]
        if self.config.latent_dim not in (None, channels):
            raise ValueError(
                f"latent_dim must be {channels}, the channels of the encoder's features {tuple(feature_shape)}, or "
                f"None, got {self.config.latent_dim}"
            )
        self.config.latent_dim = channels
        return tuple(feature_shape)

    def setup(self, config: RepresentationAEConfig):
        kind = config.normalization
        self.normalization = None if kind == "none" else LatentNormalization(self.latent_shape, kind == "channel")
        self.freeze_encoder()

    def freeze_encoder(self):
        self.encoder.requires_grad_(False)
        self.encoder.eval()

    def train(self, mode: bool = True):
        """As in PyTorch, but the encoder stays frozen. `from_pretrained`, which makes all weights trainable, ends with
        `eval`, and so with this method."""
        super().train(mode)
        self.freeze_encoder()
        return self

    def encode(self, pixel_values: Tensor) -> PointMass:
        """The normalised latents, as a point mass at (batch, *latent_shape).

        Raises:
            ValueError: if the statistics were not estimated, or for images as in `encode_feature_map`.
        """
        features = at_least_float32(self.encode_feature_map(pixel_values))
        if self.normalization is None:
            return PointMass(features)
        if not torch.compiler.is_compiling() and not self.normalization.is_fitted:
            raise ValueError(
                "the statistics of the latents were not estimated: call model.fit_normalization(batches) with images "
                "of the training set, train with GAETrainer, which calls it, or set normalization='none'"
            )
        return PointMass(self.normalization(features))

    @inference
    def fit_normalization(self, batches: Iterable[Tensor]):
        """Estimate mean and standard deviation of the latents over a training set, exactly, in one pass.

        Args:
            batches: images, (batch, *input_shape) each. Several processes share them: each passes its own.

        Raises:
            ValueError: if the model does not normalise, or all images have the same features.
        """
        if self.normalization is None:
            raise ValueError("this model has normalization='none', so there are no statistics to estimate")
        self.normalization.fit(self.encode_feature_map(batch.to(self.device)) for batch in batches)

    def before_training(self, batches: Iterable[Tensor]):
        if self.normalization is not None and not self.normalization.is_fitted:
            self.fit_normalization(batches)

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> GAEOutput:
        """Loss, reconstruction and latents of a batch, with noise in training mode."""
        posterior = self.encode(pixel_values)
        latents = self.add_noise(posterior.mean, generator) if self.training else posterior.mean
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {"reconstruction": -log_p}
        return self.build_output(
            terms, posterior, return_loss=return_loss, reconstruction=reconstruction, latents=latents
        )

    def add_noise(self, latents: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(batch, *latent_shape): latents with Gaussian noise of one standard deviation per example."""
        if not self.config.noise_tau:
            return latents
        scale = randn((len(latents), *[1] * (latents.dim() - 1)), latents, generator).abs()
        return latents + self.config.noise_tau * scale * randn(latents.shape, latents, generator)


register_model(RepresentationAEConfig, RepresentationAEModel)
