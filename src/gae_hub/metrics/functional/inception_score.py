r"""Inception Score: Improved Techniques for Training GANs (Salimans, Goodfellow, Zaremba, Cheung, Radford & Chen,
2016), arXiv:1606.03498.

.. math::
    IS = \exp E_x KL(p(y|x) || p(y))
"""

__all__ = ["inception_score"]

import torch
from torch import Tensor

from ...core.argument_checks import check_count
from ..results import Estimate
from .checks import check_features


def inception_score(logits: Tensor, num_splits: int = 1) -> Estimate:
    """Exponential of the mean KL divergence of the predicted classes from their average.

    The score is 1 if all predictions are equal, and the number of classes if they are certain and evenly spread.

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
    log_p = logits.double().log_softmax(1)
    if num_splits > 1:
        edges = [len(log_p) * part // num_splits for part in range(num_splits + 1)]
        scores = torch.stack([_divergences(log_p[a:b]).mean().exp() for a, b in zip(edges, edges[1:], strict=False)])
        return Estimate(scores.mean().item(), details={"deviation_of_splits": scores.std(correction=0).item()})
    divergences = _divergences(log_p)
    score = divergences.mean().exp()
    error = score * divergences.std() / len(log_p) ** 0.5  # the derivative by p(y) vanishes in expectation
    return Estimate.normal(score.item(), error.item(), "closed form: delta method", lower_bound=1.0)


def _divergences(log_p: Tensor) -> Tensor:
    """(num,) KL(p(y|x) || p(y)) in nats."""
    mean = log_p.logsumexp(0) - torch.tensor(len(log_p), dtype=log_p.dtype).log()
    return (log_p.exp() * (log_p - mean)).nan_to_num(0.0).sum(1)  # 0 log 0 = 0
