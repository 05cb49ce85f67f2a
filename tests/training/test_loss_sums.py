"""Means of loss terms over unequal batches."""

import torch

from gae_hub.training.loss_sums import LossSums


def test_means_are_weighted_by_count():
    sums = LossSums()
    sums.add({"kl": torch.tensor(1.0)}, 3)
    sums.add({"kl": torch.tensor(5.0)}, 1)
    assert sums.pop_means() == {"kl": 2.0}
    assert sums.pop_means() == {}


def test_vectors_become_lists():
    sums = LossSums()
    sums.add({"kl_per_dimension": torch.tensor([1.0, 3.0]), "kl": torch.tensor(4.0)}, 2)
    sums.add({"kl_per_dimension": torch.tensor([3.0, 5.0]), "kl": torch.tensor(8.0)}, 2)
    assert sums.pop_means() == {"kl_per_dimension": [2.0, 4.0], "kl": 6.0}


def test_a_count_of_zero_adds_nothing():
    sums = LossSums()
    sums.add({"kl": torch.tensor(float("nan"))}, 0)
    sums.add({"kl": torch.tensor(2.0)}, 1)
    assert sums.pop_means() == {"kl": 2.0}


def test_clear():
    sums = LossSums()
    sums.add({"kl": torch.tensor(1.0)}, 3)
    sums.clear()
    assert sums.count == 0 and sums.pop_means() == {}
