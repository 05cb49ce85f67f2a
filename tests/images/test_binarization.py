"""Binarisation: right probabilities, and the same pixels for an image and a seed, whatever is read beside it."""

import pytest
import torch
from cases import generator, images

from gae_hub import GAEImageProcessor
from gae_hub.images.binarization import Binarization
from gae_hub.images.pixel_noise import draw_noise

GREY = images(4000, (1, 4, 4))


def test_noise_is_uniform_and_independent():
    """Moments of U[0, 1), and no correlation of pixels, images, and seeds, within 5 standard errors."""
    noise, other = (draw_noise(GREY, seed).flatten(1) for seed in (0, 1))
    num = noise.numel()
    assert 0 <= noise.min() and noise.max() < 1 and noise.dtype == torch.float64
    assert noise.mean().item() == pytest.approx(0.5, abs=5 * (1 / 12 / num) ** 0.5)
    assert noise.var().item() == pytest.approx(1 / 12, abs=5 * (1 / 180 / num) ** 0.5)
    shares = noise.flatten().histc(16, 0, 1) / num
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 16), rtol=0, atol=5 * (1 / 16 / num) ** 0.5)
    for one, two in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]), (noise, other)):
        covariance = ((one - 0.5) * (two - 0.5)).mean().item()
        assert covariance == pytest.approx(0, abs=5 / 12 / one.numel() ** 0.5)


def test_noise_is_the_same_in_all_versions():
    """Files of numbers and models refer to it, so these values must not change."""
    values = torch.tensor([[0.0, 0.25, 1.0]])
    expected = torch.tensor([[0x3ECC14F0, 0x7159BE94, 0xC948B08B]], dtype=torch.float64) / 2.0**32
    assert torch.equal(draw_noise(values, 3), expected)
    assert torch.equal(draw_noise(-torch.zeros(1, 2), 0), draw_noise(torch.zeros(1, 2), 0))


def test_a_threshold():
    values = torch.tensor([[0.0, 0.4999, 0.5, 1.0]])
    assert Binarization("threshold").apply(values).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("grey", [1 / 255, 0.1, 0.5, 0.9, 254 / 255])
def test_the_mean_of_stochastic_pixels_is_the_grey_value(grey):
    """Of 40,000 pixels of one image, within 4.5 standard errors."""
    found = Binarization("stochastic", 5).apply(torch.full((1, 40_000), grey))
    assert set(found.unique().tolist()) == {0, 1}
    assert found.mean().item() == pytest.approx(grey, abs=4.5 * (grey * (1 - grey) / 40_000) ** 0.5)


def test_the_mean_over_seeds_is_the_image():
    image = images(1, (1, 3, 3))
    draws = torch.cat([Binarization("stochastic", seed).apply(image) for seed in range(4000)])
    errors = (image * (1 - image) / len(draws)).sqrt()
    assert ((draws.mean(0) - image[0]).abs() < 4.5 * errors[0]).all()


def test_differences_from_the_grey_values_do_not_depend_on_them():
    """E[x - g | g] = 0 for all g: the regression of x - g on 1, g and g^2 has no coefficient beside 0."""
    difference = (Binarization("stochastic").apply(GREY) - GREY).flatten().double()
    for power in range(3):
        terms = difference * GREY.flatten().double() ** power
        assert terms.mean().item() == pytest.approx(0, abs=4.5 * terms.std().item() / len(terms) ** 0.5)


def test_pixels_do_not_depend_on_batch_and_order():
    binarize = Binarization("stochastic", 7).apply
    whole, some = binarize(GREY[:50]), GREY[:50]
    assert torch.equal(torch.cat([binarize(part) for part in some.split(7)]), whole)
    assert torch.equal(binarize(some.flip(0)).flip(0), whole)
    assert torch.equal(binarize(some.double()), whole)
    order = torch.randperm(50, generator=generator())
    assert torch.equal(binarize(some[order]), whole[order])
    assert not torch.equal(Binarization("stochastic", 8).apply(some), whole)


@pytest.mark.parametrize("kind", ["threshold", "stochastic"])
def test_binary_pixels_stay(kind):
    binary = GREY.round()
    assert torch.equal(Binarization(kind).apply(binary), binary)


def test_values_beyond_the_range_are_errors():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got values from 0 to 7"):
        Binarization("threshold").apply(torch.tensor([[0.0, 7.0]]))
    with pytest.raises(ValueError, match="binarize must be one of threshold, stochastic, got the text 'mean'"):
        Binarization("mean")
    with pytest.raises(ValueError, match="seed must be an integer, got 0.5"):
        Binarization("stochastic", 0.5)


@pytest.mark.parametrize("kind", ["threshold", "stochastic"])
def test_it_travels_with_the_processor(tmp_path, kind):
    """Images of 8 bits and the same values as floats get the same pixels."""
    binarization = Binarization(kind, 3)
    GAEImageProcessor((1, 4, 4), binarization=binarization).save_pretrained(tmp_path)
    processor = GAEImageProcessor.from_pretrained(tmp_path)
    assert processor.binarization == binarization
    pixels = (255 * GREY[:9]).byte()
    found = processor(pixels)["pixel_values"]
    assert torch.equal(found, binarization.apply(pixels / 255))
    assert torch.equal(processor(pixels / 255)["pixel_values"], found)
    assert torch.equal(processor(processor.postprocess(pixels / 255))["pixel_values"], found)
    assert torch.equal(torch.cat([processor(image)["pixel_values"] for image in pixels]), found)


@pytest.mark.parametrize("content", [{"kind": "stochastic"}, ["stochastic", 0], {"kind": "max", "seed": 0}])
def test_a_damaged_record_in_a_processor(content):
    with pytest.raises(ValueError, match=r"binarization must be a dict of kind and seed|binarize must be one of"):
        GAEImageProcessor((1, 4, 4), binarization=content)
