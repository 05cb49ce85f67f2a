"""Quantizers with stored code vectors: VQ, residual VQ and SimVQ."""

__all__ = ["ResidualVectorQuantizer", "SimVectorQuantizer", "VectorQuantizer"]

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from .codebooks import Codebook
from .kmeans import proximity_scores
from .precision import at_least_float32, full_precision
from .quantizer_base import Quantization, Quantizer, straight_through


class VectorQuantizer(Codebook, Quantizer):
    """The nearest vector of a [`Codebook`] (van den Oord et al., 2017, arXiv:1711.00937).

    Terms: "commitment", the square distance of a token to its code vector, for the token; with
    `codebook_update="gradient"` also "codebook", the same for the code vector.

    Args:
        config: a config with the fields of `config_fields`.
        dim: size of a token.
    """

    config_fields = (
        "codebook_update",
        "commitment_weight",
        "codebook_weight",
        "codebook_decay",
        "revival_threshold",
        "num_kmeans_iterations",
    )
    supports_scalars = True

    def __init__(self, config: Any, dim: int):
        super().__init__(
            config.num_embeddings,
            dim,
            config.codebook_decay,
            config.revival_threshold,
            config.num_kmeans_iterations,
            learned=config.codebook_update == "gradient",
        )
        self.dim, self.num_embeddings = dim, config.num_embeddings

    def find_codes(self, tokens: Tensor) -> Tensor:
        return self.find_nearest(tokens)

    def lookup(self, codes: Tensor) -> Tensor:
        return self(codes)

    def quantize(self, tokens: Tensor, generator: torch.Generator | None = None) -> Quantization:
        """As in [`Quantizer`]. `generator` chooses tokens for new codes in training."""
        fixed = tokens.detach()
        self.prepare(fixed, generator)
        codes = self.find_codes(fixed)
        vectors = self.lookup(codes)
        terms = {"commitment": (tokens - vectors.detach()).square().sum(-1)}
        if self.learned:
            terms["codebook"] = (fixed - vectors).square().sum(-1)
        return Quantization(straight_through(vectors, tokens), codes, terms, self.observe(fixed, codes))


class ResidualVectorQuantizer(Quantizer):
    """Codebooks in sequence: each quantizes what those before leave over (Lee et al., 2022, arXiv:2203.01941).

    The terms are those of VQ, summed over the levels. The quantized token is the sum of the code vectors.

    Args:
        config: a config with the fields of `config_fields`.
        dim: size of a token.
    """

    config_fields = ("num_levels", *VectorQuantizer.config_fields)

    def __init__(self, config: Any, dim: int):
        super().__init__()
        self.dim, self.num_embeddings, self.num_codes_per_token = dim, config.num_embeddings, config.num_levels
        self.levels = nn.ModuleList(VectorQuantizer(config, dim) for _ in range(config.num_levels))

    def __iter__(self) -> Iterator[VectorQuantizer]:
        return cast("Iterator[VectorQuantizer]", iter(self.levels))

    def find_codes(self, tokens: Tensor) -> Tensor:
        found = []
        for level in self:
            found.append(level.find_codes(tokens))
            tokens = tokens - level.lookup(found[-1])
        return torch.stack(found, -1).view(*tokens.shape[:-1], *self.code_axes)

    def lookup(self, codes: Tensor) -> Tensor:
        per_level = codes.unbind(-1) if self.code_axes else [codes]
        vectors = [level.lookup(own) for level, own in zip(self, per_level, strict=True)]
        return torch.stack(vectors).sum(0)

    def quantize(self, tokens: Tensor, generator: torch.Generator | None = None) -> Quantization:
        found, residual = [], tokens
        for level in self:
            found.append(level.quantize(residual, generator))
            residual = residual - found[-1].tokens.detach()
        total = torch.stack([each.tokens for each in found]).detach().sum(0)
        codes = torch.stack([each.codes for each in found], -1).view(*tokens.shape[:-1], *self.code_axes)
        return Quantization(straight_through(total, tokens), codes, *combine_parts(found))

    @property
    def code_vectors(self) -> Tensor:
        return torch.cat([level.code_vectors for level in self])


class SimVectorQuantizer(Quantizer):
    """VQ whose code vectors are a linear map of frozen random vectors (Zhu et al., 2024, arXiv:2411.02038).

    A gradient of one code vector changes the map, and so moves all code vectors: none is left behind. Terms:
    "commitment" and "codebook", as of VQ with `codebook_update="gradient"`.

    Args:
        config: a config with the fields of `config_fields`.
        dim: size of a token.
    """

    config_fields = ("commitment_weight", "codebook_weight")

    codes: Tensor  # (K, dim), frozen

    def __init__(self, config: Any, dim: int):
        super().__init__()
        self.dim, self.num_embeddings = dim, config.num_embeddings
        self.register_buffer("codes", at_least_float32(torch.zeros(config.num_embeddings, dim)))
        self.projection = nn.Linear(dim, dim, bias=False)
        self.reset_parameters()

    def reset_parameters(self):
        init.normal_(self.codes, std=self.dim**-0.5)

    def find_codes(self, tokens: Tensor) -> Tensor:
        return self._find_nearest(tokens, self._project(self.codes))

    @torch.no_grad()
    def _find_nearest(self, tokens: Tensor, vectors: Tensor) -> Tensor:
        return proximity_scores(tokens.to(vectors.dtype), vectors).argmax(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        return self._project(F.embedding(codes, self.codes))

    def _project(self, codes: Tensor) -> Tensor:
        with full_precision(codes):
            return self.projection(codes)

    def quantize(self, tokens: Tensor, generator: torch.Generator | None = None) -> Quantization:
        codebook = self._project(self.codes)
        codes = self._find_nearest(tokens, codebook)
        vectors = F.embedding(codes, codebook)
        terms = {
            "commitment": (tokens - vectors.detach()).square().sum(-1),
            "codebook": (tokens.detach() - vectors).square().sum(-1),
        }
        return Quantization(straight_through(vectors, tokens), codes, terms, self.measure_usage(codes))


def combine_parts(parts: list[Quantization]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Terms and metrics of quantizers that share a token.

    Returns:
        The sum of each term; and "perplexity", the mean over the codes of a token, "perplexity_per_level", each of
        them, and other metrics summed.
    """
    terms = {name: torch.stack([part.terms[name] for part in parts]).sum(0) for name in parts[0].terms}
    metrics = {name: torch.stack([part.metrics[name] for part in parts]).sum(0) for name in parts[0].metrics}
    each = [part.metrics.get("perplexity_per_level", part.metrics["perplexity"]).reshape(-1) for part in parts]
    perplexities = torch.cat(each)
    return terms, {**metrics, "perplexity": perplexities.mean(), "perplexity_per_level": perplexities}
