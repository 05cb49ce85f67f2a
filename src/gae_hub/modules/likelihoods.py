r"""Likelihoods p(x|z): densities of the pixels given what a decoder returns, with independent pixels.

A decoder returns `logits`, the values before the activation. A likelihood turns them into the mean of p(x|z), its log
density and its samples. A new likelihood is one class and one call of [`register_likelihood`]; its name is then a
value of the field `likelihood`, in every config that has the fields the likelihood reads.
"""

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "ContinuousBernoulli",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "OptimalGaussian",
    "build_likelihood",
    "check_likelihood",
    "register_likelihood",
]

from math import log, pi, prod, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from gae_hub.core.argument_checks import suggest
from gae_hub.core.distributed import mean_over_processes

from .noise import rand, randn

LIKELIHOODS: dict[str, type["Likelihood"]] = {}
"""Name in a config to class, filled by `register_likelihood`."""


class Likelihood(nn.Module):
    """Base of the likelihoods. A subclass defines `log_prob` and `sample`, and overrides what differs.

    Args:
        config: a model's config, with `input_shape`, `observation_std` and `output_activation`.
    """

    is_discrete = False  # whether p(x|z) is a probability instead of a density
    is_binary = False  # whether it is a probability of values in {0, 1}
    config_fields: tuple[str, ...] = ()  # fields that this likelihood reads and GAEConfig does not have

    def __init__(self, config):
        super().__init__()
        self.input_shape: tuple[int, ...] = tuple(config.input_shape)
        self.is_bounded: bool = config.output_activation == "sigmoid"

    @classmethod
    def check_config(cls, config):
        """Raise ValueError if the config's other fields do not fit this likelihood."""

    def activation(self, logits: Tensor) -> Tensor:
        """The mean of p(x|z): sigmoid of the logits, or the logits for `output_activation="identity"`."""
        return logits.sigmoid() if self.is_bounded else logits

    def log_prob(self, pixel_values: Tensor, logits: Tensor, mean: Tensor, adapt: bool = True) -> Tensor:
        """(*batch,) log p(x|z) without `constant`, in nats.

        Args:
            pixel_values: (*batch, *input_shape).
            logits: (*batch, *input_shape).
            mean: `activation(logits)`, which the caller needs as well.
            adapt: whether scales that follow the data may be updated from this batch in training mode.
        """
        raise NotImplementedError(f"{type(self).__name__} must define log_prob")

    def constant(self) -> float:
        """The part of log p(x|z) that `log_prob` leaves out, in nats: it depends on no weight."""
        return 0.0

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(*batch, *input_shape) pixels drawn from p(x|z)."""
        raise NotImplementedError(f"{type(self).__name__} must define sample")

    def describe(self) -> str:
        """A sentence for the model card: which density it is, and what its nats can be compared with."""
        return "Nats depend on the likelihood and the scale of the pixels: compare them only with the same model."

    def sum_pixels(self, values: Tensor) -> Tensor:
        """(*batch, *input_shape) to (*batch,)."""
        return values.flatten(-len(self.input_shape)).sum(-1)


class Gaussian(Likelihood):
    """N(mean, observation_std^2) for each pixel."""

    def __init__(self, config):
        super().__init__(config)
        self.std = config.observation_std

    def log_prob(self, pixel_values: Tensor, logits: Tensor, mean: Tensor, adapt: bool = True) -> Tensor:
        return self.squared_error(pixel_values, mean) / (-2 * self.std**2)

    def squared_error(self, pixel_values: Tensor, mean: Tensor) -> Tensor:
        return self.sum_pixels(F.mse_loss(mean, pixel_values, reduction="none"))

    def constant(self) -> float:
        return -prod(self.input_shape) * (0.5 * log(2 * pi) + log(self.std))

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.activation(logits) + self.std * randn(logits.shape, logits, generator)

    def describe(self) -> str:
        return (
            f"The likelihood is a Gaussian density of continuous pixels with standard deviation {self.std:.4g}: its "
            "nats depend on that choice and on the scale of the pixels, and are not comparable with those of models "
            "of binary or 8-bit pixels."
        )


class OptimalGaussian(Gaussian):
    r"""A Gaussian whose variance is the mean squared error, the optimum in closed form (Rybkin, Daniilidis & Levine,
    2021, arXiv:2006.13202).

    In training mode the variance is that of the batch of all processes, and a running average follows it; in
    evaluation mode it is the running average.
    """

    variance: Tensor

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("variance", torch.ones((), dtype=torch.float32))

    def reset_parameters(self):
        init.ones_(self.variance)

    def log_prob(self, pixel_values: Tensor, logits: Tensor, mean: Tensor, adapt: bool = True) -> Tensor:
        square, size = self.squared_error(pixel_values, mean), prod(self.input_shape)
        variance = self.variance.to(square.dtype)
        if self.training and adapt:
            variance = mean_over_processes(square.detach().mean() / size).clamp(min=1e-8)
            # not lerp_, for which torch.func.vmap has no rule
            self.variance.mul_(0.9).add_(variance.to(self.variance.dtype), alpha=0.1)
        return -0.5 * (square / variance + size * variance.log())

    def constant(self) -> float:
        return -prod(self.input_shape) * 0.5 * log(2 * pi)

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        std = self.variance.sqrt().to(logits.dtype)
        return self.activation(logits) + std * randn(logits.shape, logits, generator)

    def describe(self) -> str:
        return (
            "The likelihood is a Gaussian density of continuous pixels whose variance is learned "
            f"(standard deviation {float(self.variance.sqrt()):.4g}): its nats depend on the scale of the pixels, and "
            "are not comparable with those of models of binary or 8-bit pixels."
        )


class Laplace(Likelihood):
    """Laplace density of standard deviation observation_std for each pixel, so of scale b = observation_std / sqrt(2).

    -log p(x|z) is the absolute error over b: outlying pixels weigh less than with a Gaussian.
    """

    def __init__(self, config):
        super().__init__(config)
        self.scale = config.observation_std / sqrt(2)

    @classmethod
    def check_config(cls, config):
        if config.observation_std == "optimal":
            raise ValueError("observation_std 'optimal' needs likelihood 'gaussian', got likelihood 'laplace'")

    def log_prob(self, pixel_values: Tensor, logits: Tensor, mean: Tensor, adapt: bool = True) -> Tensor:
        return self.sum_pixels(F.l1_loss(mean, pixel_values, reduction="none")) / -self.scale

    def constant(self) -> float:
        return -prod(self.input_shape) * log(2 * self.scale)

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        centred = rand(logits.shape, logits, generator) - 0.5
        return self.activation(logits) - self.scale * centred.sign() * torch.log1p(-2 * centred.abs())

    def describe(self) -> str:
        return (
            f"The likelihood is a Laplace density of continuous pixels with scale {self.scale:.4g}: its nats depend "
            "on that choice and on the scale of the pixels, and are not comparable with those of models of binary or "
            "8-bit pixels."
        )


class Bernoulli(Likelihood):
    """Probability of binary pixels, with sigmoid(logits) for 1: -log p(x|z) is the binary cross entropy.

    For grey pixels in (0, 1) the same loss is not a log probability: over the values of a pixel its exponentials do
    not add up to 1. `load_images(..., binarize="stochastic")` makes pixels binary, and [`ContinuousBernoulli`] is a
    density of grey ones.
    """

    is_discrete = is_binary = True

    @classmethod
    def check_config(cls, config):
        if config.output_activation != "sigmoid":
            raise ValueError(
                f"likelihood '{config.likelihood}' needs output_activation 'sigmoid', got '{config.output_activation}'"
            )

    def log_prob(self, pixel_values: Tensor, logits: Tensor, mean: Tensor, adapt: bool = True) -> Tensor:
        return -self.sum_pixels(F.binary_cross_entropy_with_logits(logits, pixel_values, reduction="none"))

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return (rand(logits.shape, logits, generator) < logits.sigmoid()).to(logits.dtype)

    def describe(self) -> str:
        return (
            "The likelihood is a probability of binary pixels. For grey values between 0 and 1 its terms are not log "
            "probabilities: compare them only with models of the same pixels."
        )


class ContinuousBernoulli(Bernoulli):
    r"""Density of pixels in [0, 1] (Loaiza-Ganem & Cunningham, 2019, arXiv:1907.06845): the Bernoulli's terms with the
    normaliser that makes them integrate to 1.

    .. math::
        p(x|z) = C(l)\, \sigma(l)^x (1 - \sigma(l))^{1 - x}, \quad C(l) = l / \tanh(l / 2), \quad
        \mathbb{E}[x|z] = \frac{1}{1 - e^{-l}} - \frac{1}{l}

    for logits l. Reconstructions are that mean, which is not sigmoid(l).
    """

    is_discrete = is_binary = False

    def activation(self, logits: Tensor) -> Tensor:
        """The mean, by its series about 0, where the two terms cancel."""
        small = logits.abs() < 0.5
        near, far = torch.where(small, logits, 0.0), torch.where(small, 1.0, logits)
        s = near.square()
        series = 0.5 + near * (1 / 12 - s * (1 / 720 - s * (1 / 30240 - s * (1 / 1209600 - s / 47900160))))
        return torch.where(small, series, -1 / torch.expm1(-far) - 1 / far)

    def log_prob(self, pixel_values: Tensor, logits: Tensor, mean: Tensor, adapt: bool = True) -> Tensor:
        return super().log_prob(pixel_values, logits, mean) + self.sum_pixels(self.log_normalizer(logits))

    def log_normalizer(self, logits: Tensor) -> Tensor:
        """log C(l), element by element, by its series about 0, where l / tanh(l / 2) is 0 / 0."""
        small = logits.abs() < 0.1
        far = torch.where(small, 1.0, logits)
        s = torch.where(small, logits / 2, 0.0).square()
        series = log(2) + s * (1 / 3 - s * (7 / 90 - s * (62 / 2835 - s * (127 / 18900))))
        return torch.where(small, series, (far / torch.tanh(far / 2)).log())

    def sample(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """By the inverse of the distribution function, at -|l|, where nothing overflows."""
        u, low = rand(logits.shape, logits, generator), -logits.abs()
        small = low > -1e-6
        far = torch.where(small, -1.0, low)
        x = torch.where(small, u, torch.log1p(u * torch.expm1(far)) / far)
        return torch.where(logits > 0, 1 - x, x)

    def describe(self) -> str:
        return (
            "The likelihood is the continuous Bernoulli density of pixels in [0, 1]: its nats are not comparable with "
            "those of models of binary or 8-bit pixels."
        )


def register_likelihood(name: str, likelihood_class: type[Likelihood]):
    """Make `likelihood=name` a valid setting of the configs that have the likelihood's `config_fields`.

    A class that is defined again, such as in a notebook, replaces itself.

    Raises:
        ValueError: if the name belongs to another class.
    """
    known = LIKELIHOODS.get(name, likelihood_class)
    if (known.__module__, known.__qualname__) != (likelihood_class.__module__, likelihood_class.__qualname__):
        raise ValueError(
            f"likelihood '{name}' is already {known.__module__}.{known.__qualname__}: choose another name"
        )
    LIKELIHOODS[name] = likelihood_class


def check_likelihood(config):
    """Check the fields of a config that its likelihood reads.

    Raises:
        ValueError: if the likelihood is not registered, or does not fit the config.
    """
    name = config.likelihood
    if name not in LIKELIHOODS:
        raise ValueError(f"likelihood '{name}' is not registered; {suggest(name, sorted(LIKELIHOODS), 'known are')}")
    missing = [field for field in LIKELIHOODS[name].config_fields if not hasattr(config, field)]
    if missing:
        raise ValueError(
            f"likelihood '{name}' reads {', '.join(missing)}, which {type(config).__name__} does not have: use the "
            "config that comes with this likelihood"
        )
    LIKELIHOODS[name].check_config(config)


def build_likelihood(config) -> Likelihood:
    """The likelihood that a model's config names."""
    if config.likelihood == "gaussian" and config.observation_std == "optimal":
        return OptimalGaussian(config)
    return LIKELIHOODS[config.likelihood](config)


register_likelihood("gaussian", Gaussian)
register_likelihood("bernoulli", Bernoulli)
register_likelihood("laplace", Laplace)
register_likelihood("continuous_bernoulli", ContinuousBernoulli)
