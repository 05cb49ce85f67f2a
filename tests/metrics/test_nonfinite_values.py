"""Nan and infinity in the inputs of metrics: the error names metric, argument, number of bad values and first row."""

import pkgutil
from copy import deepcopy
from functools import partial
from importlib import import_module
from math import inf, nan

import pytest
import torch
from cases import VAE, images

from gae_hub.metrics import evaluate_model, functional
from gae_hub.metrics.functional.clustering import clustering_scores
from gae_hub.metrics.functional.disentanglement import (
    beta_vae_score,
    dci,
    factor_vae_score,
    mutual_information_gap,
    sap_score,
)
from gae_hub.metrics.functional.energy import energy_distance
from gae_hub.metrics.functional.frechet import frechet_infinity
from gae_hub.metrics.functional.image_batches import as_float, as_uint8
from gae_hub.metrics.functional.inception_score import inception_score
from gae_hub.metrics.functional.interpolation import interpolation_quality
from gae_hub.metrics.functional.kernel import kernel_distance, kernel_distance_of_subsets
from gae_hub.metrics.functional.kmeans import kmeans
from gae_hub.metrics.functional.likelihood import active_units, latent_usage, summarize_log_likelihoods
from gae_hub.metrics.functional.moments import Moments
from gae_hub.metrics.functional.neighbors import density_coverage, precision_recall
from gae_hub.metrics.functional.probe import linear_probe
from gae_hub.metrics.functional.reconstruction import (
    multiscale_similarity,
    psnr,
    squared_error,
    structural_similarity,
)
from gae_hub.metrics.measures import MEASURES, FeatureMeasure, PairMeasure
from gae_hub.metrics.measures.latents import FactorMeasure

NUM = 12
ROWS, X = torch.rand(NUM, 3), images(NUM)
PATHS = torch.rand(NUM, 4, 5)
ENDS = PATHS[:, [0, -1]]
LABELS = torch.arange(NUM) % 2
FACTORS = torch.stack([LABELS, torch.arange(NUM) % 3], 1)


def spoiled(values, row=7, bad=nan):
    """A copy with one bad value, in a row."""
    values = values.clone()
    values[row].view(-1)[0] = bad
    return values


def build(name, extractor, lpips):
    """A measure, and a valid batch of both sides; references that are not floats or not used are None."""
    measure_class = MEASURES[name]
    if issubclass(measure_class, PairMeasure):
        return measure_class(**({"network": lpips} if name == "lpips" else {})), images(NUM, (1, 16, 16)), X[:1]
    if issubclass(measure_class, FeatureMeasure):
        return measure_class(feature_extractor=extractor), X, X if measure_class.references_help else None
    batches = {
        "log_likelihood": (ROWS[:, 0], None),
        "latent_usage": (ROWS, ROWS),
        "clustering": (ROWS, None),
        "probe": (ROWS, None),
        "interpolation": (PATHS, ENDS),
        "energy": (ROWS, ROWS),
    }
    return measure_class(), *((ROWS, None) if issubclass(measure_class, FactorMeasure) else batches[name])


@pytest.mark.parametrize("bad", [nan, inf, -inf])
@pytest.mark.parametrize("name", sorted(MEASURES))
def test_every_measure(name, bad, extractor, lpips):
    measure, predictions, references = build(name, extractor, lpips)
    for side, batch in (("predictions", predictions), ("references", references)):
        if batch is None:
            continue
        batch, size = batch[:1].expand(NUM, *batch.shape[1:]), batch[:1].numel() * NUM
        message = (
            f"{side} of '{name}' must be finite, but 1 of {size} values are nan or infinite, the first in row 7; "
        )
        with pytest.raises(ValueError, match=message + "remove these rows, or check the images and the network"):
            measure.add(**{side: spoiled(batch, bad=bad)})


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_rows_are_counted_over_batches(name, extractor, lpips):
    measure, predictions, _ = build(name, extractor, lpips)
    measure.add(predictions)
    with pytest.raises(ValueError, match=f"predictions of '{name}' must be finite, .* the first in row {NUM + 7};"):
        measure.add(spoiled(predictions))


@pytest.mark.parametrize("name", ["fid", "mse"])
def test_images_in_a_list(name, extractor, lpips):
    measure, *_ = build(name, extractor, lpips)
    batch = [image.numpy() for image in spoiled(X)]
    with pytest.raises(
        ValueError, match=f"predictions of '{name}' must be finite, but 1 of 64 .* the first in row 7;"
    ):
        measure.add(batch)


def from_statistics(covariance):
    return Moments.from_statistics(torch.zeros(3), covariance, 5)


def from_state_dict(rows):
    return Moments.from_state_dict({"rows": rows.double()})


