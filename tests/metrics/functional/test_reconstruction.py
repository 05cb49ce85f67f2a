"""Differences between images with known values."""

import pytest
import torch
from cases import images

from gae_hub.metrics import psnr, structural_similarity


def test_psnr():
    x = images(4, (3, 24, 24))
    assert psnr(x, x + 0.1).tolist() == pytest.approx([20.0] * 4)
    assert psnr(x, x).tolist() == [100.0] * 4


def test_ssim_of_equal_and_inverted_images():
    x = images(4, (3, 24, 24))
    torch.testing.assert_close(structural_similarity(x, x), torch.ones(4, dtype=torch.float64))
    assert structural_similarity(x, 1 - x).max() < 0


def test_ssim_of_flat_images_is_the_luminance_term():
    a, b = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert structural_similarity(a, b).item() == pytest.approx(expected, rel=1e-6)
