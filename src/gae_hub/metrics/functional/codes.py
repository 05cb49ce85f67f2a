"""How a quantized model uses its codes, and how many bits they take."""

__all__ = ["code_usage"]

from math import log, log2, prod

import torch
from torch import Tensor

from ...core.argument_checks import describe
from ..results import Estimate


def code_usage(codes: Tensor, num_embeddings: int, num_codes_per_token: int = 1) -> dict[str, Estimate]:
    """Share of the codes in use, their perplexity, and the size of an example in bits.

    - `used_codes`: share of the codes that stand for a token of the data.
    - `perplexity`: exp of the entropy of the codes' frequencies, between 1 and `num_embeddings`.
    - `bits_per_example`: with the same number of bits for each code.
    - `entropy_bits_per_example`: with an entropy coder that knows the frequency of each code, and not its neighbours.
      With those, a sampler's `-code_log_prob(codes) / ln 2` is smaller.

    The first two are means over the codes of a token, whose values are in `details`.

    Args:
        codes: (num, *code_shape) integers in [0, num_embeddings).
        num_embeddings: number of values of each code.
        num_codes_per_token: size of the last axis of codes, if a token has several codes.

    Raises:
        ValueError: if codes are not such integers.
    """
    if not isinstance(codes, Tensor) or codes.is_floating_point() or codes.dtype == torch.bool or not codes.numel():
        raise ValueError(f"code usage needs a tensor of integers, got {describe(codes)}")
    if codes.min() < 0 or codes.max() >= num_embeddings:
        raise ValueError(f"codes must lie in [0, {num_embeddings}), got [{codes.min()}, {codes.max()}]")
    per_example = prod(codes.shape[1:])
    if per_example % num_codes_per_token:
        raise ValueError(f"codes of shape {tuple(codes.shape)} are not {num_codes_per_token} per token")
    columns = codes.reshape(-1, num_codes_per_token).long().T.contiguous()
    shares = torch.stack([column.bincount(minlength=num_embeddings) for column in columns]).double()
    shares /= shares.sum(1, keepdim=True)
    entropies = torch.special.entr(shares).sum(1)
    used, perplexities = (shares > 0).double().mean(1), entropies.exp()
    tokens = per_example // num_codes_per_token
    return {
        "used_codes": Estimate(used.mean().item(), details={"of_each_code": used.tolist()}),
        "perplexity": Estimate(perplexities.mean().item(), details={"of_each_code": perplexities.tolist()}),
        "bits_per_example": Estimate(per_example * log2(num_embeddings)),
        "entropy_bits_per_example": Estimate(tokens * entropies.sum().item() / log(2)),
    }
