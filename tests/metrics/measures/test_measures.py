"""Measures in batches: pairing, merging, and order."""

import pytest
import torch
from cases import images

from gae_hub.metrics import MEASURES


def test_pairs_are_joined_in_the_order_of_their_arrival():
    x, y = images(30), images(30, seed=1)
    mse = MEASURES["mse"]()
    mse.add(references=y[:25])
    mse.add(predictions=x[:4])
    mse.add(predictions=x[4:])
    mse.add(references=y[25:])
    assert mse.compute()["mse"] == pytest.approx((x - y).square().mean().item())


def test_pairs_without_partner():
    x, y = images(5), images(3, seed=1)
    mse, other = MEASURES["mse"](), MEASURES["mse"]()
    mse.add(x, y)
    with pytest.raises(ValueError, match="compares pairs, but there are 5 predictions and 3 references"):
        mse.compute()
    with pytest.raises(ValueError, match="'mse' cannot be merged yet: add the missing partners"):
        other.merge(mse)


@pytest.mark.parametrize("name", ["fid", "kid", "mse"])
def test_merged_measures_equal_the_whole(name, extractor):
    x, y = images(50), images(50, seed=1)
    kwargs = {"feature_extractor": extractor} if name != "mse" else {}
    whole, first, second = (MEASURES[name](**kwargs) for _ in range(3))
    whole.add(x, y)
    first.add(x[:20], y[:20])
    second.add(x[20:], y[20:])
    first.merge(second)
    found, expected = first.compute()[name], whole.compute()[name]
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    assert found.passport.references_fingerprint == expected.passport.references_fingerprint


def test_invalid_batches():
    energy = MEASURES["energy"]()
    energy.add(torch.rand(3, 4))
    with pytest.raises(ValueError, match=r"all rows must have one shape, got \(5,\) after \(4,\)"):
        energy.add(torch.rand(3, 5))
    with pytest.raises(ValueError, match=r"predictions must be points or images, \(num, ...\) floats; got shape \(\)"):
        energy.add(1.0)
    with pytest.raises(ValueError, match="'energy' has no references: add points or images"):
        energy.compute()
