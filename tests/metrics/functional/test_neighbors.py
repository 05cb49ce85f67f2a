"""Precision, recall, density and coverage of distributions with known values."""

from functools import partial

import pytest
import torch
from builders import gaussian_rows
from cases import generator

from gae_hub.metrics import density_coverage, precision_recall


def test_precision_and_recall_are_not_swapped():
    """Samples cover one of the two regions of the data: all of them are precise, and half of the data is recalled."""
    near, far = torch.rand(200, 2, generator=generator()), torch.rand(200, 2, generator=generator(1)) + 100
    references = torch.cat([near, far])
    samples = torch.rand(300, 2, generator=generator(2))
    found = precision_recall(samples, references) | density_coverage(samples, references)
    assert found["precision"].value > 0.9 and found["recall"].value == pytest.approx(0.5, abs=0.05)
    assert found["coverage"].value == pytest.approx(0.5, abs=0.05)
    swapped = precision_recall(references, samples)
    assert swapped["recall"].value == found["precision"].value and swapped["precision"].value == found["recall"].value
    low, high = found["recall"].interval
    assert low < 0.5 < high


def test_density_of_equal_distributions_is_one():
    found = density_coverage(gaussian_rows(1500, 2), gaussian_rows(1500, 2, 1))
    assert found["density"].value == pytest.approx(1, abs=0.1) and found["coverage"].value > 0.95


def test_definition():
    x, y = gaussian_rows(40, 3), gaussian_rows(50, 3, 1)
    radii = torch.cdist(y, y).fill_diagonal_(torch.inf).sort(1).values[:, 2]
    inside = torch.cdist(x, y) <= radii
    assert precision_recall(x, y)["precision"].value == pytest.approx(inside.any(1).double().mean().item())
    assert density_coverage(x, y, 3)["density"].value == pytest.approx((inside.sum() / (3 * 40)).item())
    assert density_coverage(x, y, 3)["coverage"].value == pytest.approx(inside.any(0).double().mean().item())


def left_out(function, x, y, name):
    """Values of a function without each row of x, and without each row of y."""
    keep_x, keep_y = (~torch.eye(len(rows), dtype=torch.bool) for rows in (x, y))
    without_x, without_y = ([function(x[keep], y) for keep in keep_x], [function(x, y[keep]) for keep in keep_y])
    return [[found[name].value for found in side] for side in (without_x, without_y)]


@pytest.mark.parametrize("function", [precision_recall, density_coverage])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_error_is_that_of_the_jackknife_by_repeated_computation(function, shift):
    x, y = gaussian_rows(25, 2) + shift, 0.8 * gaussian_rows(30, 2, 1)
    y[5] = y[6]
    for name, found in function(x, y, 2).items():
        sides = [
            torch.tensor(values, dtype=torch.float64)
            for values in left_out(partial(function, num_neighbors=2), x, y, name)
        ]
        variance = sum((len(v) - 1) / len(v) * (v - v.mean()).square().sum() for v in sides)
        assert found.error == pytest.approx(variance.sqrt().item(), rel=1e-9), name
        assert found.interval_name == "same_count_interval" and found.interval[0] < found.value <= found.interval[1]


def test_no_interval_without_a_neighbour_to_spare():
    assert precision_recall(gaussian_rows(4, 2), gaussian_rows(9, 2))["precision"].interval is not None
    assert precision_recall(gaussian_rows(9, 2), gaussian_rows(4, 2))["precision"].interval is None
    assert density_coverage(gaussian_rows(1, 2), gaussian_rows(9, 2))["coverage"].interval is None


def test_invalid_input():
    with pytest.raises(ValueError, match="needs 4 or more images on each side, got 3"):
        precision_recall(gaussian_rows(3, 2), gaussian_rows(50, 2))
    with pytest.raises(ValueError, match="num_neighbors must be 1 or more, got 0"):
        density_coverage(gaussian_rows(9, 2), gaussian_rows(9, 2), 0)
    with pytest.raises(ValueError, match="features of the same size, got 2 and 3 dimensions"):
        precision_recall(gaussian_rows(9, 2), gaussian_rows(9, 3))


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_do_not_change_the_values(chunk, monkeypatch):
    x, y = gaussian_rows(20, 5, 20), gaussian_rows(33, 5, 33)

    def numbers():
        found = precision_recall(x, y) | density_coverage(x, y)
        return {name: (estimate.value, estimate.error) for name, estimate in found.items()}

    whole = numbers()
    monkeypatch.setattr("gae_hub.metrics.functional.neighbors.CHUNK", chunk)
    assert numbers() == {name: pytest.approx(values, rel=1e-10) for name, values in whole.items()}
