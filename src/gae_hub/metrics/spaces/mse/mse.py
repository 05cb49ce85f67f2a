"""Mean squared error per pixel for images in [0, 1], and times 1000 as the paper's tables show it.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Mse(evaluate_metric.GAEMetric):
    """Mean squared error per pixel for images in [0, 1], and times 1000 as the paper's tables show it."""

    measure = "mse"
