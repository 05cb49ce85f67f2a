"""Mutual information gap (Chen et al., 2018, arXiv:1802.04942), with 20 bins for each latent.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Mig(evaluate_metric.GAEMetric):
    """Mutual information gap (Chen et al., 2018, arXiv:1802.04942), with 20 bins for each latent."""

    measure = "mig"
