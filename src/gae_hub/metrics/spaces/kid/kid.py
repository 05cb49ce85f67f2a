"""Kernel Inception distance (Bińkowski et al., 2018, arXiv:1801.01401): unbiased, from all pairs.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import shell


class Kid(shell.Shell):
    """Kernel Inception distance (Bińkowski et al., 2018, arXiv:1801.01401): unbiased, from all pairs."""

    measure = "kid"
