"""Wrong arguments of metrics: each error says what was given, what was expected, and what to pass."""

import pytest
import torch
from cases import VAE, images

from gae_hub.metrics import evaluate_model
from gae_hub.metrics.functional import disentanglement
from gae_hub.metrics.functional.clustering import clustering_scores
from gae_hub.metrics.functional.energy import energy_distance
from gae_hub.metrics.functional.frechet import frechet_infinity
from gae_hub.metrics.functional.inception_score import inception_score
from gae_hub.metrics.functional.kernel import kernel_distance, kernel_distance_of_subsets
from gae_hub.metrics.functional.likelihood import latent_usage, summarize_log_likelihoods
from gae_hub.metrics.functional.moments import Moments
from gae_hub.metrics.functional.neighbors import precision_recall
from gae_hub.metrics.functional.probe import linear_probe
from gae_hub.metrics.functional.reconstruction import psnr, squared_error, structural_similarity
from gae_hub.metrics.measures import MEASURES

X, ROWS = images(6), torch.rand(12, 3)
LABELS, FACTORS = torch.arange(12) % 2, torch.stack([torch.arange(12) % 2, torch.arange(12) % 3], 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy_distance(X[:1], X), "energy distance needs 2 or more points on each side, got 1"),
        (lambda: energy_distance(X.numpy(), X), "energy distance needs a torch.Tensor, got an object of type ndarray"),
        (lambda: energy_distance(ROWS, ROWS[:, :2]), "features of the same size, got 3 and 2 dimensions"),
        (lambda: energy_distance(X * torch.nan, X), "x of the energy distance must be finite, but 384 of 384 values"),
        (lambda: kernel_distance(ROWS.numpy(), ROWS), "KID needs a torch.Tensor"),
        (lambda: kernel_distance(ROWS, ROWS, degree=0), "degree must be 1 or more, got 0"),
        (lambda: kernel_distance_of_subsets(ROWS, ROWS, 4, 0), "num_subsets must be 1 or more, got 0"),
        (lambda: precision_recall(ROWS, ROWS, 2.5), "num_neighbors must be an integer, got 2.5"),
        (lambda: inception_score(ROWS, 0), "num_splits must be 1 or more, got 0"),
        (lambda: frechet_infinity(ROWS, ROWS, 1), "num_groups must be 2 or more, got 1"),
        (lambda: Moments(ROWS.numpy()), "rows must be a torch.Tensor"),
        (lambda: clustering_scores(ROWS, LABELS, num_fits=0), "num_fits must be 1 or more, got 0"),
        (lambda: clustering_scores(ROWS, LABELS.float()), "needs labels that are a tensor of integers"),
        (lambda: linear_probe(ROWS, LABELS, ROWS[:, :2], LABELS), "got 3 and 2 dimensions"),
        (lambda: linear_probe(ROWS, LABELS, ROWS, LABELS[:5]), "there are 12 latents but 5 labels"),
        (lambda: linear_probe(ROWS, LABELS, ROWS, LABELS, 0.0), "l2_weight must be a number above 0, got 0.0"),
        (lambda: linear_probe(ROWS, LABELS, ROWS, LABELS, torch.nan), "l2_weight must be a number above 0, got nan"),
        (lambda: linear_probe(ROWS, LABELS, ROWS, LABELS, True), "l2_weight must be a number above 0, got True"),
        (lambda: disentanglement.mutual_information_gap(ROWS, FACTORS, 1), "num_bins must be 2 or more, got 1"),
        (lambda: disentanglement.dci(ROWS, FACTORS, num_trees=0), "num_trees must be 1 or more, got 0"),
        (lambda: disentanglement.sap_score(ROWS, FACTORS.numpy()), "needs factors that are a tensor"),
        (lambda: disentanglement.beta_vae_score(ROWS, FACTORS, num_votes=0), "num_votes must be 1 or more, got 0"),
        (lambda: squared_error(X, X[:1]), r"must have one shape, got \(6, 1, 8, 8\) and \(1, 1, 8, 8\)"),
        (lambda: psnr(X, X[:, :, :4]), "images that are compared must have one shape"),
        (lambda: structural_similarity(X, X.numpy()), "needs a torch.Tensor, got an object of type ndarray"),
        (lambda: latent_usage(ROWS, ROWS[:3]), r"kl must have the shape of the means, \(12, 3\), got \(3, 3\)"),
        (lambda: summarize_log_likelihoods([1.0]), "log-likelihoods must be a torch.Tensor"),
    ],
)
def test_functions(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("num", "arguments", "message"),
    [
        (3, {"metrics": ["energy"]}, "energy compares .* halves of 2 or more images each: got .* and 3 images"),
        (1, {"metrics": ["energy"]}, "got num_samples 1000 and 1 images"),
        (6, {"metrics": ["energy"], "num_samples": 1}, "got num_samples 1 and 6 images"),
        (6, {"metrics": ["energy"], "num_samples": 2.5}, "num_samples must be an integer, got 2.5"),
        (6, {"metrics": ["energy"], "sampler": "maf"}, "sampler must be a fitted sampler, got the text 'maf'"),
        (6, {"metrics": "mse"}, r"must be a list of names, got the text 'mse': pass \['mse'\]"),
        (6, {"options": {"mse": {"windw": 3}}}, "the metric 'mse' has no option 'windw'"),
        (6, {"options": {"fidd": {}}}, "unknown metric 'fidd': did you mean 'fid'"),
        (6, {"options": {"fid": 3}}, "the options of 'fid' must be a dict from option to value, got 3"),
    ],
)
def test_evaluate_model(num, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate_model(VAE.build().eval(), images(num), **arguments)


@pytest.mark.parametrize("empty", [[], torch.zeros(0, 64)], ids=["list", "tensor"])
@pytest.mark.parametrize("name", ["energy", "clustering"])
def test_an_empty_batch_of_references(name, empty):
    measure = MEASURES[name]()
    with pytest.raises(ValueError, match=f"'{name}' got an empty batch of references: add"):
        measure.add(X.flatten(1), empty)
