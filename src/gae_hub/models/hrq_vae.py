r"""HRQ-VAE: Hierarchical Sketch Induction for Paraphrase Generation (Hosking, Tang & Lapata, 2022), arXiv:2203.03463.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(k_1 \dots k_H|x)} \log p \left( x \Big| \sum_h e^h_{k_h} \right)
    + \beta \sum_h KL(q(k_h|x, k_{<h}) \| U) + \lambda\, \frac{1}{H - 1} \sum_h
    \left[ \max \left( \gamma\, \frac{\|e^{h + 1}_{k_{h+1}}\|}{\|e^h_{k_h}\|}, 1 \right) - 1 \right]^2, \quad
    q(k_h|x, k_{<h}) = \mathrm{softmax}_k \left( -\|z - e^1_{k_1} - \dots - e^{h-1}_{k_{h-1}} - e^h_k\|^2 \right)

with sums over the tokens of z = f(x). In training, the codes are sampled by the Gumbel-softmax: one-hot, with a
straight-through gradient and a temperature that decreases. In evaluation, they are the most probable codes. Training
also drops the deeper levels of the decoded sum at random, so that each level refines those before it; the other terms
include all levels.

Changes: discrete.
Use it when: you want a hierarchy of integers, from coarse to fine.

Relations:
    One level with weights of 0 decodes, in evaluation, the same latents as VQ-VAE, which trains its codes by another
    loss. Samples of the prior, uniform codes at every level, do not look like data: to generate, fit a sampler on the
    embeddings.
    Pythae computes the KL in the wrong direction, drops the first level too, and treats each coordinate of a flat
    latent as a token; here the first level is always kept, and the whole vector is one token.
"""

__all__ = ["HRQVAEConfig", "HRQVAEModel"]

from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor

from gae_hub.modules.noise import rand
from gae_hub.modules.residual_codebooks import Levels, ResidualCodebooks

from .base import register_model
from .quantized import QuantizedConfig, QuantizedModel
from .vq_vae import VQVAEOutput


@strict
class HRQVAEConfig(QuantizedConfig):
    """
    Args:
        num_levels: H.
        kl_weight: beta.
        norm_loss_weight: lambda, weight of the penalty on code vectors whose norm does not decrease by level.
        norm_loss_scale: gamma. The penalty is 0 if each code vector is shorter than the one before by this factor.
        temperature_decay: the temperature of level h = 0, 1, ... is exp(-temperature_decay progress / 1.5^h), where
            progress is the share of the training steps that are done.
        min_temperature: the lowest temperature of every level.
        depth_drop_rate: probability that a token's sum ends before a level, if it reaches that level. The first level
            is always kept.
        codebook_init: "sphere" initialises level h on a sphere of radius scale decay^h, as in the paper; "kmeans" by
            k-means on the first training batch, level by level on the residuals. Tokens of an untrained encoder may
            lie so close together that all codes of "kmeans" have the same probability, and training starts slowly.
        init_scale: radius of the sphere of the first level.
        init_decay: ratio of the radii of a level's sphere and the one before.
    """

    model_type = "gae_hrq_vae"

    num_embeddings: int = 64
    num_levels: int = 4
    kl_weight: float | int = 0.1
    norm_loss_weight: float | int = 0.5
    norm_loss_scale: float | int = 1.5
    temperature_decay: float | int = 3.0
    min_temperature: float | int = 0.5
    depth_drop_rate: float | int = 0.1
    codebook_init: Literal["sphere", "kmeans"] = "sphere"
    init_scale: float | int = 1.0
    init_decay: float | int = 0.5

    def validate_levels(self):
        self.require_positive("num_levels", "norm_loss_scale", "min_temperature", "init_scale", "init_decay")
        for name in ("kl_weight", "norm_loss_weight", "temperature_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.latent_layout == "scalar":
            raise ValueError(
                "latent_layout must be 'auto', 'spatial' or 'flat', got 'scalar', which only VQ-VAE supports"
            )
        if not 0 <= self.depth_drop_rate < 1:
            raise ValueError(f"depth_drop_rate must lie in [0, 1), got {self.depth_drop_rate}")


class HRQVAEModel(QuantizedModel):
    config: HRQVAEConfig
    codebooks: ResidualCodebooks

    config_class = HRQVAEConfig

    def setup(self, config: HRQVAEConfig):
        super().setup(config)
        self.codebooks = ResidualCodebooks(
            self.build_codebook(
                config,
                learned=True,
                radius=config.init_scale * config.init_decay**level,
                from_data=config.codebook_init == "kmeans",
            )
            for level in range(config.num_levels)
        )

    def compute_temperatures(self) -> Tensor:
        """(levels,): temperatures of the Gumbel-softmax at this point of the training."""
        levels = torch.arange(self.config.num_levels, device=self.progress.device, dtype=self.progress.dtype)
        exponents = self.config.temperature_decay * self.progress / 1.5**levels
        return (-exponents).exp().clamp(min=self.config.min_temperature)

    def quantize_levels(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> Levels:
        """Codes and code vectors of each level for latents (batch, *latent_shape). `sample` draws the codes."""
        tokens = self.to_tokens(latents)
        temperatures = self.compute_temperatures().to(tokens.dtype) if sample else None
        return self.codebooks.quantize(tokens, temperatures, generator)

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        levels = self.quantize_levels(latents, sample, generator)
        return self.from_tokens(levels.vectors.sum(-2)), levels.codes

    def lookup_codes(self, codes: Tensor) -> Tensor:
        return self.from_tokens(self.codebooks(codes))

    @property
    def code_vectors(self) -> Tensor:
        return torch.stack([codebook.codes for codebook in self.codebooks])

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (*super().code_shape, self.config.num_levels)

    def compute_output(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> VQVAEOutput:
        """Loss, reconstruction, latents and codes, (batch, *code_shape), of a batch."""
        z = self.encode(pixel_values).mean
        if self.training:
            self.codebooks.prepare(self.to_tokens(z.detach()), generator)
        levels = self.quantize_levels(z, self.training, generator)
        kept = levels.vectors
        if self.training:
            kept = kept * self.draw_depth_mask(levels.kl, generator).unsqueeze(-1)
        latents = self.from_tokens(kept.sum(-2))
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {
            "reconstruction": -log_p,
            "kl": levels.kl.flatten(1).sum(1),
            "norm": self.compute_norm_loss(levels.vectors).flatten(1).sum(1),
        }
        metrics = self.codebooks.observe(levels)
        fields = {"return_loss": return_loss, "reconstruction": reconstruction, "latents": latents}
        return VQVAEOutput(codes=levels.codes, **self.build_output(terms, metrics=metrics, **fields))

    def draw_depth_mask(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(*batch, levels), as `like`: 1 for levels that are kept, 0 from the first dropped level on."""
        kept = rand(like.shape, like, generator) >= self.config.depth_drop_rate
        kept[..., 0] = True
        return kept.to(like.dtype).cumprod(-1)

    def compute_norm_loss(self, vectors: Tensor) -> Tensor:
        """(*batch, levels - 1): penalty on each pair of successive code vectors, (*batch, levels, dim)."""
        lengths = vectors.norm(dim=-1)
        ratios = lengths[..., 1:] / lengths[..., :-1].clamp(min=1e-8)
        excess = (self.config.norm_loss_scale * ratios).clamp(min=1) - 1
        return excess.square() / max(1, self.config.num_levels - 1)

    def loss_weights(self) -> dict[str, float]:
        return {"kl": self.config.kl_weight, "norm": self.config.norm_loss_weight}


register_model(HRQVAEConfig, HRQVAEModel)
