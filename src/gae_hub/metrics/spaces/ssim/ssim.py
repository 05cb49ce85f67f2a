"""Structural similarity (Wang et al., 2004, doi:10.1109/TIP.2003.819861), the mean over images; 1 at most.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Ssim(evaluate_metric.GAEMetric):
    """Structural similarity (Wang et al., 2004, doi:10.1109/TIP.2003.819861), the mean over images; 1 at most."""

    measure = "ssim"
