r"""HRQ-VAE: Hierarchical Sketch Induction for Paraphrase Generation (Hosking, Tang & Lapata, 2022), arXiv:2203.03463.

.. math::
    \mathcal{L}(x) = -\mathbb{E}_{q(k_1 \dots k_H|x)} \log p \left( x \Big| \sum_h e^h_{k_h} \right)
    + \beta \sum_h KL(q(k_h|x, k_{<h}) \| U) + \lambda\, \frac{1}{H - 1} \sum_h
    \left[ \max \left( \gamma\, \frac{\|e^{h + 1}_{k_{h+1}}\|}{\|e^h_{k_h}\|}, 1 \right) - 1 \right]^2, \quad
    q(k_h|x, k_{<h}) = \mathrm{softmax}_k \left( -\|z - e^1_{k_1} - \dots - e^{h-1}_{k_{h-1}} - e^h_k\|^2 \right)

with sums over the tokens of z = f(x). The codes are drawn by the Gumbel-softmax, hard, with a straight-through
gradient and a temperature that falls in training; in evaluation they are the most probable ones. Training also cuts
the sum that is decoded short at random, so that deeper levels refine what those before them say; the other terms
count every level.

Changes: discrete.
Use it when: you want a hierarchy of integers, from coarse to fine.

Relations:
    One level without noise and without weights is the lookup of VQ-VAE, which has its own losses for the codes.
    Draws from the prior, uniform codes at every level, are no images: fit a sampler on the embeddings.
    Pythae has the KL the wrong way round, lets dropout take the first level too, and makes scalars of flat latents.
"""

__all__ = ["HRQVAEConfig", "HRQVAEModel"]

from math import log
from typing import Literal, NamedTuple

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from gae_hub.modules.noise import rand
from gae_hub.modules.precision import full_precision

from .base import register_model
from .quantized import QuantizedConfig, QuantizedModel
from .vq_vae import VQVAEOutput


@strict
class HRQVAEConfig(QuantizedConfig):
    """
    Args:
        num_levels: H.
        kl_weight: beta.
        norm_loss_weight: lambda, weight of the penalty on codes that do not become smaller from level to level.
        norm_loss_scale: gamma; nothing is lost where each is smaller than the one before by this factor.
        temperature_decay, min_temperature: the temperature of level h = 0, 1, ... is exp(-decay progress / 1.5^h),
            with the share of training done as progress, and at least the minimum.
        depth_drop_rate: probability that the sum of a token's levels ends before a level, given that it came so far;
            the first level is always kept.
        codebook_init: "sphere", the paper's: level h begins on a sphere of radius scale decay^h; or "kmeans", level by
            level on what those before it leave of the first training batch. An untrained encoder's tokens can lie so
            close together that all codes of "kmeans" are as probable, and training sets out slowly.
        init_scale, init_decay: of the spheres.
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
            raise ValueError("latent_layout 'scalar' is for VQ-VAE only: choose 'auto', 'spatial' or 'flat'")
        if not 0 <= self.depth_drop_rate < 1:
            raise ValueError(f"depth_drop_rate must lie in [0, 1), got {self.depth_drop_rate}")


class Levels(NamedTuple):
    """Every level's part of tokens (*batch, dim)."""

    codes: Tensor  # (*batch, levels)
    vectors: Tensor  # (*batch, levels, dim)
    residuals: Tensor  # (*batch, levels, dim), what a level is given
    kl: Tensor  # (*batch, levels), in nats


