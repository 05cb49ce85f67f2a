"""Rational-quadratic splines, compared with zuko's."""

import pytest
import torch
import torch.nn.functional as F
import zuko
from flow_checks import noise

from gae_hub.modules.rational_quadratic import rational_quadratic


@pytest.mark.parametrize("num_bins", [1, 2, 8])
def test_splines_equal_zuko(num_bins):
    x, parameters = 3 * noise(2000), noise(2000, 3 * num_bins - 1, seed=1)
    widths, heights, slopes = parameters.split([num_bins, num_bins, num_bins - 1], -1)
    oracle = zuko.transforms.MonotonicRQSTransform(widths, heights, slopes, bound=4.0)
    floor, start = 1e-3, torch.tensor(torch.e).double()
    for name, sizes in (("horizontal", widths), ("vertical", heights)):
        shares = floor + (1 - num_bins * floor) * sizes.softmax(-1)
        setattr(oracle, name, 4 * (2 * F.pad(shares, (1, 0)).cumsum(-1) - 1))
    inner = floor + F.softplus(slopes + (start ** (1 - floor) - 1).log())
    oracle.derivatives = F.pad(inner, (1, 1), value=1.0)
    moved, log_slope = oracle.call_and_ladj(x)
    found = rational_quadratic(x, parameters, 4.0)
    torch.testing.assert_close(found[0], moved)
    torch.testing.assert_close(found[1], log_slope)
    again, inverse_log_slope = rational_quadratic(moved, parameters, 4.0, inverse=True)
    torch.testing.assert_close(again, x, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(inverse_log_slope, -log_slope, atol=1e-5, rtol=1e-5)


def test_zeros_are_the_identity():
    x = 3 * noise(2000)
    torch.testing.assert_close(rational_quadratic(x, torch.zeros(2000, 23).double(), 4.0)[0], x)


def test_splines_are_increasing_and_finite():
    x = torch.linspace(-12, 12, 4001).expand(50, -1)
    parameters = (30 * noise(50, 1, 23)).float().expand(50, 4001, 23).requires_grad_()
    moved, log_slope = rational_quadratic(x, parameters, 5.0)
    assert (moved.diff(dim=1) > -1e-5).all() and moved.isfinite().all() and log_slope.isfinite().all()
    assert torch.autograd.grad(moved.sum() + log_slope.sum(), parameters)[0].isfinite().all()
