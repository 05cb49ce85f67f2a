"""KID against its definition, its bias and its error."""

import pytest
import torch
from builders import gaussian_rows

from gae_hub.metrics import kernel_distance
from gae_hub.metrics.functional.kernel import kernel_distance_of_subsets


def test_sum_over_all_pairs():
    x, y = gaussian_rows(30, 4), gaussian_rows(40, 4, 1) + 0.3

    def kernel(a, b):
        return (a @ b.T / 4 + 1) ** 3

    within = [(kernel(t, t).sum() - kernel(t, t).diagonal().sum()) / (len(t) * (len(t) - 1)) for t in (x, y)]
    expected = within[0] + within[1] - 2 * kernel(x, y).mean()
    assert kernel_distance(x, y).value == pytest.approx(expected.item())


def test_unbiased_with_the_right_standard_error():
    pairs = [(gaussian_rows(40, 3, s), gaussian_rows(50, 3, 10_000 + s) + 1.0) for s in range(400)]
    found = [kernel_distance(*pair) for pair in pairs]
    values = torch.tensor([f.value for f in found])
    exact = kernel_distance(gaussian_rows(3000, 3, 77), gaussian_rows(3000, 3, 78) + 1.0)
    assert values.mean() == pytest.approx(exact.value, abs=5 * (values.std().item() / 20 + exact.error))
    assert torch.tensor([f.error for f in found]).mean() == pytest.approx(values.std().item(), rel=0.25)


def test_zero_in_expectation_for_equal_distributions():
    pairs = [(gaussian_rows(20, 3, s), gaussian_rows(20, 3, 5000 + s)) for s in range(500)]
    values = torch.tensor([kernel_distance(*pair).value for pair in pairs])
    assert abs(values.mean()) < 4 * values.std() / 500**0.5


def test_subsets():
    x, y = gaussian_rows(300, 4), gaussian_rows(400, 4, 1) + 0.3
    subsets = kernel_distance_of_subsets(x, y, 150, 60)
    assert subsets.value == pytest.approx(kernel_distance(x, y).value, rel=0.2)
    assert subsets.details["deviation_of_subsets"] > 0


def test_invalid_input():
    x, y = gaussian_rows(300, 4), gaussian_rows(400, 4, 1)
    with pytest.raises(ValueError, match="subset_size must be from 2 to .* on the smaller side, 300, got 301"):
        kernel_distance_of_subsets(x, y, 301)
    with pytest.raises(ValueError, match="KID needs 2 or more images on each side, got 1"):
        kernel_distance(x[:1], y)
    with pytest.raises(ValueError, match="features of the same size, got 4 and 3 dimensions"):
        kernel_distance(x, y[:, :3])


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_do_not_change_the_value(chunk, monkeypatch):
    x, y = gaussian_rows(20, 5, 20), gaussian_rows(33, 5, 33)
    whole = kernel_distance(x, y)
    monkeypatch.setattr("gae_hub.metrics.functional.kernel.CHUNK", chunk)
    found = kernel_distance(x, y)
    assert (found.value, found.error) == pytest.approx((whole.value, whole.error), rel=1e-10)
