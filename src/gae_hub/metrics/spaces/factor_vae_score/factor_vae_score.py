"""The FactorVAE score (Kim & Mnih, 2018, arXiv:1802.05983): a majority vote by the latent that varies least.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class FactorVaeScore(evaluate_metric.GAEMetric):
    """The FactorVAE score (Kim & Mnih, 2018, arXiv:1802.05983): a majority vote by the latent that varies least."""

    measure = "factor_vae_score"
