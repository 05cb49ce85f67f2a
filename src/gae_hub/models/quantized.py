"""Base of the methods whose latents are code vectors, of one or several codebooks.

The encoder's output is split into tokens: one per position of a latent map, or the whole latent vector. The quantizer
replaces each token by a code vector, which the decoder receives. The codes are the indices of the code vectors.
"""

__all__ = ["QuantizedConfig", "QuantizedModel"]

from math import log2, prod
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.codebooks import Codebook
from gae_hub.modules.inputs import check_codes
from gae_hub.modules.noise import rand
from gae_hub.modules.posteriors import PointMass, Posterior
from gae_hub.modules.precision import at_least_float32
from gae_hub.modules.spatial_layers import CONVS, Conv, has_spatial_axes

from .base import GAEConfig, GAEPreTrainedModel, LatentSampler, inference
from .conditional import ClassLabels


@strict
class QuantizedConfig(GAEConfig):
    """
    Args:
        num_embeddings: K, the number of codes in a codebook.
        latent_layout: "spatial", one token of size latent_dim per position of the encoder's feature map, of one to
            three axes; "flat", one token per example; "auto", spatial if the features are maps, of three entries or as
            many as input_shape, else flat; or "scalar", one token per
            coordinate of the latent vector, with a codebook of scalars, as in checkpoints of Pythae (VQ-VAE only).
        codebook_decay: decay of the codes' running counts and sums, per training step.
        revival_threshold: a code that is used less than this share of the codes' mean use is dead, and moves to a
            random token of the next batch. With 0, dead codes are not moved.
        num_kmeans_iterations: iterations of the k-means on the first training batch that initialises the codes. With
            0, the codes are tokens that lie far from each other.
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
    """Base of the quantized models. A subclass defines `quantize`, `lookup_codes` and `compute_output`.

    `embed`, `interpolate` and `generate` quantize latents; `decode` decodes its argument as it is.
    """

    config: QuantizedConfig
    head: Conv | nn.Linear

    config_class = QuantizedConfig
    _keep_in_fp32_modules_strict = [*GAEPreTrainedModel._keep_in_fp32_modules_strict, "codes", "counts"]

    def build_codebook(self, config: QuantizedConfig, **options: Any) -> Codebook:
        """A codebook with the sizes of a config; `options` are other arguments of [`Codebook`]."""
        return Codebook(
            config.num_embeddings,
            1 if config.latent_layout == "scalar" else config.latent_dim,
            config.codebook_decay,
            config.revival_threshold,
            config.num_kmeans_iterations,
            **options,
        )

    def latent_shape_for(self, feature_shape: tuple[int, ...]) -> tuple[int, ...]:
        layout = self.config.latent_layout
        if layout == "spatial" and not has_spatial_axes(feature_shape):
            raise ValueError(
                "latent_layout 'spatial' needs an encoder with features (channels, *sizes) of one to three "
                f"sizes, got features of shape {tuple(feature_shape)}; choose encoder_config 'conv' or 'resnet', or "
                "latent_layout 'flat'"
            )
        # a custom encoder's sequence of vectors for an image, (length, dim), is not a map
        are_maps = has_spatial_axes(feature_shape) and len(feature_shape) in (3, len(self.config.input_shape))
        spatial = layout == "spatial" or (layout == "auto" and are_maps)
        return (self.config.latent_dim, *(feature_shape[1:] if spatial else ()))

    def setup(self, config: QuantizedConfig):
        shape, self.spatial = self.feature_shape, len(self.latent_shape) > 1
        if self.spatial:
            self.head = CONVS[len(shape) - 1](shape[0], config.latent_dim, 1)
        else:
            self.head = nn.Linear(prod(shape), config.latent_dim)

    def encode(self, pixel_values: Tensor) -> PointMass:
        """The latents before the quantizer, as a point mass at (batch, *latent_shape)."""
        features = self.encode_feature_map(pixel_values) if self.spatial else self.encode_features(pixel_values)
        return PointMass(at_least_float32(self.head(features)))

    def to_tokens(self, latents: Tensor) -> Tensor:
        """Latents (batch, *latent_shape) to tokens (*batch, dim)."""
        return latents.unsqueeze(-1) if self.config.latent_layout == "scalar" else latents.movedim(1, -1)

    def from_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens (*batch, dim) to latents (batch, *latent_shape): the inverse of `to_tokens`."""
        return tokens.squeeze(-1) if self.config.latent_layout == "scalar" else tokens.movedim(-1, 1)

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Replace tokens by code vectors.

        Args:
            latents: (batch, *latent_shape).
            sample: whether to draw the codes, in methods whose codes are random.
            generator: draws the codes.

        Returns:
            Quantized latents, (batch, *latent_shape), and codes, (batch, *code_shape).
        """
        raise NotImplementedError(f"{type(self).__name__} must define quantize")

    def lookup_codes(self, codes: Tensor) -> Tensor:
        """Codes (batch, *code_shape) to latents (batch, *latent_shape)."""
        raise NotImplementedError(f"{type(self).__name__} must define lookup_codes")

    @property
    def code_vectors(self) -> Tensor:
        """(num_embeddings, dim): the vectors of the codes of a token.

        If codes have a last axis, (num_codes_per_token, num_embeddings, dim), whose vectors are summed over that axis.
        """
        raise NotImplementedError(f"{type(self).__name__} must define code_vectors")

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape of one example's codes: (), or the sizes of a map, and a last axis for groups and levels, if any."""
        return self.latent_shape if self.config.latent_layout == "scalar" else self.latent_shape[1:]

    @property
    def num_codes_per_token(self) -> int:
        """Size of the last axis of codes, or 1 if a token has one code and there is no such axis."""
        vectors = self.code_vectors
        return len(vectors) if vectors.dim() == 3 else 1

    @property
    def bits_per_example(self) -> float:
        """log2 of the number of different codes of an example: its size in bits, without an entropy coder."""
        return prod(self.code_shape) * log2(self.config.num_embeddings)

    def compute_latents(
        self, posterior: Posterior, sample: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.quantize(posterior.mean, sample, generator)[0]

    @inference
    def encode_codes(self, pixel_values: Tensor, class_labels: ClassLabels = None) -> Tensor:
        """(batch, *code_shape): the codes of images. `class_labels` as in `forward`."""
        return self.quantize(self._given_images(pixel_values, class_labels).encode(pixel_values).mean)[1]

    @inference
    def decode_codes(self, codes: Tensor, class_labels: ClassLabels = None) -> Tensor:
        """(batch, *input_shape): the images that codes (batch, *code_shape) stand for. Labels as in `forward`."""
        check_codes(codes, tuple(self.code_shape), self.config.num_embeddings)
        return self.decode(self.lookup_codes(codes.long()), class_labels)

    def interpolate_latents(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        """(batch, steps, *latent_shape): the straight line, quantized.

        The ends stay as they are. They are quantized already, and with several levels, quantizing a sum of code
        vectors again may choose other codes.
        """
        line = super().interpolate_latents(start, end, t)
        quantized = self.quantize(line.flatten(0, 1))[0].unflatten(0, line.shape[:2])
        return torch.where(((t == 0) | (t == 1)).view(1, -1, *[1] * (start.dim() - 1)), line, quantized)

    def traverse_latents(self, latents: Tensor, dimensions: Tensor, values: Tensor) -> Tensor:
        raise NotImplementedError(
            f"{type(self).__name__} has code vectors as latents, whose dimensions do not change one by one: vary its "
            "codes and call decode_codes"
        )

    def sample_prior(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """(num_samples, *latent_shape): latents of uniformly random codes, the prior of the loss."""
        like = torch.empty(0, device=self.device)
        uniform = rand((num_samples, *self.code_shape), like, generator)
        return self.lookup_codes((uniform * self.config.num_embeddings).long())

    def _draw_latents(
        self, sampler: LatentSampler, num_samples: int, generator: torch.Generator | None, **conditions: Any
    ) -> Tensor:
        """(num_samples, *latent_shape): as for every model, quantized unless the sampler has `draws_codes = True`."""
        latents = super()._draw_latents(sampler, num_samples, generator, **conditions)
        return latents if getattr(sampler, "draws_codes", False) else self.quantize(latents)[0]
