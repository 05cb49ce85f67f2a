"""Multiscale structural similarity (Wang et al., 2003, doi:10.1109/ACSSC.2003.1292216), the mean over images.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class MsSsim(evaluate_metric.GAEMetric):
    """Multiscale structural similarity (Wang et al., 2003, doi:10.1109/ACSSC.2003.1292216), the mean over images."""

    measure = "ms_ssim"
