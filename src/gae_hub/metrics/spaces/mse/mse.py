"""Mean squared error per pixel for images in [0, 1], and times 1000 as the paper's tables show it.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import shell


class Mse(shell.Shell):
    """Mean squared error per pixel for images in [0, 1], and times 1000 as the paper's tables show it."""

    measure = "mse"
