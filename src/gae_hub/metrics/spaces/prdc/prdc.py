"""Precision and recall (arXiv:1904.06991), density and coverage (arXiv:2002.09797), by nearest neighbours.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Prdc(evaluate_metric.GAEMetric):
    """Precision and recall (arXiv:1904.06991), density and coverage (arXiv:2002.09797), by nearest neighbours."""

    measure = "prdc"
