"""Fidelity of the ends, evenness of the steps and straightness of paths between images.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Interpolation(evaluate_metric.GAEMetric):
    """Fidelity of the ends, evenness of the steps and straightness of paths between images."""

    measure = "interpolation"
