"""Each metric against a value known by other means."""

import pytest
import torch
from cases import METRICS, VAE, generator, images

from gae_hub.data import ImageDataset
from gae_hub.metrics import METRICS as REGISTRY
from gae_hub.metrics import clustering_accuracy, energy_distance, evaluate_model, reconstruction_mse


def test_every_registered_metric_has_a_row():
    assert set(METRICS) == set(REGISTRY)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_give_their_numbers_and_the_same_ones_again(name):
    data = ImageDataset(images(60), torch.arange(60) % 3)
    runs = [evaluate_model(VAE.build(), data, [name], num_samples=20) for _ in range(2)]
    assert set(runs[0]) == METRICS[name] and runs[0] == runs[1]


def test_mean_squared_error():
    model, x = VAE.build(), images(50)
    expected = (x - model.reconstruct(x)).square().mean().item()
    assert reconstruction_mse(model, x, batch_size=7) == pytest.approx(expected, rel=1e-5)


def test_energy_distance_of_two_gaussians():
    """In one dimension it is twice the integral of (F - G)^2."""
    normal = torch.distributions.Normal(0.0, 1.0)
    x = normal.icdf((torch.arange(3000, dtype=torch.float64) + 0.5) / 3000).unsqueeze(1)
    y = x + 1
    grid = torch.linspace(-8, 9, 10_001, dtype=torch.float64)
    exact = 2 * torch.trapezoid((normal.cdf(grid) - normal.cdf(grid - 1)) ** 2, grid).item()
    assert energy_distance(x, y) == pytest.approx(exact, rel=2e-3)
    assert abs(energy_distance(x, torch.randn(3000, 1, generator=generator(2)))) < 0.005
    with pytest.raises(ValueError, match="at least 2 points on each side, got 1 and 3000"):
        energy_distance(x[:1], y)


def test_energy_distance_is_unbiased():
    distances = torch.tensor(
        [energy_distance(*torch.randn(2, 10, 3, generator=generator(seed))) for seed in range(600)]
    )
    assert abs(distances.mean()) < 4 * distances.std() / 600**0.5


def test_clustering_accuracy():
    centres = 20 * torch.eye(4)
    labels = torch.arange(400) % 4
    points = centres[labels] + torch.randn(400, 4, generator=generator())
    assert clustering_accuracy(points, labels + 7)[0] > 0.85  # one k-means++ start in a while splits a cluster
    merged = clustering_accuracy(torch.randn(3000, 2, generator=generator()), torch.arange(3000) % 3)
    assert merged[0] == pytest.approx(1 / 3, abs=0.03) and merged[1] < 0.02


def test_a_cluster_stands_for_its_prevalent_class():
    """Two classes share one place, the third has two: by cluster 100 + 80 + 20 of 250 are right."""
    sites = 50 * torch.eye(3)
    place = torch.tensor([0] * 150 + [1] * 80 + [2] * 20)
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 100)
    points = sites[place] + torch.randn(250, 3, generator=generator())
    assert clustering_accuracy(points, labels, num_fits=3) == pytest.approx((0.8, 0.0))


def test_what_goes_wrong():
    with pytest.raises(ValueError, match="no metric is called 'fid'; known are mse, energy, clustering"):
        evaluate_model(VAE.build(), images(5), ["fid"])
    with pytest.raises(ValueError, match="'array' has no labels, which the metric 'clustering' needs"):
        evaluate_model(VAE.build(), images(5), ["clustering"])
