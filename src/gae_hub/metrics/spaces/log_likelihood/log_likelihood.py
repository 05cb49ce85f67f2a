"""Log-likelihood in nats with its standard error over images, and bits per dimension where `num_dims` is given.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import shell


class LogLikelihood(shell.Shell):
    """Log-likelihood in nats with its standard error over images, and bits per dimension where `num_dims` is given."""

    measure = "log_likelihood"
