"""The Inception Score at its extremes, and its error."""

import pytest
import torch
from builders import gaussian_rows

from gae_hub.metrics import inception_score


def test_uniform_and_certain_predictions():
    assert inception_score(torch.zeros(50, 10)).value == pytest.approx(1)
    certain = 1e4 * torch.eye(7).repeat(5, 1)
    assert inception_score(certain).value == pytest.approx(7)
    assert inception_score(certain, num_splits=5).value == pytest.approx(7)
    assert inception_score(certain[:21].roll(1, 0)).value == pytest.approx(7)


def test_standard_error_matches_repeated_draws():
    found = [inception_score(2 * gaussian_rows(200, 5, s)) for s in range(300)]
    values = torch.tensor([f.value for f in found])
    assert torch.tensor([f.error for f in found]).mean() == pytest.approx(values.std().item(), rel=0.15)


def test_invalid_input():
    with pytest.raises(ValueError, match="the Inception Score needs 5 or more images, got 4"):
        inception_score(torch.zeros(4, 3), num_splits=5)
    with pytest.raises(ValueError, match="num_splits must be 1 or more, got 0"):
        inception_score(torch.zeros(4, 3), num_splits=0)
