r"""Linear probe: accuracy of a logistic regression on latents, fitted until it converges.

With standardised latents z, their classes y and K classes, the classifier minimises

.. math::
    \sum_i -\log softmax(W z_i + b)_{y_i} + \frac{\lambda}{2} |W|^2

The problem is strictly convex in W, so it has one solution: initial weights and the order of the examples, which
vary between the 20 runs of the paper, do not change a classifier that has converged. Without the penalty, classes that
a plane separates have their optimum at infinity.
"""

__all__ = ["LinearProbe", "linear_probe"]

from math import inf

import numpy as np
import torch
from torch import Tensor

from ...core.argument_checks import describe
from ...core.threads import single_thread
from ..results import Estimate
from .checks import check_labels, check_rows, check_same_dim

MAX_ITER = 10_000  # of L-BFGS, which needs tens to hundreds


class LinearProbe:
    """A fitted classifier of latents.

    Latents are standardised by mean and standard deviation of the training set. The classifier is scikit-learn's
    `LogisticRegression`, whose strength C is 1 / `l2_weight`; with 2 classes it has a single weight vector.

    Args:
        latents, labels: (num, dim) and (num,) integers, the training set.
        l2_weight: weight of the penalty on W, lambda above; above 0.

    Raises:
        ValueError: if numbers of latents and labels differ, latents are not finite, there are fewer than 2 classes, or
            `l2_weight` is not a positive number.
    """

    def __init__(self, latents: Tensor, labels: Tensor, l2_weight: float = 1.0):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        is_number = isinstance(l2_weight, (int, float)) and not isinstance(l2_weight, bool)
        if not (is_number and 0 < l2_weight < inf):
            raise ValueError(f"l2_weight must be a number above 0, got {describe(l2_weight)}")
        _check_side("latents", latents, labels)
        num_classes = len(labels.unique())
        if num_classes < 2:
            raise ValueError(f"the probe needs labels of 2 or more classes, got {num_classes}")
        self.dim, self.num_rows = latents[0].numel(), len(labels)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1 / l2_weight, max_iter=MAX_ITER))
        with single_thread():
            self._pipeline = pipeline.fit(_to_rows(latents), labels.cpu().numpy())

    def measure_hits(self, latents: Tensor, labels: Tensor) -> Tensor:
        """(num,) booleans: whether the classifier predicts the label of each of (num, dim) latents."""
        _check_side("test_latents", latents, labels)
        check_same_dim(self.dim, latents[0].numel())
        return torch.from_numpy(self._pipeline.predict(_to_rows(latents))) == labels.cpu()


def linear_probe(
    latents: Tensor, labels: Tensor, test_latents: Tensor, test_labels: Tensor, l2_weight: float = 1.0
) -> dict[str, Estimate]:
    """`probe_accuracy`, the proportion of test latents whose class a [`LinearProbe`] of the training set predicts.

    The standard error and the interval vary the test rows, and keep the training rows and so the classifier.

    Args:
        latents, labels, l2_weight: as for `LinearProbe`.
        test_latents, test_labels: test set. A class that the training set lacks is never predicted.

    Raises:
        ValueError: as `LinearProbe`, also for the test set.
    """
    _check_side("test_latents", test_latents, test_labels)
    probe = LinearProbe(latents, labels, l2_weight)
    return {
        "probe_accuracy": Estimate.proportion(
            probe.measure_hits(test_latents, test_labels), num_training_rows=probe.num_rows
        )
    }


def _check_side(argument: str, latents: Tensor, labels: Tensor):
    check_rows("the probe", argument, latents, 1, "latents")
    check_labels("the probe", labels, len(latents))


def _to_rows(latents: Tensor) -> np.ndarray:
    return latents.detach().reshape(len(latents), -1).double().cpu().numpy()
