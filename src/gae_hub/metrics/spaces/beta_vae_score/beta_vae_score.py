"""The beta-VAE score (Higgins et al., 2017, openreview:Sy2fzU9gl): which factor was fixed, told linearly.

A metric of gae_hub for `evaluate`; this file was made by scripts/make_spaces.py.
"""

from gae_hub.metrics import shell


class BetaVaeScore(shell.Shell):
    """The beta-VAE score (Higgins et al., 2017, openreview:Sy2fzU9gl): which factor was fixed, told linearly."""

    measure = "beta_vae_score"
