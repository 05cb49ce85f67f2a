"""Kernel Inception distance (Bińkowski et al., 2018, arXiv:1801.01401): unbiased, from all pairs.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Kid(evaluate_metric.GAEMetric):
    """Kernel Inception distance (Bińkowski et al., 2018, arXiv:1801.01401): unbiased, from all pairs."""

    measure = "kid"
