"""Inception Score (Salimans et al., 2016, arXiv:1606.03498), from all images or as the mean over parts of them.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class InceptionScore(evaluate_metric.GAEMetric):
    """Inception Score (Salimans et al., 2016, arXiv:1606.03498), from all images or as the mean over parts of them."""

    measure = "inception_score"
