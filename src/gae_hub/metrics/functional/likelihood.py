"""How probable a model finds images, and what its latents carry."""

__all__ = ["active_units", "latent_usage", "log_likelihood"]

from math import log

from torch import Tensor

from ..estimate import Estimate, require_features


def log_likelihood(values: Tensor, num_dims: int | None = None, discrete: bool = False) -> dict[str, Estimate]:
    r"""Mean of log p(x) in nats, with its standard error over images, and bits per dimension.

    By importance sampling, `model.log_likelihood(x, num_samples)`, each value is a lower bound in expectation, which
    tightens as num_samples grows (Burda, Grosse & Salakhutdinov, 2016, arXiv:1509.00519).

    Args:
        values: (num,) log p(x) in nats, of images in [0, 1].
        num_dims: pixels times channels, for `bits_per_dimension`: :math:`-\log_2 p(x) / D`, plus 8 for a density,
            which turns it into one over the 256 levels of 8-bit images.
        discrete: whether p is a probability of binary pixels, so that nothing is added.
    """
    values = values.flatten().double()
    if not len(values):
        raise ValueError("there are no log-likelihoods: the data set is empty")
    if not values.isfinite().all():
        raise ValueError(f"{int((~values.isfinite()).sum())} log-likelihoods are nan or infinite")
    found = {"log_likelihood": Estimate.mean(values)}
    if num_dims:
        bits = -values / (num_dims * log(2)) + (0 if discrete else 8)
        found["bits_per_dimension"] = Estimate.mean(bits, num_dims=num_dims, levels_added=not discrete)
    return found


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """Latents whose posterior mean varies over the images with a variance above the threshold (Burda, Grosse &
    Salakhutdinov, 2016, arXiv:1509.00519)."""
    require_features("active units", means, 2)
    return int((means.double().var(0) > threshold).sum())


def latent_usage(means: Tensor, kl: Tensor | None = None, threshold: float = 0.01) -> dict[str, Estimate]:
    """`active_units`, and from the divergences of posteriors from the prior: `kl`, their sum over dimensions, and
    `kl_per_dimension`, its mean, with the values of all dimensions in the passport. Nats; means over images.

    Args:
        means: (num, latent_dim) posterior means.
        kl: (num, latent_dim), where the method has such divergences.
        threshold: of the active units.
    """
    means = means.flatten(1)
    found = {"active_units": Estimate(active_units(means, threshold), details={"of": means.shape[1]})}
    if kl is not None:
        per_dimension = kl.double().mean(0)
        found["kl"] = Estimate.mean(kl.double().sum(1), least=0.0)
        found["kl_per_dimension"] = Estimate(
            per_dimension.mean().item(), details={"kl_of_each_dimension": per_dimension.tolist()}
        )
    return found
