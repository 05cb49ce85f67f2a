"""Active units (Burda et al., 2016, arXiv:1509.00519), KL divergence and KL per dimension of the posteriors.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class LatentUsage(evaluate_metric.GAEMetric):
    """Active units (Burda et al., 2016, arXiv:1509.00519), KL divergence and KL per dimension of the posteriors."""

    measure = "latent_usage"
