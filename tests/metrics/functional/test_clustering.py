"""k-means and its agreement with classes, against scikit-learn and known values."""

import numpy as np
import pytest
import torch
from builders import gaussian_rows
from cases import generator

from gae_hub.metrics import clustering_scores, kmeans


def accuracy(points, labels, num_fits=10):
    """Mean accuracy, and standard deviation over fits."""
    found = clustering_scores(points, labels, num_fits)["clustering_accuracy"]
    return found.value, found.refit_std


def test_accuracy_of_separate_and_of_merged_classes():
    centres = 20 * torch.eye(4)
    labels = torch.arange(400) % 4
    points = centres[labels] + torch.randn(400, 4, generator=generator())
    assert accuracy(points, labels + 7)[0] > 0.95
    mean, deviation = accuracy(torch.randn(3000, 2, generator=generator()), torch.arange(3000) % 3)
    assert mean == pytest.approx(1 / 3, abs=0.03) and deviation < 0.02


def test_a_cluster_predicts_its_most_frequent_class():
    """Two classes share one place, the third has two: 100 + 80 + 20 of 250 are correct."""
    sites = 50 * torch.eye(3)
    place = torch.tensor([0] * 150 + [1] * 80 + [2] * 20)
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 100)
    points = sites[place] + torch.randn(250, 3, generator=generator())
    assert accuracy(points, labels, num_fits=3) == pytest.approx((0.8, 0.0))
    found = clustering_scores(points, labels, num_fits=3)
    assert found["clustering_hungarian"].value == pytest.approx(180 / 250)  # the last cluster gets no class of its own


def test_nmi_and_ari_equal_scikit_learn():
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    points, labels = gaussian_rows(300, 2), torch.arange(300) % 4
    points[:, 0] += 2 * (labels % 2)
    clusters, _ = kmeans(points, 4, 5, seed=3)
    found = clustering_scores(points, labels, 5, seed=3)
    for name, score in (("nmi", normalized_mutual_info_score), ("ari", adjusted_rand_score)):
        expected = np.mean([score(labels.numpy(), fit.numpy()) for fit in clusters])
        assert found[f"clustering_{name}"].value == pytest.approx(expected, abs=1e-9)


def test_kmeans_converges_to_a_fixed_point():
    points = torch.cat([gaussian_rows(200, 3), gaussian_rows(100, 3, 1) + 3])
    clusters, inertia = kmeans(points, 3, 6, tol=0.0)
    for fit, total in zip(clusters, inertia, strict=True):
        centres = torch.stack([points[fit == k].mean(0) for k in range(3)]).float()
        assert torch.equal(torch.cdist(points.float(), centres).argmin(1), fit)
        assert total.item() == pytest.approx((points - centres[fit]).square().sum().item(), rel=1e-5)


def test_kmeans_is_as_good_as_scikit_learn():
    from sklearn.cluster import KMeans

    points = 2.5 * gaussian_rows(8, 4, 5)[torch.arange(2000) % 8] + gaussian_rows(2000, 4)
    ours = kmeans(points, 8, 40)[1]
    theirs = torch.tensor([KMeans(8, n_init=1, random_state=s).fit(points.numpy()).inertia_ for s in range(40)])
    assert ours.min().item() == pytest.approx(theirs.min().item(), rel=1e-3)
    assert abs(ours.mean() - theirs.mean()) < 4 * (ours.var() / 40 + theirs.var() / 40).sqrt()


def test_invalid_input():
    with pytest.raises(ValueError, match="k-means needs 3 or more points, as many as clusters, got 2"):
        kmeans(torch.rand(2, 4), 3)
    with pytest.raises(ValueError, match="num_fits must be 1 or more, got 0"):
        kmeans(torch.rand(5, 4), 2, num_fits=0)
    with pytest.raises(ValueError, match="2 or more classes, got 1"):
        clustering_scores(torch.rand(5, 2), torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match="there are 5 latents but 4 labels"):
        clustering_scores(torch.rand(5, 2), torch.arange(4))
