"""TODO docstring."""

__all__ = ["QuantizedConfig", "QuantizedModel"]

from math import prod
from types import SimpleNamespace
from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.codebooks import Codebook
from gae_hub.modules.noise import rand
from gae_hub.modules.posteriors import PointMass
from gae_hub.modules.precision import at_least_float32

from .base import GAEConfig, GAEPreTrainedModel, inference


@strict
class QuantizedConfig(GAEConfig):
    """
    Args:
        num_embeddings: K, the codes in a codebook.
        latent_layout: "spatial", one token of latent_dim numbers for each position of the encoder's map of features;
            "flat", one for each example; "auto", spatial where the features are maps; or "scalar", one for each number
            of the latent vector, which share a codebook of scalars, as in checkpoints of Pythae (VQ-VAE only).
        codebook_decay: of the running averages of the codes' use, per training step.
        revival_threshold: a code with less than this share of the codes' mean use is dead, and moves to a random token
            of the next batch; 0 leaves it where it is.
        num_kmeans_iterations: of the k-means on the first training batch that the codes begin with; 0 leaves them at
            tokens that lie far from each other.
    """

    keys_to_ignore_at_inference = [*GAEConfig.keys_to_ignore_at_inference, "codes"]

    num_embeddings: int = 512
    latent_layout: Literal["auto", "spatial", "flat", "scalar"] = "auto"
    codebook_decay: float | int = 0.99
    revival_threshold: float | int = 0.01
    num_kmeans_iterations: int = 10

    def validate_codebook(self):
        self.require_positive("num_embeddings")
        for name in ("codebook_decay", "revival_threshold"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.num_kmeans_iterations < 0:
            raise ValueError(f"num_kmeans_iterations must be 0 or more, got {self.num_kmeans_iterations}")


class QuantizedModel(GAEPreTrainedModel):
    """Base of the models that decode codes. A subclass gives `quantize` and `lookup`.

    All that is embedded, interpolated or drawn by a sampler passes through the quantizer; `decode` takes what it gets.
    """

    config_class = QuantizedConfig
    _keep_in_fp32_modules_strict = [*GAEPreTrainedModel._keep_in_fp32_modules_strict, "codebook", "codebooks"]

    def build_codebook(self, config: QuantizedConfig, **options) -> Codebook:
        """A codebook with the sizes of a config; `options` as in [`Codebook`]."""
        return Codebook(
            config.num_embeddings,
            1 if config.latent_layout == "scalar" else config.latent_dim,
            config.codebook_decay,
            config.revival_threshold,
            config.num_kmeans_iterations,
            **options,
        )

    def latent_shape_for(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        maps, layout = len(feature_shape) == 3, self.config.latent_layout
        if layout == "spatial" and not maps:
            raise ValueError(
                f"latent_layout 'spatial' needs an encoder of maps (channels, height, width), but this one's features "
                f"have shape {tuple(feature_shape)}: choose encoder_config 'conv' or 'resnet', or latent_layout 'flat'"
            )
        spatial = maps and layout in ("auto", "spatial")
        return (self.config.latent_dim, *(feature_shape[1:] if spatial else ()))

    def setup(self, config: QuantizedConfig):
        shape, self.spatial = self.feature_shape, len(self.latent_shape) == 3
        self.head = (
            nn.Conv2d(shape[0], config.latent_dim, 1) if self.spatial else nn.Linear(prod(shape), config.latent_dim)
        )

    def encode(self, pixel_values: Tensor) -> PointMass:
        """The latents as the encoder gives them, (batch, *latent_shape), before the quantizer."""
        features = self.encode_feature_map(pixel_values) if self.spatial else self.encode_features(pixel_values)
        return PointMass(at_least_float32(self.head(features)))

    def tokens(self, latents: Tensor) -> Tensor:
        """Latents (batch, *latent_shape) as the vectors that have a code each, on the last axis."""
        return latents.unsqueeze(-1) if self.config.latent_layout == "scalar" else latents.movedim(1, -1)

    def from_tokens(self, tokens: Tensor) -> Tensor:
        """The inverse of `tokens`."""
        return tokens.squeeze(-1) if self.config.latent_layout == "scalar" else tokens.movedim(-1, 1)

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Latents (batch, *latent_shape) to those of their codes, and the codes: (batch,), or (batch, height, width)
        for maps, and a last axis of levels where there are several. `sample` draws codes where these are random."""
        raise NotImplementedError(f"{type(self).__name__} must define quantize")

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes to latents (batch, *latent_shape)."""
        raise NotImplementedError(f"{type(self).__name__} must define lookup")

    def compute_latents(
        self, posterior: PointMass, sample: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.quantize(posterior.mean, sample, generator)[0]

    @inference
    def encode_codes(self, pixel_values: Tensor) -> Tensor:
        """The codes of images, as `quantize` gives them."""
        return self.quantize(self.encode(pixel_values).mean)[1]

    @inference
    def decode_codes(self, codes: Tensor) -> Tensor:
        """(batch, *input_shape): the images of codes."""
        return self.decode(self.lookup(codes))

    def code_shape(self) -> tuple[int, ...]:
        """Shape of one example's codes."""
        return tuple(self.latent_shape if self.config.latent_layout == "scalar" else self.latent_shape[1:])

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, *latent_shape): the quantized points of the straight line.

        The ends are kept: they are quantized, and with several levels the nearest codes of a sum need not be its own.
        """
        line = super().interpolate_latents(start, end, t)
        quantized = self.quantize(line.flatten(0, 1))[0].unflatten(0, line.shape[:2])
        return torch.where(((t == 0) | (t == 1)).view(1, -1, *[1] * (start.dim() - 1)), line, quantized)

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, *latent_shape) latents of uniform codes, the prior of the loss."""
        like = torch.empty(0, device=self.device)
        uniform = rand((num_samples, *self.code_shape()), like, generator)
        return self.lookup((uniform * self.config.num_embeddings).long())

    @inference
    def generate(
        self, num_samples: int = 1, sampler=None, generator: torch.Generator | None = None, batch_size: int = 500
    ) -> Tensor:
        """As for every model; what a sampler draws is quantized before it is decoded, unless it is made of codes."""
        if sampler is not None and not getattr(sampler, "draws_codes", False):
            draw = sampler.sample
            sampler = SimpleNamespace(sample=lambda *args: self.quantize(draw(*args).to(self.device))[0])
        return super().generate(num_samples, sampler, generator, batch_size)
