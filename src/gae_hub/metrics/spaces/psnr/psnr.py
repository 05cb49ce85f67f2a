"""Peak signal-to-noise ratio in decibels, the mean over images; equal images have 100.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class Psnr(evaluate_metric.GAEMetric):
    """Peak signal-to-noise ratio in decibels, the mean over images; equal images have 100."""

    measure = "psnr"
