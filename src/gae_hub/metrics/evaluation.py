"""Evaluation of a model on a data set: `evaluate_model`, which `gae-hub evaluate` runs."""

__all__ = ["check_metrics", "evaluate_model", "to_results"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.argument_checks import describe, suggest
from ..models.base import GAEPreTrainedModel
from ..samplers.base import GAESampler
from .evaluation_run import EvaluationRun
from .model_metrics import METRICS
from .networks.extractors import ExtractorSource
from .networks.lpips import LPIPS
from .results import Measurement


def evaluate_model(
    model: GAEPreTrainedModel,
    dataset: Any,
    metrics: Sequence[str] = ("mse",),
    sampler: GAESampler | None = None,
    num_samples: int = 1000,
    seed: int = 0,
    *,
    extractor: ExtractorSource = "inception",
    weights: str | Path | None = None,
    train_dataset: Any = None,
    lpips: LPIPS | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    factors: Sequence[str] | None = None,
    progress: bool = False,
) -> dict[str, Measurement]:
    """Measure a model on a data set.

    Args:
        model: an autoencoder.
        dataset: images, as [`load_images`] returns or accepts them.
        metrics: names in `METRICS`.
        sampler: sampler of the latents of generated images; the model's prior by default.
        num_samples: number of images to generate.
        seed: seed of everything random.
        extractor: extractor for FID and related metrics, or what `load_extractor` makes one of: a name, a folder, or a
            classifier from `train_extractor`.
        weights: for "inception", the published file or its URL.
        train_dataset: labelled images to train the probe on; by default it is trained on half of `dataset`.
        lpips: an [`LPIPS`] network; by default the published weights are downloaded.
        options: options of metrics, by name of the metric, such as {"fid": {"extrapolate": True}}.
        factors: for disentanglement, columns of the data set that hold the factors of variation, such as ["shape",
            "scale"]; see [`read_factors`] for the default.
        progress: show progress bars.

    Returns:
        Name to number. Each number is a float with a `passport`. A metric can return several numbers.

    Raises:
        ValueError: for an unknown metric, or data that lack what a metric needs.
        OSError: if the weights of an extractor do not exist or cannot be downloaded.
    """
    check_metrics(metrics)
    check_metrics(list(options or ()))
    for name, own in (options or {}).items():
        if not isinstance(own, Mapping):
            raise ValueError(f"the options of '{name}' must be a dict from option to value, got {describe(own)}")
    run = EvaluationRun(
        model,
        dataset,
        sampler,
        num_samples,
        seed,
        extractor=extractor,
        weights=weights,
        train_dataset=train_dataset,
        lpips=lpips,
        options=options,
        factors=factors,
        progress=progress,
        keep_features={image_set for name in metrics for image_set in METRICS[name].keep_features},
    )
    return {number: value for name in metrics for number, value in METRICS[name].compute(run).items()}


def check_metrics(metrics: Sequence[str]):
    """Raise ValueError if there is no metric of one of these names."""
    if isinstance(metrics, str):
        raise ValueError(f"metrics must be a list of names, got the text '{metrics}': pass ['{metrics}']")
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"unknown metric '{name}': {suggest(str(name), METRICS, 'expected one of')}")


def to_results(numbers: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """`metrics` and `passports` of results.json: values as plain floats, and the passports of measurements."""
    return {
        "metrics": {name: float(value) for name, value in numbers.items()},
        "passports": {
            name: value.passport.to_dict() for name, value in numbers.items() if isinstance(value, Measurement)
        },
    }
