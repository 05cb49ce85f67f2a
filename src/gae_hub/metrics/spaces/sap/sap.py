"""Separated attribute predictability (Kumar et al., 2018, arXiv:1711.00848).

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import shell


class Sap(shell.Shell):
    """Separated attribute predictability (Kumar et al., 2018, arXiv:1711.00848)."""

    measure = "sap"
