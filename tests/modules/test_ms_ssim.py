"""MS-SSIM, compared with an independent implementation in numpy with explicit loops."""

import numpy as np
import pytest
import torch
from cases import generator, images

from gae_hub.modules.ms_ssim import max_scales, ms_ssim

WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def by_hand(x, y, scales, size=11):
    """Wang et al.'s formulas for one example, (channels, height, width), window by window."""
    values = []
    for channel_x, channel_y in zip(x, y, strict=True):
        a, b, factors = channel_x.copy(), channel_y.copy(), []
        for scale in range(scales):
            fits = [min(size, side if side % 2 else side - 1) for side in a.shape]
            axes = [np.exp(-((np.arange(n) - n // 2) ** 2) / (2 * 1.5**2)) for n in fits]
            window = np.outer(*axes) / np.outer(*axes).sum()
            full, contrast = [], []
            for i in range(a.shape[0] - fits[0] + 1):
                for j in range(a.shape[1] - fits[1] + 1):
                    p, q = (image[i : i + fits[0], j : j + fits[1]] for image in (a, b))
                    mean_p, mean_q = (window * p).sum(), (window * q).sum()
                    var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
                    covariance = (window * (p - mean_p) * (q - mean_q)).sum()
                    contrast.append((2 * covariance + 9e-4) / (var_p + var_q + 9e-4))
                    full.append((2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4) * contrast[-1])
            factors.append(max(np.mean(full if scale == scales - 1 else contrast), 1e-3))
            halves = [side // 2 for side in a.shape]
            a, b = (
                image[: 2 * halves[0], : 2 * halves[1]].reshape(halves[0], 2, halves[1], 2).mean((1, 3))
                for image in (a, b)
            )
        values.append(np.prod(np.array(factors) ** (WEIGHTS[:scales] / WEIGHTS[:scales].sum())))
    return np.mean(values)


@pytest.mark.parametrize(
    ("shape", "scales", "size"), [((3, 28, 28), 3, 11), ((1, 17, 23), 3, 5), ((2, 64, 64), 5, 11), ((1, 8, 8), 1, 3)]
)
def test_definition(shape, scales, size):
    x = images(2, shape).double()
    y = (x + 0.2 * torch.randn(x.shape, generator=generator(), dtype=torch.float64)).clamp(0, 1)
    expected = [by_hand(a, b, scales, size) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    found = ms_ssim(x, y, scales, size)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, ms_ssim(y, x, scales, size))  # symmetric


def test_equal_images_have_1_and_noisy_ones_less():
    x = images(4, (1, 32, 32)).double()
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(4, dtype=torch.float64))
    noise = torch.randn(x.shape, generator=generator(), dtype=torch.float64)
    little, much = (ms_ssim(x, (x + scale * noise).clamp(0, 1)) for scale in (0.05, 0.5))
    assert (much < little).all() and (little < 1).all()


def test_examples_are_independent():
    x, y = images(4, (1, 28, 28)), images(4, (1, 28, 28), seed=1)
    torch.testing.assert_close(ms_ssim(x, y)[2:3], ms_ssim(x[2:3], y[2:3]))


def test_negative_image_has_a_gradient():
    """Its structure is anticorrelated at every scale: a plain clamp would have no gradient."""
    x = images(2, (1, 16, 16)).double()
    y = (1 - x).requires_grad_()
    value = ms_ssim(x, y)
    assert (value > 0).all() and (value < 0.01).all()
    (gradient,) = torch.autograd.grad(value.sum(), y)
    assert gradient.isfinite().all() and gradient.abs().max() > 0
    with torch.no_grad():
        assert (ms_ssim(x, y + 0.5 * (x - y)) > value).all()


def test_number_of_scales():
    assert [max_scales(side, side) for side in (3, 4, 8, 28, 32, 64, 500)] == [0, 1, 2, 3, 4, 5, 5]
    with pytest.raises(ValueError, match="num_scales must be at most 3 for images of 28 x 28 pixels, got 4"):
        ms_ssim(*torch.rand(2, 1, 1, 28, 28), num_scales=4)
    with pytest.raises(ValueError, match="needs images of at least 4 x 4 pixels, got 3 x 9"):
        ms_ssim(*torch.rand(2, 1, 1, 3, 9))
