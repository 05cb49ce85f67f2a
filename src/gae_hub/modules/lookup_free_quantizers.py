"""Quantizers whose code vectors are computed and not stored: FSQ, LFQ and BSQ."""

__all__ = ["BinarySphericalQuantizer", "FiniteScalarQuantizer", "LookupFreeQuantizer"]

from math import log2, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import initialization as init

from gae_hub.core.distributed import gather_batch

from .precision import at_least_float32, full_precision
from .quantizer_base import Quantization, Quantizer, straight_through

_MARGIN = 1e-3  # of FSQ: bounded tokens reach the outer values only with a margin
_MAX_EMBEDDINGS = 2**20  # the codes of a batch are counted in a table of this size


class FiniteScalarQuantizer(Quantizer):
    r"""FSQ: each coordinate is bounded and rounded to one of L values (Mentzer et al., 2023, arXiv:2309.15505).

    .. math::
        \hat{z} = \mathrm{round}(h \tanh(z + s) - o) / \lfloor L / 2 \rfloor, \quad h = (L - 1)(1 + \epsilon) / 2

    with o = s = 0 for odd L; for even L, o = 1/2 and tanh(s) = o / h, so that z = 0 is not shifted. (The listing in
    the paper has s = tan(o / h) and a smaller h.) The gradient skips the rounding. There are no terms of the loss.

    Args:
        config: a config with the field `fsq_levels`, the numbers of values L of the coordinates.
        dim: size of a token.
    """

    config_fields = ("fsq_levels",)

    sizes: Tensor  # (dim,) floats, L of each coordinate
    strides: Tensor  # (dim,) integers, by how much the code changes with each coordinate's index

    def __init__(self, config: Any, dim: int):
        super().__init__()
        self.dim, self.num_embeddings = dim, config.num_embeddings
        self._levels = tuple(config.fsq_levels)
        self.register_buffer("sizes", at_least_float32(torch.zeros(dim)), persistent=False)
        self.register_buffer("strides", torch.zeros(dim, dtype=torch.long), persistent=False)
        self.reset_parameters()

    def reset_parameters(self):
        """Fill the constants, which checkpoints do not hold."""
        levels = torch.tensor(self._levels)
        init.copy_(self.sizes, levels)
        init.copy_(self.strides, levels.cumprod(0) // levels)

    @classmethod
    def check_config(cls, config: Any, dim: int):
        levels = config.fsq_levels
        if levels is None:
            raise ValueError(
                "quantizer 'fsq' needs fsq_levels, the number of values of each coordinate, such as (8, 5, 5, 5)"
            )
        if not levels or min(levels) < 2:
            raise ValueError(f"fsq_levels must be 2 or more each, got {tuple(levels)}")
        _require_dim(dim, len(levels), "the number of fsq_levels", config)
        if config.num_embeddings != prod(levels):
            raise ValueError(
                f"num_embeddings must be {prod(levels)}, the product of fsq_levels {tuple(levels)}, got "
                f"{config.num_embeddings}"
            )
        _check_size(config)

    @property
    def half_widths(self) -> Tensor:
        """(dim,): floor(L / 2), the index of the value 0."""
        return (self.sizes / 2).floor()

    def bound(self, tokens: Tensor) -> Tensor:
        """(*batch, dim): tokens bounded so that they round to L integers, from -floor(L / 2) on."""
        half = (self.sizes - 1) * (0.5 * (1 + _MARGIN))
        offset = 0.5 * (self.sizes % 2 == 0)
        return (tokens + (offset / half).atanh()).tanh() * half - offset

    def find_codes(self, tokens: Tensor) -> Tensor:
        return self._join_indices(self.bound(tokens).round())

    def _join_indices(self, rounded: Tensor) -> Tensor:
        """(*batch,): the codes of rounded tokens (*batch, dim)."""
        return ((rounded + self.half_widths).long() * self.strides).sum(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        indices = codes.unsqueeze(-1) // self.strides % self.sizes.long()
        return (indices - self.half_widths) / self.half_widths

    def quantize(self, tokens: Tensor, generator: torch.Generator | None = None) -> Quantization:
        bounded = self.bound(tokens)
        rounded = bounded.detach().round()
        codes = self._join_indices(rounded)
        quantized = straight_through(rounded, bounded) / self.half_widths
        return Quantization(quantized, codes, {}, self.measure_usage(codes))


class LookupFreeQuantizer(Quantizer):
    r"""LFQ: the sign of each coordinate is a bit of the code (Yu et al., 2023, arXiv:2310.05737).

    Terms: "commitment", and, in nats per token,

    .. math::
        \mathrm{entropy} = H(p(c|z)) - \gamma\, H(\mathbb{E}[p(c|z)]), \quad
        p(c|z) = \mathrm{softmax}_c(-\|z - c\|^2 / T),

    where the expectation is over the tokens of the batch, of all processes. It makes codes certain for each token, and
    equally frequent over all tokens. Bits are independent given z, so the first entropy is a sum over bits. The second
    is exact: the mean probabilities of all codes are one product of two matrices, with the probabilities of the
    first and of the second half of the bits.

    Args:
        config: a config with the fields of `config_fields`.
        dim: size of a token, log2 of `num_embeddings`.
    """

    config_fields = ("commitment_weight", "entropy_weight", "diversity_weight", "entropy_temperature")

    scale: Tensor  # scalar, size of the coordinates of code vectors

    def __init__(self, config: Any, dim: int):
        super().__init__()
        self.dim, self.num_embeddings = dim, config.num_embeddings
        self.diversity_weight, self.temperature = config.diversity_weight, config.entropy_temperature
        self.register_buffer("scale", at_least_float32(torch.zeros(())), persistent=False)
        self.reset_parameters()

    def reset_parameters(self):
        """Fill the constant, which checkpoints do not hold."""
        init.ones_(self.scale)

    @classmethod
    def check_config(cls, config: Any, dim: int):
        size = config.num_embeddings
        if size < 2 or size & (size - 1):
            raise ValueError(
                f"num_embeddings must be a power of two for quantizer '{config.quantizer}', got {size}: choose "
                f"{2 ** max(1, round(log2(size)))}"
            )
        _require_dim(dim, size.bit_length() - 1, "log2 of num_embeddings", config)
        _check_size(config)

    def normalize(self, tokens: Tensor) -> Tensor:
        """Tokens (*batch, dim) before their signs are taken; here, as they are."""
        return tokens

    def find_codes(self, tokens: Tensor) -> Tensor:
        return ((tokens > 0).long() << torch.arange(self.dim, device=tokens.device)).sum(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        bits = codes.unsqueeze(-1) >> torch.arange(self.dim, device=codes.device) & 1
        return self.scale * (2 * bits - 1)

    def quantize(self, tokens: Tensor, generator: torch.Generator | None = None) -> Quantization:
        tokens = self.normalize(tokens)
        codes = self.find_codes(tokens)
        vectors = self.lookup(codes)
        log_odds = 4 * self.scale / self.temperature * tokens  # of a bit being 1
        terms = {
            "commitment": (tokens - vectors).square().sum(-1),
            "entropy": bit_entropy(log_odds).sum(-1)
            - self.diversity_weight * self.compute_diversity(log_odds.flatten(0, -2)),
        }
        return Quantization(straight_through(vectors, tokens), codes, terms, self.measure_usage(codes))

    def compute_diversity(self, log_odds: Tensor) -> Tensor:
        """Entropy of the mean of p(c|z) over tokens with log odds (num, dim), and over processes, in nats."""
        half = self.dim // 2
        first, second = self._joint(log_odds[:, :half]), self._joint(log_odds[:, half:])
        with full_precision(log_odds):
            shares = second.T @ first / log_odds.shape[0]
        return _entropy(_mean_of_processes(shares.flatten()))

    def _joint(self, log_odds: Tensor) -> Tensor:
        """(num, 2^bits): probabilities of all combinations of independent bits with log odds (num, bits)."""
        joint = log_odds.new_ones(log_odds.shape[0], 1)
        for zero, one in zip((-log_odds).sigmoid().T, log_odds.sigmoid().T, strict=True):
            joint = torch.cat([joint * zero.unsqueeze(1), joint * one.unsqueeze(1)], 1)
        return joint


class BinarySphericalQuantizer(LookupFreeQuantizer):
    r"""BSQ: LFQ on the unit sphere (Zhao, Xiong & Krähenbühl, 2024, arXiv:2406.07548).

    Tokens are divided by their norm, and code vectors are :math:`\{\pm 1 / \sqrt{d}\}^d`. The entropy of the mean is
    that of independent bits, :math:`\sum_i H(\mathbb{E}[p(c_i|z)])`, an upper bound of the exact one. The paper's
    temperature tau is 2 / T.

    Args:
        config: a config with the fields of `config_fields`.
        dim: size of a token, log2 of `num_embeddings`.
    """

    def reset_parameters(self):
        init.constant_(self.scale, self.dim**-0.5)

    def normalize(self, tokens: Tensor) -> Tensor:
        return F.normalize(tokens, dim=-1)

    def compute_diversity(self, log_odds: Tensor) -> Tensor:
        ones = _mean_of_processes(log_odds.sigmoid().mean(0))
        zeros = _mean_of_processes((-log_odds).sigmoid().mean(0))
        return _entropy(torch.cat([ones, zeros]))


def bit_entropy(log_odds: Tensor) -> Tensor:
    """Entropy of bits with these log odds, in nats, elementwise."""
    size = log_odds.abs()
    return F.softplus(-size) + size * (-size).sigmoid()


def _entropy(shares: Tensor) -> Tensor:
    """The entropy of probabilities (num,), with finite gradients where they are 0."""
    return torch.special.entr(shares.clamp(min=torch.finfo(shares.dtype).tiny)).sum()


def _mean_of_processes(values: Tensor) -> Tensor:
    """The mean over processes, with gradients."""
    return gather_batch(values.unsqueeze(0)).mean(0)


def _require_dim(dim: int, expected: int, what: str, config: Any):
    if dim == expected:
        return
    groups = config.num_groups
    per_group = f", and there are {groups} groups" if groups > 1 else ""
    raise ValueError(
        f"latent_dim must be {expected * groups} for quantizer '{config.quantizer}': a token has {expected} "
        f"coordinates, {what}{per_group}; got {config.latent_dim}"
    )


def _check_size(config: Any):
    if config.num_embeddings > _MAX_EMBEDDINGS:
        raise ValueError(
            f"num_embeddings must be at most {_MAX_EMBEDDINGS}, got {config.num_embeddings}: split tokens into "
            "num_groups, which have a code of num_embeddings values each"
        )
