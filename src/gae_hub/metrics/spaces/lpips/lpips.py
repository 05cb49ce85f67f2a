"""Learned perceptual distance (Zhang et al., 2018, arXiv:1801.03924), version 0.1, the mean over images.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Lpips(evaluate_metric.GAEMetric):
    """Learned perceptual distance (Zhang et al., 2018, arXiv:1801.03924), version 0.1, the mean over images."""

    measure = "lpips"
