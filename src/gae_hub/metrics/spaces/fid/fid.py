"""Frechet Inception distance (Heusel et al., 2017, arXiv:1706.08500): 0 for equal moments of the features.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Fid(evaluate_metric.GAEMetric):
    """Frechet Inception distance (Heusel et al., 2017, arXiv:1706.08500): 0 for equal moments of the features."""

    measure = "fid"