CALLS = [
    ("clustering_scores", "latents of clustering", clustering_scores, (ROWS, LABELS), 0),
    ("mutual_information_gap", "latents of MIG", mutual_information_gap, (ROWS, FACTORS), 0),
    ("dci", "latents of DCI", partial(dci, num_trees=2), (ROWS, FACTORS), 0),
    ("sap_score", "latents of SAP", sap_score, (ROWS, FACTORS), 0),
    ("factor_vae_score", "latents of the FactorVAE score", factor_vae_score, (ROWS, FACTORS), 0),
    ("beta_vae_score", "latents of the beta-VAE score", partial(beta_vae_score, num_votes=9), (ROWS, FACTORS), 0),
    ("energy_distance", "x of the energy distance", energy_distance, (ROWS, ROWS), 0),
    ("energy_distance", "y of the energy distance", energy_distance, (ROWS, ROWS), 1),
    ("frechet_infinity", "samples of fid_infinity", frechet_infinity, (ROWS, ROWS, 2), 0),
    ("frechet_infinity", "references of fid_infinity", frechet_infinity, (ROWS, ROWS, 2), 1),
    ("inception_score", "logits of the Inception Score", inception_score, (ROWS,), 0),
    ("interpolation_quality", "paths of the interpolation quality", interpolation_quality, (PATHS, ENDS), 0),
    ("interpolation_quality", "ends of the interpolation quality", interpolation_quality, (PATHS, ENDS), 1),
    ("kernel_distance", "samples of KID", kernel_distance, (ROWS, ROWS), 0),
    ("kernel_distance", "references of KID", kernel_distance, (ROWS, ROWS), 1),
    ("kernel_distance_of_subsets", "samples of KID", kernel_distance_of_subsets, (ROWS, ROWS, 4, 1), 0),
    ("kernel_distance_of_subsets", "references of KID", kernel_distance_of_subsets, (ROWS, ROWS, 4, 1), 1),
    ("kmeans", "points of k-means", kmeans, (ROWS, 2), 0),
    ("active_units", "means of active units", active_units, (ROWS,), 0),
    ("latent_usage", "means of latent usage", latent_usage, (ROWS, ROWS), 0),
    ("latent_usage", "kl of latent usage", latent_usage, (ROWS, ROWS), 1),
    ("summarize_log_likelihoods", "values of the log-likelihood", summarize_log_likelihoods, (ROWS[:, 0],), 0),
    ("Moments", "rows of the moments", Moments, (ROWS,), 0),
    ("Moments", "rows of the moments", from_state_dict, (ROWS,), 0),
    ("Moments", "covariance of the moments", from_statistics, (torch.eye(3),), 0),
    ("precision_recall", "samples of precision and recall", precision_recall, (ROWS, ROWS), 0),
    ("precision_recall", "references of precision and recall", precision_recall, (ROWS, ROWS), 1),
    ("density_coverage", "samples of density and coverage", density_coverage, (ROWS, ROWS), 0),
    ("density_coverage", "references of density and coverage", density_coverage, (ROWS, ROWS), 1),
    ("linear_probe", "latents of the probe", linear_probe, (ROWS, LABELS, ROWS, LABELS), 0),
    ("linear_probe", "test_latents of the probe", linear_probe, (ROWS, LABELS, ROWS, LABELS), 2),
    ("squared_error", "x of the squared error", squared_error, (X, X), 0),
    ("squared_error", "y of the squared error", squared_error, (X, X), 1),
    ("psnr", "y of the squared error", psnr, (X, X), 1),
    ("structural_similarity", "x of SSIM", structural_similarity, (X, X), 0),
    ("multiscale_similarity", "x of MS-SSIM", multiscale_similarity, (X, X), 0),
    ("as_float", "images", as_float, (X,), 0),
    ("as_uint8", "images", as_uint8, (X,), 0),
]
# of moments, which are checked when rows are added; and the class behind linear_probe
INTERNAL = {"LinearProbe", "add_gram", "frechet_distance"}
PIXELS = {"count_levels", "dequantize"}  # which know the values k / 255 only
INTEGERS = {"code_usage"}


@pytest.mark.parametrize(
    ("what", "function", "arguments", "index"), [call[1:] for call in CALLS], ids=[f"{a}, {b}" for a, b, *_ in CALLS]
)
def test_every_function(what, function, arguments, index):
    function(*arguments)
    row = min(7, len(arguments[index]) - 1)
    given = [spoiled(value, row) if i == index else value for i, value in enumerate(arguments)]
    message = f"^{what} must be finite, but 1 of [0-9]+ values are nan or infinite, the first in row {row};"
    with pytest.raises(ValueError, match=message):
        function(*given)


def test_no_function_is_left_out():
    modules = {name for _, name, _ in pkgutil.iter_modules(functional.__path__)} - {"checks"}
    public = {name for module in modules for name in import_module(f"{functional.__name__}.{module}").__all__}
    assert public - INTERNAL - PIXELS - INTEGERS == {name for name, *_ in CALLS}


def test_extractors_that_return_nan(extractor):
    """Images are finite, and their features are not."""
    extractor = deepcopy(extractor)
    with torch.no_grad():
        extractor.network.to_features.bias[0] = nan
    measure = MEASURES["fid"](feature_extractor=extractor)
    with pytest.raises(ValueError, match=f"predictions of 'fid' must be finite, but {NUM} of {6 * NUM} values"):
        measure.add(X)


def test_large_finite_values_are_accepted():
    """Their sum overflows in float32."""
    assert energy_distance(torch.full((3, 2), 3e38), torch.full((3, 2), 3e38)) == 0


def test_evaluation_names_the_image_set(extractor):
    model = VAE.build().eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.fill_(nan)
    with pytest.raises(ValueError, match="samples of the evaluation must be finite, but 640 of 640 values"):
        evaluate_model(model, images(10), ["inception_score"], num_samples=10, extractor=extractor)
