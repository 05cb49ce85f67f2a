"""Log-likelihood in nats with its standard error over images, and bits per dimension where `num_dims` is given.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import evaluate_metric


class LogLikelihood(evaluate_metric.GAEMetric):
    """Log-likelihood in nats with its standard error over images, and bits per dimension where `num_dims` is given."""

    measure = "log_likelihood"
