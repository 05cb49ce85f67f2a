"""Groups of the methods by model: findings compare them, charts colour them, and the page shows them."""

__all__ = ["FAMILIES", "groups_of"]

from collections.abc import Iterable

# section 4.1 of arXiv:2206.08309 divides the methods into these two
FAMILIES = ("autoencoder", "variational")

# short name of `AutoGAE` to its family, and to what the method changes, as in section 4.1 for the paper's methods
_GROUPS = {
    "ae": ("autoencoder", "baseline"),
    "rae_l2": ("autoencoder", "prior"),  # "a more expressive prior", by density estimation after training
    "rae_gp": ("autoencoder", "prior"),
    "wae_mmd": ("autoencoder", "distance", "kernel"),
    "wae_gan": ("autoencoder", "distance", "adversarial"),
    "vq_vae": ("autoencoder", "discrete"),
    "hrq_vae": ("autoencoder", "discrete"),
    "vq_gan": ("autoencoder", "discrete", "adversarial"),
    "representation_ae": ("autoencoder", "representation"),
    "vae": ("variational", "baseline"),
    "vamp": ("variational", "prior"),
    "flow_prior_vae": ("variational", "prior"),
    "iwae": ("variational", "bound"),
    "miwae": ("variational", "bound"),
    "piwae": ("variational", "bound"),
    "ciwae": ("variational", "bound"),
    "hvae": ("variational", "bound"),
    "vae_lin_nf": ("variational", "bound", "flow"),
    "vae_iaf": ("variational", "bound", "flow"),
    "beta_vae": ("variational", "disentangling"),
    "beta_tc_vae": ("variational", "disentangling"),
    "disentangled_beta_vae": ("variational", "disentangling"),
    "factor_vae": ("variational", "disentangling"),  # its discriminator only estimates the total correlation
    "info_vae": ("variational", "distance", "kernel"),
    "msssim_vae": ("variational", "distance"),
    "aae": ("variational", "distance", "adversarial"),
    "vae_gan": ("variational", "distance", "adversarial"),
    "kl_gan": ("variational", "distance", "adversarial"),
    "rhvae": ("variational", "geometry"),
    "svae": ("variational", "geometry"),
    "poincare_vae": ("variational", "geometry"),
}


def groups_of(model: str, written: Iterable[str] = ()) -> tuple[str, ...]:
    """The groups of a method: those that are written out, and then those of its model.

    A written family, "autoencoder" or "variational", replaces the model's.

    Args:
        model: short name of `AutoGAE`. A model that is not in the library has no groups of its own.
        written: groups that a study or a grid sets for the method.
    """
    written = tuple(written)
    replaced = FAMILIES if set(written) & set(FAMILIES) else ()
    return tuple(dict.fromkeys([*written, *(group for group in _GROUPS.get(model, ()) if group not in replaced)]))
