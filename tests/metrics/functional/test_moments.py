"""Moments: streamed, merged, saved, and equal to those of the whole."""

import pytest
import torch
from builders import correlated_rows
from cases import generator

from gae_hub.metrics import Moments


def covariance_of(moments):
    return moments.compute_statistics()[2]


def test_mean_and_covariance():
    x = correlated_rows(3000, 7)
    count, mean, covariance = Moments(x).compute_statistics()
    assert count == 3000
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(covariance, torch.cov(x.T))


def test_batch_size_changes_no_bit_and_order_no_digit():
    x = correlated_rows(3000, 7)
    _, mean, covariance = Moments(x).compute_statistics()
    for size in (1, 7, 1024, 1025, 2999):
        moments = Moments()
        for batch in x.split(size):
            moments.add(batch)
        assert torch.equal(moments.compute_statistics()[1], mean) and torch.equal(covariance_of(moments), covariance)
    shuffled = Moments(x[torch.randperm(3000, generator=generator())])
    torch.testing.assert_close(covariance_of(shuffled), covariance, rtol=1e-12, atol=1e-12)


def test_merged_parts_equal_the_whole():
    x = 1e3 + correlated_rows(5000, 5)  # far from 0, where sums of squares would lose digits
    whole = Moments(x)
    for sizes in ([4000, 1000], [10, 4990], [1024, 1024, 2952], [5000, 0]):
        merged = Moments()
        for part in x.split(sizes):
            merged.merge(Moments(part))
        assert merged.count == 5000
        torch.testing.assert_close(covariance_of(merged), covariance_of(whole), rtol=1e-12, atol=1e-12)
    again = Moments.from_state_dict(whole.state_dict())
    assert torch.equal(covariance_of(again), covariance_of(whole))


def test_rows_added_to_known_statistics():
    x = correlated_rows(5000, 5)
    whole = Moments(x)
    _, mean, covariance = Moments(x[:2000]).compute_statistics()
    for given in (covariance, covariance.T, covariance.numpy()):
        found = Moments.from_statistics(mean, given, 2000).add(x[2000:])
        torch.testing.assert_close(covariance_of(found), covariance_of(whole), rtol=1e-12, atol=1e-12)
    assert torch.equal(covariance_of(found), covariance_of(found).T)


def test_reading_does_not_change_the_state():
    x = correlated_rows(2500, 3)
    moments = Moments(x[:1500])
    moments.compute_statistics()
    state = moments.state_dict()
    for _ in range(2):  # a state can be loaded twice
        again = Moments.from_state_dict(state).add(x[1500:])
        assert torch.equal(covariance_of(again), covariance_of(Moments(x)))
    assert torch.equal(covariance_of(moments.add(x[1500:])), covariance_of(Moments(x)))


def test_low_rank_factor():
    """With no more rows than dimensions the rows themselves are the factor; afterwards there is none."""
    x = correlated_rows(5, 5)
    mean, factor = Moments(x).factorize_low_rank()
    assert factor.shape == (5, 5) and torch.equal(mean, x.mean(0))
    torch.testing.assert_close(factor.T @ factor, torch.cov(x.T))
    assert Moments(correlated_rows(6, 5)).factorize_low_rank() is None


def test_invalid_input():
    with pytest.raises(ValueError, match=r"rows must be \(num, 3\), got shape \(2, 4\)"):
        Moments(torch.zeros(2, 3)).add(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="nan or infinite"):
        Moments(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match=r"covariance \(dim, dim\)"):
        Moments.from_statistics(torch.zeros(2), torch.zeros(1, 1), 1000)
    with pytest.raises(ValueError, match="count must be 2 or more, got 1"):
        Moments.from_statistics(torch.zeros(1), torch.zeros(1, 1), 1)
