"""Log-likelihoods of a model, and how much of its latents it uses."""

__all__ = ["active_units", "latent_usage", "summarize_log_likelihoods"]

from math import log

from torch import Tensor

from ...core.argument_checks import describe
from ..results import Estimate
from .checks import check_features, check_finite, check_rows


def summarize_log_likelihoods(
    values: Tensor, num_dims: int | None = None, discrete: bool = False
) -> dict[str, Estimate]:
    r"""Mean of log p(x) in nats, with its standard error over images, and bits per dimension.

    Values from importance sampling, `model.log_likelihood(x, num_samples)`, are lower bounds in expectation, which
    become tighter as num_samples grows (Burda, Grosse & Salakhutdinov, 2016, arXiv:1509.00519).

    Args:
        values: (num,) log p(x) in nats, for images in [0, 1].
        num_dims: number of pixels times channels, D. If given, the result has `bits_per_dimension`:
            :math:`-\log_2 p(x) / D`, plus 8 for a density, which converts it to the 256 levels of 8-bit images.
        discrete: whether p is a probability of binary pixels; 8 is not added then.

    Raises:
        ValueError: if there are no values, or some are not finite.
    """
    if not isinstance(values, Tensor):
        raise ValueError(f"log-likelihoods must be a torch.Tensor, (num,), got {describe(values)}")
    values = values.flatten().double()
    if not len(values):
        raise ValueError("there are no log-likelihoods: the data set is empty")
    check_finite("values of the log-likelihood", values)
    found = {"log_likelihood": Estimate.mean(values)}
    if num_dims:
        bits = -values / (num_dims * log(2)) + (0 if discrete else 8)
        found["bits_per_dimension"] = Estimate.mean(bits, num_dims=num_dims, levels_added=not discrete)
    return found


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """Number of latents that a model uses (Burda, Grosse & Salakhutdinov, 2016, arXiv:1509.00519).

    A latent is active if its posterior mean has a variance above the threshold over the images.

    Args:
        means: (num, latent_dim) posterior means, at least 2.
        threshold: variance above which a latent is active.

    Raises:
        ValueError: for fewer than 2 rows, or values that are not finite.
    """
    check_features("active units", "means", means, 2, "posterior means")
    return int((means.double().var(0) > threshold).sum())


def latent_usage(means: Tensor, kl: Tensor | None = None, threshold: float = 0.01) -> dict[str, Estimate]:
    """`active_units` and, from KL divergences, `kl` and `kl_per_dimension`, in nats.

    `kl` is the mean over images of the sum over dimensions. `kl_per_dimension` is the mean over both; its `details`
    hold the value of each dimension.

    Args:
        means: (num, latent_dim) posterior means.
        kl: (num, latent_dim) KL divergences of the posteriors from the prior, if the method has them.
        threshold: variance above which a latent is active.

    Raises:
        ValueError: for fewer than 2 rows, values that are not finite, or means and divergences of different shapes.
    """
    check_rows("latent usage", "means", means, 2, "posterior means")
    means = means.reshape(len(means), -1)
    found = {"active_units": Estimate(active_units(means, threshold), details={"of": means.shape[1]})}
    if kl is not None:
        if tuple(kl.shape) != tuple(means.shape):
            raise ValueError(f"kl must have the shape of the means, {tuple(means.shape)}, got {tuple(kl.shape)}")
        check_finite("kl of latent usage", kl)
        per_dimension = kl.double().mean(0)
        found["kl"] = Estimate.mean(kl.double().sum(1), lower_bound=0.0)
        found["kl_per_dimension"] = Estimate(
            per_dimension.mean().item(), details={"kl_of_each_dimension": per_dimension.tolist()}
        )
    return found
