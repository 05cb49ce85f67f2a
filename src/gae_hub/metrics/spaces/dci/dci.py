"""Disentanglement, completeness and informativeness (Eastwood & Williams, 2018, openreview:By-7dz-AZ).

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Dci(evaluate_metric.GAEMetric):
    """Disentanglement, completeness and informativeness (Eastwood & Williams, 2018, openreview:By-7dz-AZ)."""

    measure = "dci"
