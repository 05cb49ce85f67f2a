"""Residual quantization: codebooks in sequence, from coarse to fine."""

__all__ = ["Levels", "ResidualCodebooks"]

from collections.abc import Iterator
from math import log
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from .codebooks import Codebook
from .noise import rand
from .precision import full_precision


class Levels(NamedTuple):
    """What each level assigns to tokens (*batch, dim)."""

    codes: Tensor  # (*batch, levels)
    vectors: Tensor  # (*batch, levels, dim), the code vectors
    residuals: Tensor  # (*batch, levels, dim), the input of each level
    kl: Tensor  # (*batch, levels), divergence from the uniform distribution over the level's codes, in nats


class ResidualCodebooks(nn.ModuleList):
    r"""A [`Codebook`] for each level, which quantizes what the levels before it leave over.

    The code of a level has the distribution :math:`q(k) = \mathrm{softmax}_k(-\|r - e_k\|^2)`, where the residual r is
    the token minus the code vectors of the levels before.
    """

    def __iter__(self) -> Iterator[Codebook]:
        return cast("Iterator[Codebook]", super().__iter__())

    def forward(self, codes: Tensor) -> Tensor:
        """(*batch, dim): the sum of the levels' code vectors for codes (*batch, levels)."""
        pairs = zip(self, codes.unbind(-1), strict=True)
        return torch.stack([codebook(level_codes) for codebook, level_codes in pairs], -2).sum(-2)

    def quantize(
        self, tokens: Tensor, temperatures: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Levels:
        """Choose a code per level: the most probable one, or a sample if temperatures are given.

        Args:
            tokens: (*batch, dim).
            temperatures: (levels,) of the Gumbel-softmax, by which samples have a gradient. The distribution of the
                codes does not depend on them.
            generator: draws the codes.
        """
        found, residual = [], tokens
        for level, codebook in enumerate(self):
            scores = codebook.compute_scores(residual)
            log_q = scores.log_softmax(-1)
            kl = (log_q.exp() * (log_q + log(scores.shape[-1]))).sum(-1)
            if temperatures is None:
                codes = scores.argmax(-1)
                vectors = codebook(codes)
            else:
                gumbel = -(-rand(scores.shape, scores, generator).log()).log()
                soft = ((scores + gumbel) / temperatures[level]).softmax(-1)
                codes = soft.argmax(-1)
                with full_precision(soft):
                    straight_through = (soft - soft.detach()) @ codebook.codes.detach()  # 0, with a gradient
                vectors = codebook(codes) + straight_through
            found.append((codes, vectors, residual, kl))
            residual = residual - vectors
        codes, vectors, residuals, kl = zip(*found, strict=True)
        return Levels(
            torch.stack(codes, -1), torch.stack(vectors, -2), torch.stack(residuals, -2), torch.stack(kl, -1)
        )

    @torch.no_grad()
    def prepare(self, tokens: Tensor, generator: torch.Generator | None = None):
        """Start a training step, see [`Codebook.prepare`]. Each level receives what the nearest codes leave over.

        Args:
            tokens: (*batch, dim) of this process.
            generator: chooses tokens for new codes.
        """
        for codebook in self:
            codebook.prepare(tokens, generator)
            tokens = tokens - codebook(codebook.find_nearest(tokens))

    def observe(self, levels: Levels) -> dict[str, Tensor]:
        """End a step, see [`Codebook.observe`].

        Returns:
            "perplexity_per_level", (levels,); "perplexity", its mean; "dead_codes", the number over all levels.
        """
        parts = zip(self, levels.residuals.detach().unbind(-2), levels.codes.unbind(-1), strict=True)
        observed = [codebook.observe(tokens, codes) for codebook, tokens, codes in parts]
        perplexities = torch.stack([metrics["perplexity"] for metrics in observed])
        return {
            "perplexity": perplexities.mean(),
            "perplexity_per_level": perplexities,
            "dead_codes": torch.stack([metrics["dead_codes"] for metrics in observed]).sum(),
        }