class HRQVAEModel(QuantizedModel):
    config_class = HRQVAEConfig

    def setup(self, config: HRQVAEConfig):
        super().setup(config)
        self.codebooks = nn.ModuleList(
            self.build_codebook(
                config,
                learned=True,
                radius=config.init_scale * config.init_decay**level,
                from_data=config.codebook_init == "kmeans",
            )
            for level in range(config.num_levels)
        )

    def temperatures(self) -> Tensor:
        """(levels,) of the Gumbel-softmax now."""
        levels = torch.arange(self.config.num_levels, device=self.progress.device, dtype=self.progress.dtype)
        exponents = self.config.temperature_decay * self.progress / 1.5**levels
        return (-exponents).exp().clamp(min=self.config.min_temperature)

    def levels(self, tokens: Tensor, sample: bool = False, generator: torch.Generator | None = None) -> Levels:
        """Level by level the code of what is left of tokens (*batch, dim): the most probable one, or a draw."""
        temperatures = self.temperatures().to(tokens.dtype)
        found, residual = [], tokens
        for codebook, temperature in zip(self.codebooks, temperatures, strict=True):
            scores = codebook.compute_scores(residual)
            log_q = scores.log_softmax(-1)
            kl = (log_q.exp() * (log_q + log(scores.shape[-1]))).sum(-1)
            if sample:
                gumbel = -(-rand(scores.shape, scores, generator).log()).log()
                soft = ((scores + gumbel) / temperature).softmax(-1)
                codes = soft.argmax(-1)
                with full_precision(soft):
                    straight_through = (soft - soft.detach()) @ codebook.codes.detach()  # 0, with a gradient
                vectors = codebook(codes) + straight_through
            else:
                codes = scores.argmax(-1)
                vectors = codebook(codes)
            found.append((codes, vectors, residual, kl))
            residual = residual - vectors
        codes, vectors, residuals, kl = zip(*found, strict=True)
        return Levels(
            torch.stack(codes, -1), torch.stack(vectors, -2), torch.stack(residuals, -2), torch.stack(kl, -1)
        )

    def quantize(
        self, latents: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        levels = self.levels(latents.movedim(1, -1), sample, generator)
        return levels.vectors.sum(-2).movedim(-1, 1), levels.codes

    def lookup(self, codes: Tensor) -> Tensor:
        levels = zip(self.codebooks, codes.unbind(-1), strict=True)
        return torch.stack([codebook(own) for codebook, own in levels], -2).sum(-2).movedim(-1, 1)

    def code_shape(self) -> tuple[int, ...]:
        return (*super().code_shape(), self.config.num_levels)

    def forward(
        self, pixel_values: Tensor, return_loss: bool = True, generator: torch.Generator | None = None
    ) -> VQVAEOutput:
        """Loss, reconstruction, latents and codes (batch, [height, width,] levels) of a batch."""
        tokens = self.encode(pixel_values).mean.movedim(1, -1)
        if self.training:
            self.prepare(tokens.detach(), generator)
        levels = self.levels(tokens, self.training, generator)
        kept = levels.vectors
        if self.training:
            kept = kept * self.depth_mask(levels.kl, generator).unsqueeze(-1)
        latents = kept.sum(-2).movedim(-1, 1)
        log_p, reconstruction = self.log_prob(pixel_values, latents)
        terms = {
            "reconstruction": -log_p,
            "kl": levels.kl.flatten(1).sum(1),
            "norm": self.norm_loss(levels.vectors).flatten(1).sum(1),
        }
        parts = zip(self.codebooks, levels.residuals.detach().unbind(-2), levels.codes.unbind(-1), strict=True)
        observed = [codebook.observe(tokens, codes) for codebook, tokens, codes in parts]
        perplexities = torch.stack([metrics["perplexity"] for metrics in observed])
        metrics = {
            "perplexity": perplexities.mean(),
            "perplexity_per_level": perplexities,
            "dead_codes": sum(metrics["dead_codes"] for metrics in observed),
        }
        fields = {"return_loss": return_loss, "reconstruction": reconstruction, "latents": latents}
        return VQVAEOutput(codes=levels.codes, **self.build_output(terms, metrics=metrics, **fields))

    @torch.no_grad()
    def prepare(self, tokens: Tensor, generator: torch.Generator | None = None):
        """Take the codebooks from the data, or revive their dead codes, each on what the nearest codes leave over."""
        for codebook in self.codebooks:
            codebook.prepare(tokens, generator)
            tokens = tokens - codebook(codebook.find_nearest(tokens))

    def depth_mask(self, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(*batch, levels), as `like`: 1 for the levels that are kept, 0 from the first on that is dropped."""
        kept = rand(like.shape, like, generator) >= self.config.depth_drop_rate
        kept[..., 0] = True
        return kept.to(like.dtype).cumprod(-1)

    def norm_loss(self, vectors: Tensor) -> Tensor:
        """(*batch, levels - 1), each pair's part of the penalty on vectors (*batch, levels, dim) that do not fall."""
        lengths = vectors.norm(dim=-1)
        ratios = lengths[..., 1:] / lengths[..., :-1].clamp(min=1e-8)
        excess = (self.config.norm_loss_scale * ratios).clamp(min=1) - 1
        return excess.square() / max(1, self.config.num_levels - 1)

    def loss_weights(self) -> dict[str, float]:
        return {"kl": self.config.kl_weight, "norm": self.config.norm_loss_weight}


register_model(HRQVAEConfig, HRQVAEModel)
