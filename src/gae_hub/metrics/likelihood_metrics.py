"""The metrics of a model's likelihood: log p(x) in nats, and bits per dimension where they are defined."""

__all__ = ["describe_conditions", "measure_bits_per_dimension", "measure_log_likelihood"]

from collections.abc import Callable
from math import prod

from torch import Tensor

from ..data.batches import move
from ..models.base import GAEPreTrainedModel
from .evaluation_run import EvaluationRun
from .functional.dequantization import count_levels, dequantize
from .measures import LogLikelihood
from .results import Measurement

_DENSITY = "log density of continuous values"
_PROBABILITY = "log probability of binary pixels"
_DISCRETE = "log probability of discrete values"
_UNNORMALIZED = "binary cross entropy of grey pixels, whose exponentials do not add up to 1: no log-likelihood"


def measure_log_likelihood(run: EvaluationRun) -> dict[str, Measurement]:
    """`log_likelihood`, whose passport says of what it is the logarithm."""
    likelihood = run.model.likelihood
    if not likelihood.is_discrete:
        kind = _DENSITY
    elif not likelihood.is_binary:
        kind = _DISCRETE
    else:
        kind = _PROBABILITY if count_levels(run.iterate_inputs()) == 2 else _UNNORMALIZED
    measure = LogLikelihood(discrete=kind in (_PROBABILITY, _DISCRETE))
    return _measure(run, "log_likelihood", measure, {"kind": kind})


def measure_bits_per_dimension(run: EvaluationRun) -> dict[str, Measurement]:
    """`bits_per_dimension`, of binary pixels with a Bernoulli, and of 8-bit pixels with a density.

    Raises:
        ValueError: for other data, with the reason.
    """
    _check_bits(run)
    discrete = run.model.likelihood.is_discrete
    measure = LogLikelihood(num_dims=prod(run.model.config.input_shape), discrete=discrete)
    if discrete:
        return _measure(run, "bits_per_dimension", measure, {"kind": _PROBABILITY})
    normalization = getattr(run.dataset, "normalization", None)

    def dequantize_inputs(images: Tensor) -> Tensor:
        values = dequantize(run.restore(images), run.seed)
        return values.float() if normalization is None else normalization.apply(values)

    settings = {"kind": _DENSITY, "dequantization": "(k + u) / 256 for pixels k, with u uniform in [0, 1)"}
    return _measure(run, "bits_per_dimension", measure, settings, dequantize_inputs)


def describe_conditions(model: GAEPreTrainedModel) -> dict[str, str]:
    """The entry of a passport that says that a likelihood is log p(x|y), for conditional models."""
    return {"given": "class_labels"} if model.is_conditional else {}


def _check_bits(run: EvaluationRun):
    """Raise ValueError if bits per dimension are not defined for the model and its data."""
    likelihood = run.model.config.likelihood
    if run.model.likelihood.is_discrete:
        if not run.model.likelihood.is_binary:
            raise ValueError(
                f"bits_per_dimension: likelihood '{likelihood}' is a probability of discrete values that are no "
                "pixels: compare the nats of log_likelihood"
            )
        if count_levels(run.iterate_inputs()) != 2:
            raise ValueError(
                f"bits_per_dimension: likelihood '{likelihood}' is a probability of binary pixels, but the data have "
                "other values: train the model on binary pixels (--binarize threshold or stochastic), or with "
                "likelihood='continuous_bernoulli'"
            )
        return
    normalization = getattr(run.dataset, "normalization", None)
    if normalization is not None and normalization.kind == "unit":
        raise ValueError(
            "bits_per_dimension: normalize='unit' clips what lies outside the range of the training data, so there is "
            "no density of these pixels: train without a normalization, or with normalize='standardize'"
        )
    num_levels = count_levels(run.iterate_data())
    if num_levels == 2:
        raise ValueError(
            f"bits_per_dimension: likelihood '{likelihood}' is a density of continuous values, but all pixels are 0 "
            "or 1: train the model with likelihood='bernoulli'"
        )
    if num_levels is None:
        raise ValueError(
            f"bits_per_dimension: likelihood '{likelihood}' is a density, from which bits follow for the values k / "
            "255 of 8-bit pixels, but the data have others: measure log_likelihood, in nats, or load the images in "
            "8 bits"
        )


def _measure(
    run: EvaluationRun,
    name: str,
    measure: LogLikelihood,
    settings: dict[str, str],
    prepare: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Measurement]:
    """One number of a measure of log-likelihoods.

    Args:
        run: the evaluation.
        name: name of the number.
        measure: the measure.
        settings: for the passport.
        prepare: changes a batch of the model's inputs before it is measured.
    """
    options = dict(run.options.get(name, {}))
    num_draws = options.pop("num_draws", 100)
    if options:
        raise ValueError(f"the metric '{name}' has no option '{next(iter(options))}'; its options are num_draws")
    measure.settings = {**settings, "num_draws": num_draws, **describe_conditions(run.model)}
    measure.seed = run.seed
    generator = run.new_generator()
    # the density of the data's own values is the model's, divided by the scales; a probability has none
    normalization = None if run.model.likelihood.is_discrete else getattr(run.dataset, "normalization", None)
    log_scale = 0.0 if normalization is None else normalization.log_scale(run.model.config.input_shape)
    for batch in run.iterate_examples(name):
        images = batch["pixel_values"]
        inputs = move(batch | {"pixel_values": images if prepare is None else prepare(images)}, run.model.device)
        values = run.model.log_likelihood(**inputs, num_samples=num_draws, generator=generator).cpu()
        measure.add(values - log_scale)
        measure.fingerprint.add(images.float())
    return {name: measure.compute()[name]}
