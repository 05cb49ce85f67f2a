"""Separated attribute predictability (Kumar et al., 2018, arXiv:1711.00848).

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Sap(evaluate_metric.GAEMetric):
    """Separated attribute predictability (Kumar et al., 2018, arXiv:1711.00848)."""

    measure = "sap"
