"""The paper's k-means on latents: accuracy with the prevalent class per cluster, Hungarian accuracy, NMI, ARI.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Clustering(evaluate_metric.GAEMetric):
    """The paper's k-means on latents: accuracy with the prevalent class per cluster, Hungarian accuracy, NMI, ARI."""

    measure = "clustering"
