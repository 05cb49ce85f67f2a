r"""Linear probe: accuracy of a logistic regression on latents, fitted until it converges.

With standardised latents z, their classes y and K classes, the classifier minimises

.. math::
    \sum_i -\log softmax(W z_i + b)_{y_i} + \frac{\lambda}{2} |W|^2

The problem is strictly convex in W, so it has one solution: initial weights and the order of the examples, which
vary between the 20 runs of the paper, do not change a classifier that has converged. Without the penalty, classes that
a plane separates have their optimum at infinity.
"""

__all__ = ["linear_probe"]

from math import inf

import torch
from torch import Tensor

from ...core.argument_checks import describe
from ..results import Estimate
from .checks import check_labels, check_rows, check_same_dim

MAX_ITER = 10_000  # of L-BFGS, which needs tens to hundreds


def linear_probe(
    latents: Tensor, labels: Tensor, test_latents: Tensor, test_labels: Tensor, l2_weight: float = 1.0
) -> dict[str, Estimate]:
    """`probe_accuracy`, the proportion of test latents whose class a logistic regression on the training set predicts.

    Latents are standardised by mean and standard deviation of the training set. The classifier is scikit-learn's
    `LogisticRegression`, whose strength C is 1 / `l2_weight`; with 2 classes it has a single weight vector.

    The standard error and the interval vary the test rows, and keep the training rows and so the classifier.

    Args:
        latents, labels: (num, dim) and (num,) integers, the training set.
        test_latents, test_labels: test set. A class that the training set lacks is never predicted.
        l2_weight: weight of the penalty on W, lambda above; above 0.

    Raises:
        ValueError: if numbers of latents and labels differ, latents are not finite, there are fewer than 2 classes, or
            `l2_weight` is not a positive number.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_number = isinstance(l2_weight, (int, float)) and not isinstance(l2_weight, bool)
    if not (is_number and 0 < l2_weight < inf):
        raise ValueError(f"l2_weight must be a number above 0, got {describe(l2_weight)}")
    sides = (("latents", latents, labels), ("test_latents", test_latents, test_labels))
    for argument, rows, classes in sides:
        check_rows("the probe", argument, rows, 1, "latents")
        check_labels("the probe", classes, len(rows))
    check_same_dim(latents[0].numel(), test_latents[0].numel())
    num_classes = len(labels.unique())
    if num_classes < 2:
        raise ValueError(f"the probe needs labels of 2 or more classes, got {num_classes}")
    x, test = (rows.detach().reshape(len(rows), -1).double().cpu().numpy() for _, rows, _ in sides)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1 / l2_weight, max_iter=MAX_ITER))
    predicted = torch.from_numpy(probe.fit(x, labels.cpu().numpy()).predict(test))
    return {"probe_accuracy": Estimate.proportion(predicted == test_labels.cpu(), num_training_rows=len(labels))}
