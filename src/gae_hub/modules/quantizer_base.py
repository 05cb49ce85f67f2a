r"""The contract of quantizers, which replace tokens by code vectors.

A token is a vector that is quantized: a position of a latent map (latent_dim, \*sizes), or a whole latent vector.
Tokens are (\*batch, dim). Each has one code, an integer in [0, num_embeddings), or several: the codes of its groups
and levels, whose vectors add up to the quantized token.
"""

__all__ = ["Quantization", "Quantizer", "straight_through"]

from math import log2
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gae_hub.core.distributed import sum_over_processes

from .codebooks import perplexity


class Quantization(NamedTuple):
    """What a quantizer returns for tokens (*batch, dim) in a step of training or evaluation."""

    tokens: Tensor  # (*batch, dim), the quantized tokens, with a gradient to the tokens
    codes: Tensor  # (*batch, *code_axes)
    terms: dict[str, Tensor]  # terms of the loss by name, (*batch,) each, in nats per token
    metrics: dict[str, Tensor]  # detached values to log, such as "perplexity"


class Quantizer(nn.Module):
    """Base of the quantizers. A subclass defines `__init__`, `find_codes`, `lookup` and `quantize`.

    `__init__(config, dim)` receives a config with the fields of `config_fields`, and the size of a token. It sets
    `dim`, `num_embeddings`, and `num_codes_per_token` if a token has several codes.

    Attributes:
        dim: size of a token.
        num_embeddings: K, the number of values of each code.
        num_codes_per_token: number of codes of a token.
    """

    config_fields: tuple[str, ...] = ()  # fields that it reads, in addition to num_embeddings
    supports_scalars = False  # whether a token may be one coordinate of a flat latent

    dim: int
    num_embeddings: int
    num_codes_per_token: int = 1

    @classmethod
    def check_config(cls, config: Any, dim: int):
        """Raise ValueError if the config does not fit this quantizer, for tokens of size `dim`."""

    def find_codes(self, tokens: Tensor) -> Tensor:
        """(*batch, *code_axes): the codes of tokens (*batch, dim)."""
        raise NotImplementedError(f"{type(self).__name__} must define find_codes")

    def lookup(self, codes: Tensor) -> Tensor:
        """(*batch, dim): the quantized tokens that codes (*batch, *code_axes) stand for."""
        raise NotImplementedError(f"{type(self).__name__} must define lookup")

    def quantize(self, tokens: Tensor, generator: torch.Generator | None = None) -> Quantization:
        """Quantized tokens, codes, terms of the loss and metrics of a step. In training mode, it may adapt to them.

        Args:
            tokens: (*batch, dim) of this process.
            generator: source of random numbers.
        """
        raise NotImplementedError(f"{type(self).__name__} must define quantize")

    @property
    def code_axes(self) -> tuple[int, ...]:
        """The last axes of codes: (num_codes_per_token,), or () if a token has one code."""
        return () if self.num_codes_per_token == 1 else (self.num_codes_per_token,)

    @property
    def bits_per_token(self) -> float:
        """log2 of the number of combinations of codes."""
        return self.num_codes_per_token * log2(self.num_embeddings)

    @property
    def code_vectors(self) -> Tensor:
        """(num_codes_per_token, num_embeddings, dim): a token's quantized value is the sum of its codes' vectors."""
        if self.num_codes_per_token > 1:
            raise NotImplementedError(
                f"{type(self).__name__} has several codes per token, and must define code_vectors"
            )
        device = next((tensor.device for tensor in (*self.parameters(), *self.buffers())), None)
        return self.lookup(torch.arange(self.num_embeddings, device=device)).unsqueeze(0)

    @torch.no_grad()
    def measure_usage(self, codes: Tensor) -> dict[str, Tensor]:
        """The "perplexity" of codes (*batch,) of all processes, for a quantizer with one code per token."""
        flat = codes.flatten()
        ones = torch.ones_like(flat, dtype=torch.float32)
        counts = ones.new_zeros(self.num_embeddings).index_add(0, flat, ones)
        return {"perplexity": perplexity(sum_over_processes(counts))}


def straight_through(quantized: Tensor, tokens: Tensor) -> Tensor:
    """The values of `quantized` with the gradient of `tokens`, both of one shape."""
    return quantized.detach() + (tokens - tokens.detach())
