"""The beta-VAE score (Higgins et al., 2017, openreview:Sy2fzU9gl): which factor was fixed, told linearly.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class BetaVaeScore(evaluate_metric.GAEMetric):
    """The beta-VAE score (Higgins et al., 2017, openreview:Sy2fzU9gl): which factor was fixed, told linearly."""

    measure = "beta_vae_score"
