r"""Inception Score: Improved Techniques for Training GANs (Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen,
2016), arXiv:1606.03498.

.. math::
    IS = \exp E_x KL(p(y|x) || p(y))
"""

__all__ = ["inception_score"]

from itertools import pairwise

import torch
from torch import Tensor

from ...core.argument_checks import check_count
from ..results import Estimate
from .checks import check_features

CHUNK = 4096  # rows whose scores without them are in memory at a time


def inception_score(logits: Tensor, num_splits: int = 1) -> Estimate:
    """Exponential of the mean KL divergence of the predicted classes from their average.

    The score is 1 if all predictions are equal, and the number of classes if they are certain and evenly spread. With
    few images it is too small: with 1000 classes, 500 images have 71 % of the score of infinitely many, and 2000
    images 91 %, for normal logits of standard deviation 5. The interval is about the expected score of as many images.

    Args:
        logits: (num, classes), before the softmax.
        num_splits: 1 uses all images together, so their order does not matter. The published code averages over 10
            parts, in the order of the images; each part is more biased. `details` then holds the standard deviation
            of the parts.

    Raises:
        ValueError: for fewer images than splits, fewer than 2 images, or logits that are not finite.
    """
    check_count("num_splits", num_splits)
    check_features("the Inception Score", "logits", logits, max(2, num_splits))
    p, num = logits.double().softmax(1), len(logits)
    if num_splits > 1:
        edges = [num * part // num_splits for part in range(num_splits + 1)]
        scores = torch.stack([_score(p[a:b].mean(0), _entropy(p[a:b]).mean()) for a, b in pairwise(edges)])
        return Estimate(scores.mean().item(), details={"deviation_of_splits": scores.std(correction=0).item()})
    mean, entropy = p.mean(0), _entropy(p).mean()
    left_out = [
        _score((num * mean - rows).clamp(min=0) / (num - 1), (num * entropy - _entropy(rows)) / (num - 1))
        for rows in p.split(CHUNK)
    ]
    return Estimate.jackknife(_score(mean, entropy).item(), torch.cat(left_out), lower_bound=1.0)


def _score(mean: Tensor, mean_entropy: Tensor) -> Tensor:
    """Score of predictions with this mean (..., classes) and this mean of their entropies (...)."""
    return (_entropy(mean) - mean_entropy).exp()


def _entropy(p: Tensor) -> Tensor:
    """Entropy over the last axis, in nats."""
    return torch.special.entr(p).sum(-1)
