"""Energy distance (Székely & Rizzo, 2013, doi:10.1016/j.jspi.2013.03.018) of two sets of points or images.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Energy(evaluate_metric.GAEMetric):
    """Energy distance (Székely & Rizzo, 2013, doi:10.1016/j.jspi.2013.03.018) of two sets of points or images."""

    measure = "energy"
